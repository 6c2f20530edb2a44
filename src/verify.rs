//! `exeat verify`: whether the call logs are what was written.
//!
//! Enters: a state directory or a copy of one, what a broker keeps of it, and the key that is trusted. Leaves: a line for each log, and for
//! everything that is wrong what and where. Never: a verdict on a log by anything else than itself and what was signed for it; what is kept to find calls by is compared with it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use record::Removed;
use record::audit::{self, Audited, Finding, Notary};
use record::index::Index;
use record::note::VerifierKey;
use record::read::WorkerLog;
use serde::Serialize;

use crate::args;
use crate::out::out;
use crate::places::Places;
use crate::plain::plain;
use crate::progress::Progress;
use crate::report::Report;
use crate::running;

/// Changes when a field changes its meaning or goes; fields may be added.
const SCHEMA: &str = "exeat-verify/1";

/// What was found.
#[derive(Debug, Serialize)]
struct Verdict {
    schema: &'static str,
    /// Whether nothing is wrong.
    good: bool,
    /// The keys that were trusted.
    keys: Vec<String>,
    /// Whether they are the reader's own, and not only what lies beside the logs.
    keys_given: bool,
    /// Workers on the broker's roll, where there is one.
    on_roll: Option<usize>,
    /// What is wrong with the roll.
    roll: Vec<Finding>,
    logs: Vec<Told>,
}

/// What is told of a log.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    audited: Audited,
    /// Whether its worker runs.
    runs: bool,
    /// Where the index, which `exeat calls` finds by, says something else than the log.
    index: Vec<String>,
}

impl Told {
    /// How many of its last records nobody signed for.
    fn unsigned(&self) -> u64 {
        self.audited.records.saturating_sub(self.audited.signed)
    }

    fn is_good(&self, strict: bool) -> bool {
        self.audited.findings.is_empty()
            && self.index.is_empty()
            && (!strict || self.runs || (self.audited.ended && self.unsigned() == 0))
    }
}

