//! Why `exeat` itself failed, for a person: the error, what caused it, what to do, and the exit code.
//!
//! Enters: an error of any crate. Leaves: lines on standard error. Never: a secret (no error of exeat holds one), nor what acts on a terminal: an
//! error may quote a log or name a file, and a hostile command has its part in both.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::plain::plain_lines;

/// exeat itself failed, and nothing has run.
pub const FAILED: u8 = 125;
/// A limit of the agent ended the command: memory, the size of a file, what it wrote.
pub const LIMIT: u8 = 122;
/// An operator stopped the worker.
pub const STOPPED: u8 = 123;
/// The wall clock of the agent ran out.
pub const OUT_OF_TIME: u8 = 124;
/// The command cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command is not there.
pub const NOT_FOUND: u8 = 127;

/// A failure on its way to the person who typed the command.
#[derive(Debug)]
pub struct Report {
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
    code: u8,
}

impl Report {
    /// A failure of exeat itself.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { error: error.into(), hint: None, code: FAILED }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Ends with another code than 125.
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// A failure as a remark: nothing failed but the command.
    pub fn note(&self) -> String {
        self.to_string().replacen("error: ", "note: ", 1)
    }

    /// All of it on one line, for a list.
    pub fn line(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!(": {hint}"));
        plain_lines(&format!("{}{}", chain(&*self.error), hint.unwrap_or_default()))
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// An error with its causes on one line, for a place that takes one text.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl<E: Error + Send + Sync + 'static> From<E> for Report {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("error: {}", self.error);
        let mut source = self.error.source();
        while let Some(cause) = source {
            text += &format!("\n  caused by: {cause}");
            source = cause.source();
        }
        if let Some(hint) = &self.hint {
            text += &format!("\n  hint: {hint}");
        }
        f.write_str(&plain_lines(&text))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `x`")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_report_chains_its_causes_and_ends_with_the_hint() {
        let report = Report::new(Outer(io::Error::other("disk on fire"))).hint("put it out");
        assert_eq!(report.to_string(), "error: cannot read `x`\n  caused by: disk on fire\n  hint: put it out");
    }

    #[test]
    fn nothing_of_a_report_acts_on_a_terminal() {
        let report = Report::new(Outer(io::Error::other("disk \u{1b}[2J"))).hint("put \u{9b}2J it\r out");
        assert_eq!(report.to_string(), "error: cannot read `x`\n  caused by: disk ?[2J\n  hint: put ?2J it? out");
        assert_eq!(report.line(), "cannot read `x`: disk ?[2J: put ?2J it? out");
    }
}
