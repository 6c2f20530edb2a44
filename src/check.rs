//! `exeat check`: every mistake in the files, what they expect of themselves and do not do, what may be wrong where there is none, and what
//! this machine lacks.
//!
//! Enters: the configuration directory, the state directory, the machine. Leaves: one block for each mistake and finding with file, line,
//! key, reason and remedy, and one line for each capability; or all of it as one JSON document. Never: a stop at the first mistake; a
//! change to anything.

mod around;
mod document;
mod replay;
mod usage;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use config::{
    Credentials, Finding, IdentitySettings, LoadError, LogSettings, Mistake, Policy, Unmet, audit, cross_check,
};
use jiff::Timestamp;
use sandbox::{Capability, Limits, Offered};

use self::replay::Replayed;
use crate::args;
use crate::out::out;
use crate::places::{self, Places};
use crate::report::Report;
use crate::run::{self, shown::told};

/// What there is to tell.
#[derive(Default)]
struct Checked {
    agents: usize,
    credentials: usize,
    mistakes: Vec<Mistake>,
    /// How much is expected (`[[expect]]`), and what of it is not so.
    expectations: usize,
    unmet: Vec<Unmet>,
    findings: Vec<Finding>,
    /// What could not be judged, and why.
    notes: Vec<String>,
    /// What is so on this machine, for this user: no evidence of the files.
    around: Vec<String>,
    /// `None`: neither was asked for.
    replayed: Option<Replayed>,
    machine: Option<Vec<Capability>>,
}