/// Verifies. The exit code is 1 where something is wrong.
///
/// # Errors
/// When it cannot be said: there is no key, or a log cannot be read.
pub fn run(places: &Places, arguments: &args::Verify) -> Result<ExitCode, Report> {
    let state = arguments.directory.clone().unwrap_or_else(|| places.state.clone());
    let places = Places { state, config: places.config.clone() };
    let verdict = verdict(&places, arguments)?;
    let mut out = out();
    match arguments.json {
        true => out.json(&verdict)?,
        false => show(&mut out, &verdict)?,
    }
    Ok(if verdict.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(places: &Places, arguments: &args::Verify) -> Result<Verdict, Report> {
    let kept = arguments.checkpoints.clone().unwrap_or_else(|| places.checkpoints());
    // Workers first, then what was signed for them: a log goes on, and what was signed is of its beginning.
    let directories = directories(&places.workers())?;
    let keys = keys(arguments, &kept, directories.is_empty())?;
    let notary = Notary::read(&kept, &keys)?;
    if directories.is_empty() && notary.workers().is_empty() && notary.findings.is_empty() {
        return Err(nothing_there(places, &kept));
    }
    // After the roll: whoever is not on it and runs is looked at again.
    let runs: BTreeSet<String> = running::all(places)?.iter().map(|running| running.worker.to_string()).collect();
    let mut workers: BTreeSet<String> = directories;
    workers.extend(notary.workers().into_iter().map(str::to_owned));
    workers.retain(|worker| arguments.worker.is_none_or(|wanted| wanted.to_string() == *worker));
    let mut logs = Vec::new();
    let progress = Progress::of("logs verified", workers.len() as u64);
    for (worker, done) in workers.into_iter().zip(0..) {
        progress.to(done);
        let directory = places.workers().join(&worker);
        let runs = runs.contains(&worker);
        let mut audited = audit::log(&directory, &notary, &keys)?;
        let mut of = notary.agent(&worker).map(str::to_owned);
        if runs && !audited.findings.is_empty() {
            // It may have begun after the roll was read.
            let now = Notary::read(&kept, &keys)?;
            audited = audit::log(&directory, &now, &keys)?;
            of = now.agent(&worker).map(str::to_owned);
        }
        // A log that is not what was written does not say whose it is.
        let of = of.or(audited.agent.clone().filter(|_| audited.findings.is_empty()));
        if arguments.agent.as_ref().is_none_or(|wanted| of.is_none_or(|agent| agent == wanted.as_str())) {
            logs.push(Told { index: index(places, &directory)?, runs, audited });
        }
    }
    if logs.is_empty() && (arguments.agent.is_some() || arguments.worker.is_some()) {
        let hint = format!("`{}` has the logs of all workers", places.workers().display());
        return Err(Report::new("there is no such log, nor has there been one").hint(hint));
    }
    let good = notary.findings.is_empty() && logs.iter().all(|told| told.is_good(arguments.strict));
    Ok(Verdict {
        schema: SCHEMA,
        good,
        keys: keys.iter().map(ToString::to_string).collect(),
        keys_given: !arguments.key.is_empty(),
        on_roll: notary.is_there().then(|| notary.on_roll()),
        roll: notary.findings,
        logs,
    })
}

/// Where there has never been a log, or all of it is gone, there is nothing to vouch for.
fn nothing_there(places: &Places, kept: &Path) -> Report {
    let (workers, kept) = (places.workers(), kept.display());
    Report::new(format!("there is nothing to verify: no log is in `{}`, and no roll of them in `{kept}`", workers.display())).hint(
        "name a state directory, or a copy of one; where no worker has ever run there is none yet, and where one has, its logs are gone",
    )
}

/// Where what is kept to find calls by is not what this log says.
fn index(places: &Places, worker: &Path) -> Result<Vec<String>, Report> {
    let Some(log) = WorkerLog::open(worker)? else { return Ok(Vec::new()) };
    let wrong = Index::new(places.index()).disagreements(&log)?;
    Ok(wrong.iter().map(|wrong| format!("the index `{}` {}", wrong.sheet.display(), wrong.why)).collect())
}

/// The names of all workers' directories.
fn directories(workers: &Path) -> Result<BTreeSet<String>, Report> {
    match fs::read_dir(workers) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => {
            let hint = format!("`{}` has to be readable by whoever verifies", workers.display());
            Err(Report::new(error).hint(hint))
        }
        Ok(entries) => entries
            .filter_map(|entry| match entry.and_then(|entry| Ok((entry.file_type()?.is_dir(), entry.file_name()))) {
                // What is no directory is no worker's.
                Ok((false, _)) => None,
                Ok((true, name)) => Some(Ok(name.to_string_lossy().into_owned())),
                Err(error) => Some(Err(error)),
            })
            .collect::<io::Result<_>>()
            .map_err(Report::from),
    }
}

/// What is trusted.
fn keys(arguments: &args::Verify, kept: &Path, nothing_there: bool) -> Result<Vec<VerifierKey>, Report> {
    if arguments.key.is_empty() {
        return match Notary::keys(kept) {
            Ok(keys) => Ok(keys),
            Err(error) if error.kind() == io::ErrorKind::NotFound && nothing_there => Ok(Vec::new()),
            Err(error) => Err(Report::new(format!("there is no key in `{}`: {error}", kept.display())).hint(
                "a broker leaves its key there with its first checkpoint; say `--key` with a copy of it, or `--checkpoints` with the directory of the broker",
            )),
        };
    }
    let mut keys = Vec::new();
    for key in &arguments.key {
        let text = match key.parse::<VerifierKey>() {
            Ok(_) => key.clone(),
            Err(error) => fs::read_to_string(PathBuf::from(key)).map_err(|_| {
                Report::new(format!("`{key}`: {error}"))
                    .hint("it is in `checkpoints/verifier` of the state directory; keep a copy elsewhere")
            })?,
        };
        for line in text.lines() {
            keys.push(line.parse().map_err(|error| Report::new(format!("`{line}`: {error}")))?);
        }
    }
    Ok(keys)
}

fn show(out: &mut impl Write, verdict: &Verdict) -> io::Result<()> {
    let mut wrong = verdict.roll.len();
    for finding in &verdict.roll {
        writeln!(out, "CHANGED  {}", plain(&finding.says))?;
    }
    for told in &verdict.logs {
        let Audited { worker, agent, records, signed, ended, removed, findings } = &told.audited;
        let agent = agent.as_deref().unwrap_or("-");
        let name = format!("{worker} {agent:<12}");
        let name = plain(&name);
        for finding in findings {
            let place =
                finding.at.map(|at| format!(" (segment {}, byte {})", at.segment, at.offset)).unwrap_or_default();
            writeln!(out, "CHANGED  {name} {}{place}", plain(&finding.says))?;
        }
        for disagreement in &told.index {
            writeln!(out, "CHANGED  {name} {}; it can be removed, and is made again", plain(disagreement))?;
        }
        wrong += findings.len() + told.index.len();
        if findings.is_empty() {
            let tail = match (told.unsigned(), *ended, told.runs) {
                (0, true, _) => "signed to its end".to_owned(),
                (0, false, true) => "all signed, its worker runs".to_owned(),
                (0, false, false) => "all signed, without an end: its worker was killed".to_owned(),
                (last, _, true) => format!("signed up to {signed}, the last {last} not yet: its worker runs"),
                (last, _, false) => format!("signed up to {signed}, the last {last} not: its worker was killed"),
            };
            writeln!(out, "good     {name} {records} records, {tail}")?;
        }
        // They cannot be verified any more; that they are not there is no finding.
        for span in Removed::spans(removed) {
            writeln!(out, "removed  {name} {}", plain(&span))?;
        }
    }
    let records: u64 = verdict.logs.iter().map(|told| told.audited.records).sum();
    let found = match wrong {
        0 => "nothing is wrong".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    writeln!(out, "{} logs, {records} records: {found}", verdict.logs.len())?;
    for key in &verdict.keys {
        writeln!(out, "key {key}")?;
    }
    if verdict.keys.len() > 1 && !verdict.keys_given {
        writeln!(
            out,
            "note: there are {} keys, so that the key was replaced; `--key` says which to trust",
            verdict.keys.len()
        )?;
    } else if !verdict.keys_given && !verdict.keys.is_empty() {
        writeln!(out, "note: this key lies beside the logs; keep a copy elsewhere, and verify with `--key`")?;
    }
    Ok(())
}
