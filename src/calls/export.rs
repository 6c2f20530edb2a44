//! `exeat calls export`: the calls in the form of others, one JSON object a line.
//!
//! Enters: the logs of all workers. Leaves: an event for each call and each refusal, worker by worker, in the order in which they ended.
//! Never: more in memory than what is open in one log.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use record::Hash;
use record::read::{Position, ReadError, WorkerLog};

use super::{logs, ocsf, say, say_changed};
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
/// When the logs cannot be listed. One that cannot be read is said, and the code is 1.
pub fn run(places: &Places, arguments: &args::Export) -> Result<ExitCode, Report> {
    let filter = Filter {
        agent: arguments.agent.as_ref().map(ToString::to_string),
        since: arguments.since.as_deref().map(since).transpose()?,
        until: arguments.until.as_deref().map(since).transpose()?,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut flaws, mut changed) = (Vec::new(), false);
    let mut all = || {
        for log in logs(places)? {
            let (flaw, at) = write(places, &log, &filter, &mut out)?;
            flaws.extend(flaw);
            changed |= at.map(|at| say_changed(log.worker(), at)).is_some();
        }
        Ok(out.flush()?)
    };
    match all() {
        Err(Failed::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Failed::Write(error)) => Err(error.into()),
        Err(Failed::List(report)) => Err(report),
        Ok(()) if changed && flaws.is_empty() => Ok(ExitCode::FAILURE),
        Ok(()) => Ok(say(&flaws)),
    }
}

enum Failed {
    List(Report),
    Write(io::Error),
}

impl From<Report> for Failed {
    fn from(report: Report) -> Failed {
        Failed::List(report)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Write(error)
    }
}

/// What can be read of one log. Leaves why there is no more of it, if it does not end there; and the first record that is not what was written.
fn write(
    places: &Places,
    log: &WorkerLog,
    filter: &Filter,
    out: &mut impl Write,
) -> io::Result<(Option<ReadError>, Option<Position>)> {
    let (mut open, mut flaw, mut changed) = (None, None, None);
    let mut before: Option<(Position, Hash)> = None;
    for text in log.texts(Position::START) {
        let read = text.and_then(|text| Ok((text.bytes.len(), Hash::of_line(&text.bytes), text.record(log.worker())?)));
        let (bytes, hash, record) = match read {
            Ok(read) => read,
            Err(error) => {
                flaw = Some(error);
                break;
            }
        };
        let unbound = before.replace((record.at, hash)).filter(|(_, hash)| *hash != record.line.prev);
        changed = changed.or(unbound.map(|(at, _)| at));
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
    Ok((flaw, changed))
}

fn event(call: &Call, filter: &Filter, out: &mut impl Write) -> io::Result<()> {
    match filter.wants(call) {
        true => writeln!(out, "{}", ocsf::event(call)),
        false => Ok(()),
    }
}