/// Checks; the exit code is 1 when something is wrong, with `--strict` also when a finding is not accepted.
///
/// # Errors
/// When the directory cannot be listed.
pub fn run(places: &Places, arguments: &args::Check) -> Result<ExitCode, Report> {
    let since = usage::window(&arguments.unused_since)?;
    let (mut checked, policies) = files(places, since)?;
    if let Some(time) = &arguments.replay {
        let window = usage::window(time)?;
        checked.replayed = Some(replay::run(places, &policies, window, arguments.agent.as_ref(), Timestamp::now())?);
    } else if !arguments.files_only {
        checked.machine = Some(machine(&policies));
        checked.around.extend(foreseen(places, &policies));
    }
    checked.notes.append(&mut checked.around);
    let mut out = out();
    match arguments.json {
        true => document::write(&mut out, places, &checked)?,
        false => write(&mut out, places, &checked)?,
    }
    // A log that was not read may have what would be decided otherwise.
    let otherwise = checked.replayed.as_ref().is_some_and(|replayed| replayed.otherwise + replayed.unread > 0);
    let passed = checked.is_right()
        && !(arguments.strict && checked.warnings() > 0)
        && !(arguments.fail_on_difference && otherwise);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the files, the logs and the ledgers show of the files, and what could not be judged; in words, where the files have mistakes.
pub(crate) fn findings(places: &Places, since: &str) -> Result<(Vec<Finding>, Vec<String>), String> {
    let (checked, _) =
        usage::window(since).and_then(|since| files(places, since)).map_err(|report| report.to_string())?;
    match checked.mistakes.len() {
        0 => Ok((checked.findings, checked.notes)),
        mistakes => Err(format!("the files have {mistakes} mistakes; see `exeat check`")),
    }
}

impl Checked {
    /// How many findings nobody has accepted.
    fn warnings(&self) -> usize {
        self.findings.iter().filter(|finding| finding.accepted.is_none()).count()
    }

    fn is_right(&self) -> bool {
        let able = self.machine.iter().flatten().all(|capability| capability.present || !capability.required);
        self.mistakes.is_empty() && self.unmet.is_empty() && able
    }
}

/// What this machine can do, and what it can hold of each agent's limits.
fn machine(policies: &[Policy]) -> Vec<Capability> {
    let mut found = sandbox::probe();
    let offered = Offered::by_this_machine();
    let judge = |policy: &Policy| offered.judge(policy.agent().as_str(), &Limits::from(policy.sandbox()));
    found.extend(policies.iter().map(judge));
    found
}

/// What would keep each agent from starting here, as this user.
fn foreseen<'a>(places: &'a Places, policies: &'a [Policy]) -> impl Iterator<Item = String> + 'a {
    policies.iter().filter_map(|policy| {
        let report = run::spec::foresee(places, policy).err()?;
        Some(format!("{}: from here nothing starts: {}", policy.agent(), report.line()))
    })
}

/// Reads all files. Findings are for files without a mistake.
fn files(places: &Places, since: usage::Window<'_>) -> Result<(Checked, Vec<Policy>), Report> {
    let mut mistakes = Vec::new();
    let mut policies = Vec::new();
    let mut wrong = |error: LoadError| mistakes.extend_from_slice(error.mistakes());
    for file in agent_files(places)? {
        Policy::load(&file).map_or_else(&mut wrong, |policy| policies.push(policy));
    }
    IdentitySettings::load(places.broker_file()).map_or_else(&mut wrong, drop);
    LogSettings::load(places.log_file()).map_or_else(&mut wrong, drop);
    let patterns = patterns(&policies)?;
    let file = places.credentials_file();
    let credentials = if file.exists() { Credentials::load(&file) } else { Credentials::parse(&file, "") };
    let credentials = credentials.map_err(wrong).ok();
    let mut checked = Checked { agents: policies.len(), ..Checked::default() };
    if let Some(credentials) = &credentials {
        mistakes.extend(cross_check(&policies, credentials));
        checked.credentials = credentials.iter().count();
        if mistakes.is_empty() {
            checked.findings = audit(&policies, credentials);
            let seen = usage::judge(places, &policies, credentials, since, Timestamp::now());
            checked.findings.extend(seen.findings);
            checked.notes =
                [seen.notes, needless(credentials, &checked.findings), weakened(places, &policies)].concat();
        }
    }
    checked.notes.extend(patterns);
    checked.around = around::notes(places, &policies, credentials.as_ref());
    for policy in &policies {
        checked.expectations += policy.expectations().len();
        checked.unmet.extend(policy.expectations().iter().filter_map(|expected| expected.unmet_by(policy)));
    }
    checked.mistakes = mistakes;
    Ok((checked, policies))
}

/// What the policies' patterns for files come to, were their agents started where this was.
fn patterns(policies: &[Policy]) -> Result<Vec<String>, Report> {
    let directory = places::here()?;
    let told = |policy: &Policy| {
        let agent = policy.agent().clone();
        told(policy.sandbox(), &directory).into_iter().map(move |told| format!("{agent}: {told}"))
    };
    Ok(policies.iter().flat_map(told).collect())
}

/// What is accepted and is not found any more, or never was.
fn needless(credentials: &Credentials, findings: &[Finding]) -> Vec<String> {
    let mut notes = Vec::new();
    for credential in credentials.iter() {
        let name = credential.grant.credential();
        for risk in credential.accepted.keys() {
            if !findings.iter().any(|finding| finding.credential == *name && finding.risk == *risk) {
                let (line, _) = credential.written.place("accept");
                let file = credential.written.file();
                notes.push(format!("{file}:{line}: {name}.accept: {risk} is accepted, and not found"));
            }
        }
    }
    notes
}

/// Walls that a policy takes down.
fn weakened(places: &Places, policies: &[Policy]) -> Vec<String> {
    let nested = policies.iter().filter(|policy| policy.sandbox().nested);
    let told = nested.map(|policy| {
        let file = places.agent_file(policy.agent());
        format!(
            "{}: sandbox.nested: commands may make namespaces and mounts of their own: more of the kernel is within their reach, \
             files are kept by mounts alone, and /proc shows what is the machine's; with limits by cgroup an ordinary user starts only where \
             version 2 alone is mounted, with `nsdelegate`; take it out unless a browser or a sandbox runs inside",
            file.display()
        )
    });
    told.collect()
}

fn write(out: &mut impl Write, places: &Places, checked: &Checked) -> io::Result<()> {
    let Checked { agents, credentials, mistakes, expectations, unmet, findings, notes, replayed, machine, .. } =
        checked;
    for mistake in mistakes {
        writeln!(out, "{mistake}")?;
    }
    for unmet in unmet {
        writeln!(out, "{unmet}")?;
    }
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    for note in notes {
        writeln!(out, "note: {note}")?;
    }
    let config = places.config.display();
    if mistakes.is_empty() {
        write!(out, "{config}: {agents} agents, {credentials} credentials, no mistakes")?;
        match (expectations, unmet.len()) {
            (0, _) => {}
            (all, 0) => write!(out, "; {all} expectations hold")?,
            (all, unmet) => write!(out, "; {unmet} of {all} expectations DO NOT HOLD")?,
        }
        match (checked.warnings(), findings.len() - checked.warnings()) {
            (0, 0) => writeln!(out)?,
            (warnings, 0) => writeln!(out, "; {warnings} warnings")?,
            (warnings, accepted) => writeln!(out, "; {warnings} warnings, {accepted} accepted")?,
        }
    } else {
        writeln!(out, "{config}: {} mistakes", mistakes.len())?;
    }
    if let Some(replayed) = replayed {
        write_replayed(out, replayed)?;
    }
    for Capability { name, required, present, why, remedy } in machine.iter().flatten() {
        let mark = match (present, required) {
            (true, _) => "yes",
            (false, true) => "NO",
            (false, false) => "no",
        };
        writeln!(out, "{mark:<4}{name:<18}{why}")?;
        if let (false, Some(remedy)) = (present, remedy) {
            writeln!(out, "    hint: {remedy}")?;
        }
    }
    Ok(())
}

fn write_replayed(out: &mut impl Write, replayed: &Replayed) -> io::Result<()> {
    let Replayed { window, agents, judged, otherwise, differences, unlisted, heads, left_out, notes, .. } = replayed;
    for difference in differences {
        writeln!(out, "{difference}")?;
    }
    if *unlisted > 0 {
        writeln!(out, "… and {unlisted} more calls that would be decided otherwise")?;
    }
    for note in notes {
        writeln!(out, "note: {note}")?;
    }
    if *heads > 0 {
        writeln!(
            out,
            "note: {heads} calls go by a rule that looks into bodies, which logs do not have: their heads were judged"
        )?;
    }
    for (why, count) in left_out {
        writeln!(out, "note: {count} calls cannot be judged again: {why}")?;
    }
    let agents = agents.len();
    writeln!(
        out,
        "replay of {window}: {judged} calls of {agents} agents judged again, {otherwise} would be decided otherwise"
    )
}

fn agent_files(places: &Places) -> Result<Vec<PathBuf>, Report> {
    let directory = places.config.join("agents");
    let entries = fs::read_dir(&directory).map_err(|error| {
        Report::new(format!("cannot list `{}`: {error}", directory.display()))
            .hint("`exeat init` writes one for a project; or make it and write a NAME.toml for each agent in it, or say --config DIR")
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("toml")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
