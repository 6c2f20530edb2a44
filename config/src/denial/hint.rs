//! What to do about a denial: the one hint that the refused agent, the call log, the terminal and `exeat explain` all end in.
//!
//! Enters: a denial, of parsed values only. Leaves: what to ask for, the exact lines that would allow it, and the command that says more,
//! quoted for a shell, as a comment below them. Never: more of the policy than the refusal itself says; a query; a character that ends a
//! line, a string of TOML or a word of a shell.

use super::{Denial, DenialKind, SHOWN_PATH};
use crate::pattern::Pattern;

/// The command that says more, as a comment of the lines that it is shown with.
const MORE: &str = "# exeat explain ";

impl Denial {
    /// What to ask the operator for, with the lines that would allow it and the command that says more.
    pub fn remedy(&self) -> String {
        let policy = format!("the policy of agent `{}`", self.0.agent);
        let more = self.command().map(|command| format!("# {command}\n")).unwrap_or_default();
        match (&self.0.kind, &self.0.rule) {
            (DenialKind::DeniedByRule, Some(rule)) => format!(
                "if this call is meant to be possible, ask the operator to narrow or remove {rule} in {policy}\n\n{more}"
            ),
            (DenialKind::PassesUnread, _) => format!(
                "connect with TLS and the server's name; or ask the operator for a rule without `tls` in {policy}\n\n{more}"
            ),
            (DenialKind::PlainNotAllowed, _) => {
                format!("use HTTPS, or ask the operator to add this to {policy}:\n\n{}{more}", self.lines())
            }
            _ => format!("ask the operator to add this to {policy}:\n\n{}{more}", self.lines()),
        }
    }

    /// What an operator types to be told the same and more, each word quoted for a shell; `None` where the path is too long to repeat.
    pub fn command(&self) -> Option<String> {
        let (method, path) = match &self.0.call {
            Some((_, method, path)) => (Some(method.as_str()), path.as_str()),
            None => (None, ""),
        };
        if path.len() > SHOWN_PATH {
            return None;
        }
        let url = format!("{}{path}", self.origin());
        let words = ["exeat", "explain", "--agent", self.0.agent.as_str()].into_iter();
        let words = words.chain(method.into_iter().flat_map(|method| ["-X", method])).chain([url.as_str()]);
        // It refuses NUL, which no parsed value has.
        shlex::try_join(words).ok()
    }

    /// An allow rule for just this, in TOML. Parsed values only, so that nothing in it needs escaping but the asterisk,
    /// which a client could otherwise smuggle in as a wildcard.
    pub(super) fn lines(&self) -> String {
        let mut lines = format!("[[allow]]\nto = \"{}\"\n", Pattern::from(&self.0.destination));
        if let Some((_, method, path)) = &self.0.call {
            lines += &format!("methods = [\"{method}\"]\n");
            let exact = path.as_str().replace('*', "%2A");
            lines += &match exact.len() {
                0..=SHOWN_PATH => format!("paths = [\"{exact}\"]\n"),
                _ => "paths = [\"…\"] # a pattern for the path, which is too long to repeat\n".to_owned(),
            };
            if path.has_encoded_slash() {
                lines += "encoded_slash = true\n";
            }
            if self.is_plain() && self.0.destination.port() != 80 {
                lines += "plain = true\n";
            }
        }
        if let Some(credential) = self.0.credential.as_ref().filter(|_| !self.is_plain()) {
            lines += &format!("credential = \"{credential}\"\n");
        }
        lines
    }
}

/// The command within a hint that was kept as text, as in the call log: what a row of a table has room for.
pub fn command_in(hint: &str) -> Option<&str> {
    let line = hint.lines().next_back().filter(|line| line.starts_with(MORE))?;
    line.strip_prefix("# ")
}
