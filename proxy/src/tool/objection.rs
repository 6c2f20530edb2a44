//! Why a body was refused.
//!
//! Enters: what the reader or the judge found. Leaves: an [`Objection`] with all that its answer and its record need. Never: text
//! of the client that was not made printable, but its own ids, which go back to it alone.

use std::fmt;

use config::{Protocol, RuleId};
use http::StatusCode;
use serde_json::Value;

use super::Unreadable;
use crate::error::Fault;

/// A body that goes no further.
#[derive(Debug, Clone)]
pub struct Objection {
    pub(super) rule: RuleId,
    pub(super) mcp: bool,
    pub(super) why: Why,
}

/// What is wrong with it, and how to answer.
#[derive(Debug, Clone)]
pub(super) struct Why {
    /// The last part of the problem type.
    pub(super) kind: &'static str,
    pub(super) status: StatusCode,
    /// As JSON-RPC 2.0 section 5.1 counts; -32003 is of the servers' own range, and taken by no SDK.
    pub(super) code: i32,
    pub(super) what: Box<str>,
    pub(super) ask: Box<str>,
    /// What was asked for, as the log names it.
    pub(super) name: Option<String>,
    pub(super) waiting: Waiting,
}

/// The requests that wait for an answer, where they could be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    pub(super) ids: Vec<Value>,
    /// Whether they came in one array, and their answers are expected in one.
    pub(super) batch: bool,
}

impl Why {
    fn new(kind: &'static str, status: StatusCode, code: i32, what: String, ask: &str) -> Self {
        Self { kind, status, code, what: what.into(), ask: ask.into(), name: None, waiting: Waiting::default() }
    }

    /// A request of a form that is not judged, and so not let through.
    pub(super) fn form(what: &str, ask: &str) -> Self {
        let what = format!("the request is {what}");
        Self::new("body-not-judged", StatusCode::UNSUPPORTED_MEDIA_TYPE, -32600, what, ask)
    }

    pub(super) fn too_large(bound: usize) -> Self {
        let what = format!("the body is longer than {bound} bytes, and a body is judged whole or not at all");
        Self::new("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, -32600, what, "send less in one call")
    }

    /// JSON, but no message of the protocol that everybody reads alike.
    pub(super) fn shape(what: &str) -> Self {
        let what = format!("the body is no unambiguous message: {what}");
        Self::new("body-unreadable", StatusCode::BAD_REQUEST, -32600, what, "mend the body")
    }

    /// Understood, and not listed.
    pub(super) fn unlisted(what: String, name: String, ask: &str) -> Self {
        Self { name: Some(name), ..Self::new("tool-not-allowed", StatusCode::FORBIDDEN, -32003, what, ask) }
    }

    /// An answer that may list what the rule does not, and cannot be cut down.
    pub(super) fn answer(what: &str) -> Self {
        let what = format!("the answer may list tools, and cannot be cut down to those that are allowed: {what}");
        let ask = "tell whoever runs the server; the tools that are allowed can be called without the list";
        Self::new("listing-unreadable", StatusCode::BAD_GATEWAY, -32603, what, ask)
    }

    pub(super) fn to(self, waiting: Waiting) -> Self {
        Self { waiting, ..self }
    }
}

impl From<Unreadable> for Why {
    fn from(unreadable: Unreadable) -> Self {
        let what = format!("the body is not JSON with a single reading: {unreadable}");
        Self::new("body-unreadable", StatusCode::BAD_REQUEST, -32700, what, "mend the body")
    }
}

impl Objection {
    pub(super) fn new(rule: &RuleId, protocol: &Protocol, why: Why) -> Self {
        Self { rule: rule.clone(), mcp: matches!(protocol, Protocol::Mcp(_)), why }
    }

    /// For a call that was judged by what its rule said of bodies before.
    pub(crate) fn changed(rule: &RuleId, protocol: &Protocol) -> Self {
        let what = "what its rule allows of the protocol was changed while the call was under way";
        let why = Why::new("tool-not-allowed", StatusCode::FORBIDDEN, -32003, what.to_owned(), "call again");
        Self::new(rule, protocol, why)
    }

    /// The status of the answer. A client of JSON-RPC reads an error only in an answer that went well.
    pub fn status(&self) -> StatusCode {
        if self.why.waiting.ids.is_empty() { self.why.status } else { StatusCode::OK }
    }

    /// The last part of the problem type.
    pub fn kind(&self) -> &'static str {
        self.why.kind
    }

    /// The rule whose protocol was spoken.
    pub fn rule(&self) -> &RuleId {
        &self.rule
    }

    /// What was asked for, where it could be read.
    pub fn name(&self) -> Option<&str> {
        self.why.name.as_deref()
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        format!("{} (rule {})", self.why.ask, self.rule)
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self.why.status {
            StatusCode::FORBIDDEN => Fault::Policy,
            StatusCode::BAD_GATEWAY => Fault::Upstream,
            _ => Fault::Client,
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why.what)
    }
}

/// A name as its record has it: nothing that a terminal acts on, and no two names alike. What is too long for a record is cut there, and says what it was.
pub(super) fn told(name: &str) -> String {
    let mut told = String::new();
    for letter in name.chars() {
        match letter {
            ' '..='~' if letter != '\\' => told.push(letter),
            _ => told.extend(letter.escape_default()),
        }
    }
    told
}

/// The same in a sentence, of which somebody has to see the end.
pub(super) fn shown(name: &str) -> String {
    const LONGEST: usize = 200;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => told(&name[..end]) + "…",
        None => told(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_in_a_record_and_cut_in_a_sentence() {
        let long = |end: &str| "ä".repeat(200) + end;
        assert_eq!((shown(&long("")), told(&long(""))), ("\\u{e4}".repeat(200), "\\u{e4}".repeat(200)));
        assert_eq!(shown(&long("b")), "\\u{e4}".repeat(200) + "…");
        assert_ne!(told(&long("b")), told(&long("c")));
        assert_eq!(told("a\\\u{1b}[1mé…"), "a\\\\\\u{1b}[1m\\u{e9}\\u{2026}");
    }
}
