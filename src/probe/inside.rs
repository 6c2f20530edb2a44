//! The battery itself, inside the sandbox: one attempt after the other.
//!
//! Enters: a [`Brief`] on standard input. Leaves: one JSON finding a line on standard output. Never: a thread, as attempts fork; a
//! program of the machine, which may not be there; a request to a peer that is not exeat, nor one whose upstream is not the canary's.

mod answer;
mod answered;
mod bodies;
mod carried;
mod coded;
mod datagrams;
mod dns;
mod framing;
pub(super) mod gzip;
mod hello;
mod hops;
mod http2;
mod isolation;
mod kernel;
mod names;
mod network;
mod overriding;
mod placeholders;
mod process;
mod request;
mod resolver;
mod streaming;
mod streams;
mod tls;
mod tools;

use std::io::{self, Write};
use std::process::ExitCode;

use rustix::io::Errno;

use super::brief::Brief;
use super::finding::{Outcome, Probe, battery};
use crate::report::Report;

/// In the order in which they are tried.
pub(crate) const GROUPS: &[&[Probe]] = &[
    network::PROBES,
    datagrams::PROBES,
    dns::PROBES,
    names::PROBES,
    framing::PROBES,
    hops::PROBES,
    overriding::PROBES,
    streams::PROBES,
    placeholders::PROBES,
    bodies::PROBES,
    streaming::PROBES,
    answered::PROBES,
    tools::PROBES,
    process::PROBES,
    isolation::PROBES,
    kernel::PROBES,
];

/// Makes every attempt.
///
/// # Errors
/// When it cannot be told what to try, or cannot tell what came of it.
pub(crate) fn run() -> Result<ExitCode, Report> {
    process::remember_descriptors();
    let brief: Brief = serde_json::from_reader(io::stdin().lock())?;
    let mut out = io::stdout().lock();
    let wanted = |probe: &&Probe| {
        let group = probe.id.split('/').next().unwrap_or_default();
        brief.only.is_empty() || brief.only.iter().any(|wanted| wanted == group)
    };
    for probe in battery().filter(wanted) {
        let finding = probe.finding((probe.attempt)(&brief));
        serde_json::to_writer(&mut out, &finding)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes an attempt in a child, as its success would change the process. The outer error is that it could not be made.
fn forked(attempt: impl FnOnce() -> Result<(), Errno>) -> io::Result<Result<(), Errno>> {
    /// What a child exits with whose error number is none that fits an exit code.
    const OTHER: u8 = 255;
    let mut child = sandbox::fork_process(|| match attempt() {
        Ok(()) => 0,
        Err(errno) => u8::try_from(errno.raw_os_error()).unwrap_or(OTHER),
    })?;
    Ok(match child.wait()? {
        0 => Ok(()),
        code => Err(Errno::from_raw_os_error(i32::from(code))),
    })
}

/// A system call that has to be refused.
fn refused(what: &str, attempt: impl FnOnce() -> Result<(), Errno>) -> Outcome {
    match forked(attempt) {
        Ok(Ok(())) => Outcome::broke(format!("{what}: done")),
        Ok(Err(errno)) => Outcome::held(format!("{what}: {}", told(errno))),
        Err(error) => Outcome::not_applicable(format!("{what}: no process to try it in: {error}")),
    }
}

/// An error in its words alone.
fn told(error: impl Into<io::Error>) -> String {
    let text = error.into().to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
