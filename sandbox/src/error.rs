//! What went wrong, where, and what to do about it.
//!
//! For: one error type for everything between `begin` and `start`, also across the process border. In: the step, what
//! was tried, on what, the kernel's answer, a hint. Out: an [`Error`] a person can act on. Never: a source formatted
//! into the text (it is chained), or an error for something that has already run.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, io};

/// Why there is no sandbox. Whenever a function of this crate returns it, nothing of the command has run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Error {
    kind: ErrorKind,
    step: Step,
    tried: Cow<'static, str>,
    on: Option<String>,
    #[serde(with = "raw_errno")]
    source: Option<Errno>,
    hint: Option<Cow<'static, str>>,
}

/// What follows from an error: the exit code, above all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The sandbox could not be set up.
    SetUp,
    /// The spec asks for something that makes no sense or would open the sandbox.
    Spec,
    /// A limit was asked for that this machine cannot enforce.
    Limit,
    /// There is no such command inside (a shell says 127).
    NotFound,
    /// The command is there and cannot be executed (a shell says 126).
    NotExecutable,
}

/// The part of the set-up that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Reading the spec against the machine.
    Plan,
    /// Making and mapping the namespaces.
    Namespaces,
    /// Becoming the unprivileged user.
    User,
    /// Loopback, routes, NAT, listeners.
    Network,
    /// The private root.
    Filesystem,
    /// rlimits and the cgroup.
    Limits,
    /// The pseudo terminal.
    Terminal,
    /// Giving up every privilege.
    Confine,
    /// Executing the command.
    Start,
    /// The worker's lock on itself.
    Lock,
}

impl Error {
    /// What follows from it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Which part of the set-up failed.
    pub fn step(&self) -> Step {
        self.step
    }

    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn on(mut self, what: impl fmt::Display) -> Self {
        self.on = Some(what.to_string());
        self
    }

    pub(crate) fn because(mut self, source: impl Into<io::Error>) -> Self {
        self.source = Some(Errno::from_io_error(&source.into()).unwrap_or(Errno::IO));
        self
    }

    pub(crate) fn hint_at(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn kind_is(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn errno(&self) -> Option<Errno> {
        self.source
    }
}

impl Step {
    /// `tried` completes the sentence "cannot …".
    pub(crate) fn failed(self, tried: impl Into<Cow<'static, str>>) -> Error {
        let kind = match self {
            Self::Plan => ErrorKind::Spec,
            Self::Limits => ErrorKind::Limit,
            _ => ErrorKind::SetUp,
        };
        Error { kind, step: self, tried: tried.into(), on: None, source: None, hint: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.tried)?;
        self.on.as_ref().map_or(Ok(()), |on| write!(f, " `{}`", shown(on)))
    }
}

/// It may be a file that a command named: nothing in a name acts on a terminal, or begins a line.
fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|errno| errno as _)
    }
}

/// An errno crosses the process border as its number.
mod raw_errno {
    use super::{Deserialize, Errno, Serialize};

    pub fn serialize<S: serde::Serializer>(errno: &Option<Errno>, to: S) -> Result<S::Ok, S::Error> {
        errno.map(Errno::raw_os_error).serialize(to)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Errno>, D::Error> {
        Ok(Option::<i32>::deserialize(from)?.map(Errno::from_raw_os_error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn an_error_survives_the_process_border_whole() {
        let error = Step::Network.failed("bring up the device").on("lo").because(Errno::PERM).hint_at("be somebody");
        let bytes = postcard::to_stdvec(&error).unwrap();
        let back: Error = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back.to_string(), "cannot bring up the device `lo`");
        assert_eq!(back.source().unwrap().to_string(), Errno::PERM.to_string());
        assert_eq!((back.step(), back.hint()), (Step::Network, Some("be somebody")));
    }

    #[test]
    fn a_name_does_nothing_to_whoever_reads_it() {
        let error = Step::Plan.failed("hide").on("/home/it's/\u{1b}[2J\u{202e}ä\nerror: x");
        assert_eq!(error.to_string(), "cannot hide `/home/it's/\\u{1b}[2J\\u{202e}ä\\nerror: x`");
    }
}
