//! The rules of a policy that is being written.
//!
//! Enters: what was found. Leaves: `[[allow]]` tables with the reason for each. Never: two rules of which the second is never reached.

use std::fmt::Write as _;

use super::place::Place;
use super::writing::{comment, commented_out, list, quoted};

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Why it is there.
    pub(super) why: Vec<String>,
    pub(super) to: String,
    pub(super) methods: Vec<&'static str>,
    pub(super) paths: Vec<String>,
    pub(super) credential: Option<&'static str>,
    pub(super) encoded_slash: bool,
    pub(super) plain: bool,
    /// One that a person has to complete is a comment.
    pub(super) draft: bool,
}

impl Rule {
    pub(super) fn to(at: &Place, methods: &[&'static str], why: impl Into<String>) -> Self {
        Self { plain: at.is_plain() && at.destination.port() != 80, ..Self::named(&at.to(), methods, why) }
    }

    /// For hosts that are written here, as a pattern too.
    pub(super) fn named(to: &str, methods: &[&'static str], why: impl Into<String>) -> Self {
        Self {
            why: vec![why.into()],
            to: to.to_owned(),
            methods: methods.to_vec(),
            paths: Vec::new(),
            credential: None,
            encoded_slash: false,
            plain: false,
            draft: false,
        }
    }

    /// One whose host nobody knows yet.
    pub(super) fn draft(to: &str, methods: &[&'static str], why: impl Into<String>) -> Self {
        Self { draft: true, ..Self::named(to, methods, why) }
    }

    pub(super) fn paths(self, paths: impl IntoIterator<Item = String>) -> Self {
        Self { paths: paths.into_iter().collect(), ..self }
    }

    /// A credential never travels without TLS.
    pub(super) fn credential(self, credential: Option<&'static str>) -> Self {
        let credential = credential.filter(|_| !self.plain && !self.to.ends_with(":80"));
        Self { credential, ..self }
    }

    /// Whether this one lets through all that `other` does, in the same way.
    fn has(&self, other: &Rule) -> bool {
        let methods = other.methods.iter().all(|method| self.methods.contains(method));
        let paths = self.paths.is_empty()
            || (!other.paths.is_empty() && other.paths.iter().all(|path| self.paths.contains(path)));
        let same = (self.draft, &self.to) == (other.draft, &other.to);
        let slashes = self.encoded_slash || !other.encoded_slash;
        same && methods && paths && slashes && (self.plain || !other.plain)
    }

    fn text(&self) -> String {
        let mut lines = format!("[[allow]]\nto = {}\n", quoted(&self.to));
        let _ = writeln!(lines, "methods = {}", list(&self.methods));
        if !self.paths.is_empty() {
            let _ = writeln!(lines, "paths = {}", list(&self.paths));
        }
        if self.encoded_slash {
            lines += "encoded_slash = true\n";
        }
        if self.plain {
            lines += "plain = true\n";
        }
        if let Some(credential) = self.credential {
            let _ = writeln!(lines, "credential = {}", quoted(credential));
        }
        let why: String = self.why.iter().map(|why| comment(why)).collect();
        format!("\n{why}{}", if self.draft { commented_out(&lines) } else { lines })
    }
}

/// Rules in their order: the first that has a call decides, so the narrow ones come first.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    /// Adds one, or its reason to that which has all of it.
    pub(super) fn add(&mut self, mut rule: Rule) {
        let lends = |own: &Rule| rule.credential.is_none() || own.credential == rule.credential;
        let both_wide = |own: &Rule| {
            (own.draft, &own.to) == (rule.draft, &rule.to) && own.paths.is_empty() && rule.paths.is_empty()
        };
        // Of two drafts nobody knows whether they are for the same host.
        let same = self.0.iter_mut().filter(|own| !own.draft);
        if let Some(own) = same.into_iter().find(|own| both_wide(own) || (own.has(&rule) && lends(own))) {
            rule.why.retain(|why| !own.why.contains(why));
            own.why.append(&mut rule.why);
            let more: Vec<_> = rule.methods.into_iter().filter(|method| !own.methods.contains(method)).collect();
            own.methods.extend(more);
            own.encoded_slash |= rule.encoded_slash;
            own.plain |= rule.plain;
            own.credential = own.credential.or(rule.credential);
            return;
        }
        let narrow = if rule.paths.is_empty() { None } else { self.0.iter().position(|own| own.paths.is_empty()) };
        self.0.insert(narrow.unwrap_or(self.0.len()), rule);
    }

    /// All of them, as text.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(Rule::text).collect()
    }

    /// How many are in force.
    pub(super) fn in_force(&self) -> usize {
        self.0.iter().filter(|rule| !rule.draft).count()
    }

    /// Takes the credentials out, for whoever has to see to their grants first.
    pub(super) fn without_credentials(&mut self) {
        for rule in &mut self.0 {
            if let Some(credential) = rule.credential.take() {
                rule.why
                    .push(format!("add credential = \"{credential}\" once credentials.toml grants it to this agent"));
            }
        }
    }
}
