//! What is said of a call.
//!
//! Enters: a permit or a denial. Leaves: text for a person, or JSON for a program. Never: more than the policy says.

use std::fmt;
use std::path::Path;

use config::{CallPermit, Denial, Grant, Rate, Route, RuleId, TunnelPermit};
use serde::Serialize;

use super::rate::Left;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// The call, in its normal form.
    call: String,
    pub(super) allowed: bool,
    /// The agent's file.
    file: String,
    /// The rule that decided, or came nearest.
    rule: Option<String>,
    line: Option<usize>,
    #[serde(flatten)]
    how: How,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum How {
    Allowed(Box<Allowed>),
    Refused { kind: &'static str, reason: String, remedy: String },
}

/// How an allowed call goes.
#[derive(Debug, Serialize)]
pub(super) struct Allowed {
    #[serde(skip)]
    pub(super) rule: RuleId,
    /// `intercept`, `passthrough` or `tcp`.
    tls: &'static str,
    pub(super) credential: Option<Lent>,
    pub(super) rate: Option<Limited>,
    /// That bodies are looked into, and for what.
    body: Option<&'static str>,
    /// The address or proxy that is dialled instead of what the name resolves to.
    by_way_of: Option<String>,
    /// Whether the rule has a certificate for an upstream that asks for one.
    client_certificate: bool,
}

/// A credential that the rule names.
#[derive(Debug, Serialize)]
pub(super) struct Lent {
    pub(super) name: String,
    /// Where its placeholder is swapped.
    places: Vec<&'static str>,
    injected: bool,
    /// Why it is not lent after all.
    but: Option<String>,
}

/// A rule's rate.
#[derive(Debug, Serialize)]
pub(super) struct Limited {
    #[serde(serialize_with = "as_text")]
    pub(super) of: Rate,
    /// What is left of it in each worker that runs.
    pub(super) workers: Vec<Left>,
}

fn as_text<S: serde::Serializer>(rate: &Rate, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(rate)
}

impl Allowed {
    pub(super) fn read(permit: &CallPermit) -> Self {
        let route = permit.route();
        let lent =
            |name: &config::CredentialName| Lent { name: name.to_string(), places: vec![], injected: false, but: None };
        Self {
            rule: permit.rule().clone(),
            tls: "intercept",
            credential: permit.credential().map(lent),
            rate: permit.rate().map(Limited::new),
            body: permit.protocol().map(config::Protocol::as_str),
            by_way_of: by_way_of(route),
            client_certificate: route.client_certificate().is_some(),
        }
    }

    pub(super) fn unread(permit: &TunnelPermit) -> Self {
        let route = permit.route();
        Self {
            rule: permit.rule().clone(),
            tls: permit.mode().as_str(),
            credential: None,
            rate: permit.rate().map(Limited::new),
            body: None,
            by_way_of: by_way_of(route),
            client_certificate: false,
        }
    }
}

fn by_way_of(route: Route<'_>) -> Option<String> {
    let proxy = || route.proxy().map(|proxy| format!("the proxy {}", proxy.place()));
    route.dial().map(|dial| dial.to_string()).or_else(proxy)
}

impl Limited {
    fn new(of: Rate) -> Self {
        Self { of, workers: Vec::new() }
    }
}

impl Lent {
    pub(super) fn but(self, why: impl Into<String>) -> Self {
        Self { but: Some(why.into()), ..self }
    }

    pub(super) fn granted(self, grant: &Grant) -> Self {
        let at = grant.places();
        let all = [
            (at.header, "header"),
            (at.basic, "basic"),
            (at.query, "query"),
            (at.body, "body"),
            (at.websocket, "websocket"),
            (grant.signs(), "signature"),
        ];
        let places = all.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
        Self { places, injected: grant.inject().is_some(), ..self }
    }
}

impl Answer {
    pub(super) fn allowed(call: &str, file: &Path, allowed: Allowed) -> Self {
        let rule = allowed.rule.clone();
        Self::new(call, file, Some(&rule), How::Allowed(Box::new(allowed)))
    }

    pub(super) fn refused(call: &str, file: &Path, denial: &Denial) -> Self {
        let how = How::Refused { kind: denial.kind().as_str(), reason: denial.reason(), remedy: denial.remedy() };
        Self::new(call, file, denial.rule(), how)
    }

    fn new(call: &str, file: &Path, rule: Option<&RuleId>, how: How) -> Self {
        Self {
            call: call.to_owned(),
            allowed: matches!(how, How::Allowed(_)),
            file: file.display().to_string(),
            rule: rule.map(ToString::to_string),
            line: rule.map(RuleId::line),
            how,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, file, rule, line, how, .. } = self;
        let at = |f: &mut fmt::Formatter<'_>, word: &str| match (rule, line) {
            (Some(rule), Some(line)) => writeln!(f, "  {word:<11} {rule}, {file}:{line}"),
            _ => Ok(()),
        };
        match how {
            How::Allowed(allowed) => {
                writeln!(f, "allowed: {call}")?;
                at(f, "rule")?;
                write!(f, "{allowed}")
            }
            How::Refused { kind, reason, remedy } => {
                writeln!(f, "refused ({kind}): {reason}")?;
                at(f, "nearest")?;
                writeln!(f, "hint: {}", remedy.trim_end())
            }
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut say = |word: &str, what: &str| writeln!(f, "  {word:<11} {what}");
        match self.tls {
            "intercept" => {}
            mode => say("unread", &format!("tls = \"{mode}\": nothing in the connection is judged"))?,
        }
        match &self.credential {
            None => say("credential", "none")?,
            Some(Lent { name, but: Some(but), .. }) => say("credential", &format!("{name}: {but}"))?,
            Some(Lent { name, injected: true, .. }) => {
                say("credential", &format!("{name}, put into calls that bring none"))?;
            }
            Some(Lent { name, places, .. }) => {
                say("credential", &format!("{name}, for its placeholder in: {}", places.join(", ")))?;
            }
        }
        if let Some(Limited { of, workers }) = &self.rate {
            say("rate", &of.to_string())?;
            for left in workers {
                say("", &format!("worker {}: {} left", left.worker, left.left))?;
            }
        }
        if let Some(body) = self.body {
            say("body", &format!("looked into: {body}; a call is refused for what it asks for there"))?;
        }
        if let Some(way) = &self.by_way_of {
            say("by way of", way)?;
        }
        if self.client_certificate {
            say("shows", "the rule's client certificate, if it is asked for")?;
        }
        Ok(())
    }
}
