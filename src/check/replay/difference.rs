//! One way in which today's policy differs from what was decided, with how often and when.
//!
//! Enters: what was decided of a call, and what would be. Leaves: a group of such calls, for a person or a program. Never: text of a log that has
//! not been parsed, but for the names of rules and credentials, which are made printable.

use std::fmt;

use config::{Policy, RuleId};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::logged::{Before, Logged, Now, What};
use crate::plain::plain;

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    Refused,
    Allowed,
    /// Another credential goes with it, or none.
    Credential,
    /// It would pass unread.
    Unread,
}

/// What is one line of the difference.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    agent: String,
    destination: String,
    path: String,
    method: String,
    /// As a person would write it.
    call: String,
    change: Change,
}

/// How often it was seen.
#[derive(Debug)]
pub(super) struct Seen {
    count: u64,
    last: Timestamp,
    before: Before,
    now: Now,
}

/// Calls that would be decided otherwise.
#[derive(Debug)]
pub(in crate::check) struct Difference {
    file: String,
    key: Key,
    seen: Seen,
}

/// What is otherwise now; `None` where nothing is. Refused for another reason is refused.
pub(super) fn between(before: &Before, now: &Now) -> Option<Change> {
    match (before, now) {
        (Before::Refused { .. }, Now::Refused { .. }) => None,
        (Before::Refused { .. }, Now::Allowed { .. }) => Some(Change::Allowed),
        (Before::Allowed { .. }, Now::Refused { .. }) => Some(Change::Refused),
        (Before::Allowed { unread: false, .. }, Now::Allowed { unread: true, .. }) => Some(Change::Unread),
        // A rule may name a credential that the call did not carry; then nothing was swapped.
        (Before::Allowed { credential: Some(used), .. }, Now::Allowed { credential, .. }) => {
            (Some(used) != credential.as_ref()).then_some(Change::Credential)
        }
        (Before::Allowed { credential: None, .. }, Now::Allowed { .. }) => None,
    }
}

impl Key {
    pub(super) fn new(agent: &str, logged: &Logged, change: Change) -> Self {
        let agent = agent.to_owned();
        let tool = logged.tool.as_deref().map(|tool| format!(" (tool {})", shown(tool))).unwrap_or_default();
        match &logged.what {
            What::Call(asked) => Self {
                agent,
                destination: asked.destination().to_string(),
                path: asked.path().as_str().to_owned(),
                method: asked.method().to_string(),
                call: format!("{asked}{tool}"),
                change,
            },
            What::Connection(destination) => Self {
                agent,
                destination: destination.to_string(),
                path: String::new(),
                method: String::new(),
                call: format!("a connection to {destination}"),
                change,
            },
        }
    }

    pub(super) fn agent(&self) -> &str {
        &self.agent
    }
}

impl Seen {
    pub(super) fn first(time: Timestamp, before: &Before, now: Now) -> Self {
        Self { count: 1, last: time, before: before.clone(), now }
    }

    pub(super) fn again(&mut self, time: Timestamp, before: &Before) {
        self.count += 1;
        if time >= self.last {
            self.last = time;
            self.before.clone_from(before);
        }
    }
}

impl Difference {
    pub(super) fn new(policy: &Policy, key: Key, seen: Seen) -> Self {
        Self { file: policy.file().to_owned(), key, seen }
    }

    pub(in crate::check) fn json(&self) -> Value {
        let Key { agent, destination, path, method, change, .. } = &self.key;
        let Seen { count, last, before, now } = &self.seen;
        let change = match change {
            Change::Refused => "allowed-to-refused",
            Change::Allowed => "refused-to-allowed",
            Change::Credential => "credential",
            Change::Unread => "passes-unread",
        };
        let before = match before {
            Before::Allowed { rule, credential, .. } => {
                json!({"result": "allow", "rule": rule, "credential": credential})
            }
            Before::Refused { kind, rule } => json!({"result": "refuse", "kind": kind, "rule": rule}),
        };
        let line = |rule: &RuleId| (rule.to_string(), rule.line());
        let now = match now {
            Now::Allowed { rule, credential, .. } => {
                let (rule, line) = line(rule);
                json!({"result": "allow", "rule": rule, "line": line, "credential": credential})
            }
            Now::Refused { kind, rule } => {
                let (rule, line) = rule.as_ref().map(line).unzip();
                json!({"result": "refuse", "kind": kind, "rule": rule, "line": line})
            }
        };
        let absent = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        json!({
            "agent": agent, "change": change, "to": destination, "method": absent(method), "path": absent(path),
            "call": self.key.call, "count": count, "last": last, "file": self.file, "before": before, "now": now,
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { agent, call, change, .. } = &self.key;
        let Seen { count, last, before, now } = &self.seen;
        let mark = match change {
            Change::Refused => '-',
            Change::Allowed => '+',
            Change::Credential | Change::Unread => '~',
        };
        let last = last.strftime("%Y-%m-%dT%H:%M:%SZ");
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        writeln!(f, "{mark} {agent}: {call} ({times}, last {last})")?;
        let named =
            |name: Option<&String>| name.map_or("no credential".to_owned(), |name| format!("`{}`", shown(name)));
        match (before, now) {
            (Before::Allowed { rule, credential, .. }, Now::Allowed { rule: by, credential: goes, unread }) => {
                let was = format!("{} by {}", named(credential.as_ref()), shown(rule));
                let is = if *unread { "it passes unread".to_owned() } else { named(goes.as_ref()) };
                write!(f, "    {was} → {is} by {by}, {}:{}", self.file, by.line())
            }
            (Before::Allowed { rule, .. }, Now::Refused { kind, rule: by }) => {
                write!(f, "    allowed by {} → refused ({kind})", shown(rule))?;
                match by {
                    Some(by) if *kind == "denied-by-rule" => write!(f, " by {by}, {}:{}", self.file, by.line()),
                    Some(by) => write!(f, ", nearest {by}, {}:{}", self.file, by.line()),
                    None => write!(f, ", {}", self.file),
                }
            }
            (Before::Refused { kind, .. }, Now::Allowed { rule: by, credential, .. }) => {
                let with = credential.as_ref().map(|name| format!(" with `{name}`")).unwrap_or_default();
                write!(f, "    refused ({}) → allowed by {by}{with}, {}:{}", shown(kind), self.file, by.line())
            }
            (Before::Refused { .. }, Now::Refused { .. }) => Ok(()),
        }
    }
}

fn shown(text: &str) -> String {
    const SHOWN: usize = 200;
    plain(text).chars().take(SHOWN).collect()
}
