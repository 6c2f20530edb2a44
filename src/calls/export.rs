//! `exeat calls export`: the calls in the form of others, one JSON object a line.
//!
//! Enters: the logs of all workers. Leaves: an event for each call and each refusal, worker by worker, in the order in which they ended.
//! Never: more in memory than what is open in one log.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use record::read::{Position, WorkerLog};

use super::{logs, ocsf};
use crate::ago::since;
use crate::args;
use crate::call::{Author, Call, Open};
use crate::places::Places;
use crate::report::Report;

/// What is kept of the calls of one log that have not ended: some ten times what the bounds of a worker allow.
const OPEN_BYTES: usize = 256 * 1024 * 1024;

/// Which calls.
struct Filter {
    agent: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Filter {
    fn wants(&self, call: &Call) -> bool {
        self.agent.as_ref().is_none_or(|agent| *agent == call.author.agent)
            && self.since.is_none_or(|since| call.began >= since)
            && self.until.is_none_or(|until| call.began < until)
    }
}

/// Writes the events to standard output.
///
/// # Errors
/// When a log cannot be read.
pub fn run(places: &Places, arguments: &args::Export) -> Result<ExitCode, Report> {
    let filter = Filter {
        agent: arguments.agent.as_ref().map(ToString::to_string),
        since: arguments.since.as_deref().map(since).transpose()?,
        until: arguments.until.as_deref().map(since).transpose()?,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for log in logs(places)? {
        match write(places, &log, &filter, &mut out) {
            Err(Failed::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            Err(Failed::Write(error)) => return Err(error.into()),
            Err(Failed::Read(report)) => return Err(report),
            Ok(()) => {}
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

enum Failed {
    Read(Report),
    Write(io::Error),
}

fn write(places: &Places, log: &WorkerLog, filter: &Filter, out: &mut impl Write) -> Result<(), Failed> {
    let mut open = None;
    for text in log.texts(Position::START) {
        let text = text.map_err(|error| Failed::Read(error.into()))?;
        let bytes = text.bytes.len();
        let record = text
            .record(log.worker())
            .map_err(|error| Failed::Read(Report::new(error).hint("it was changed; see `exeat verify`")))?;
        let open = open.get_or_insert_with(|| {
            Open::new(Arc::new(Author::first(places, log.worker(), &record.line.event)), OPEN_BYTES)
        });
        for call in open.take(record.line, record.at, bytes) {
            event(&call, filter, out)?;
        }
    }
    for call in open.iter_mut().flat_map(Open::drain) {
        event(&call, filter, out)?;
    }
    Ok(())
}

fn event(call: &Call, filter: &Filter, out: &mut impl Write) -> Result<(), Failed> {
    match filter.wants(call) {
        true => writeln!(out, "{}", ocsf::event(call)).map_err(Failed::Write),
        false => Ok(()),
    }
}
