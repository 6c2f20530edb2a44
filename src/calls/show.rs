//! `exeat calls show`: the whole story of one call.
//!
//! Enters: the id of a call; its worker's log, its agent's file, the ledgers. Leaves: who made it, what let it out, with what, how it went, and what
//! its records are worth as evidence. Never: a rule's lines from a file that is not the one that judged.

mod chain;
mod told;

use std::path::PathBuf;
use std::process::ExitCode;

use ::broker::ledger::{self, Entry as Leased};
use config::Policy;
use record::index::Entry;
use record::read::{Record, WorkerLog};
use record::{Event, Hash};
use serde::Serialize;
use serde_json::value::RawValue;

use self::chain::{Chain, Scan};
use super::{CallId, Filter, Finder};
use crate::args;
use crate::out::out;
use crate::places::Places;
use crate::report::Report;

/// All there is to tell.
#[derive(Serialize)]
struct Story {
    schema: &'static str,
    id: String,
    worker: String,
    agent: String,
    identity: Option<String>,
    command: Option<Vec<String>>,
    version: Option<String>,
    /// What judged it.
    rule: Option<Rule>,
    /// Its leases, as the ledgers have them.
    leases: Vec<Leased>,
    /// When its host's name was looked up last before, if it was.
    asked: Option<Told>,
    /// Its records, in order.
    records: Vec<Told>,
    chain: Chain,
    #[serde(skip)]
    parsed: Vec<Record>,
}

/// A record, and what names it.
#[derive(Serialize)]
struct Told {
    hash: String,
    record: Box<RawValue>,
}

impl Told {
    fn new(record: &Record) -> Result<Told, Report> {
        let hash = Hash::of_line(record.text.as_bytes()).to_string();
        Ok(Told { hash, record: RawValue::from_string(record.text.clone())? })
    }
}

#[derive(Serialize)]
struct Rule {
    rule: String,
    file: PathBuf,
    line: Option<usize>,
    /// Digest of the policy that judged, where its record says so.
    policy: Option<String>,
    /// The rule's lines; none where the file is not any more what it was.
    lines: Option<Vec<String>>,
}

/// Tells one call.
///
/// # Errors
/// When there is no such call, or its log cannot be read.
pub(super) fn run(places: &Places, arguments: &args::Show) -> Result<ExitCode, Report> {
    let story = story(places, &arguments.id)?;
    let mut out = out();
    match arguments.json {
        true => out.json(&story)?,
        false => told::tell(&mut out, &story)?,
    }
    Ok(if story.chain.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn story(places: &Places, id: &CallId) -> Result<Story, Report> {
    let mut finder = Finder::new(places)?;
    let log = id.log(&finder.logs)?.worker().to_owned();
    let Some(number) = finder.logs.iter().position(|one| one.worker() == log) else {
        return Err(Report::new("the log of this worker has gone"));
    };
    let name = finder.names.swap_remove(number);
    finder.names = vec![name];
    finder.logs = vec![finder.logs.swap_remove(number)];
    let (log, name) = (&finder.logs[0], &finder.names[0]);
    let (agent, entry) = find(&finder, id)?;
    let scan = Scan::of(log, &entry)?;
    let [start, ..] = &scan.records[..] else {
        return Err(Report::new("the call's records are not there any more").hint("try again"));
    };
    let rule = rule(places, &agent, start);
    let leases = leases(places, &scan.records)?;
    Ok(Story {
        schema: "exeat-call/1",
        id: format!("{name}/{}", start.line.seq),
        worker: log.worker().file_name().unwrap_or_default().to_string_lossy().into_owned(),
        agent,
        identity: scan.author.as_ref().map(|author| author.identity.clone()),
        command: scan.author.as_ref().map(|author| author.command.clone()),
        version: scan.author.as_ref().map(|author| author.version.clone()),
        rule,
        leases,
        asked: scan.asked.as_ref().map(Told::new).transpose()?,
        records: scan.records.iter().map(Told::new).collect::<Result<_, _>>()?,
        chain: scan.chain,
        parsed: scan.records,
    })
}

/// The call with this number, or with a record of this number.
fn find(finder: &Finder, id: &CallId) -> Result<(String, Entry), Report> {
    let search = |is: &dyn Fn(&Entry) -> bool| {
        let filter = Filter::new(&args::Wanted::default())?;
        let mut found = None;
        let flaws = finder.sheets(&filter, filter.span, |_, sheet| {
            let entry = sheet.entries().iter().find(|entry| is(entry));
            found = found.take().or(entry.map(|entry| (sheet.agent().to_owned(), *entry)));
        });
        super::say(&flaws);
        Ok::<_, Report>(found)
    };
    if let Some(found) = search(&|entry| entry.seq == id.seq)? {
        return Ok(found);
    }
    let none = || {
        Report::new(format!("`{id}` is not a call")).hint("`exeat calls` has the id of each call in its first column")
    };
    let call = call_of(&finder.logs[0], id.seq)?.ok_or_else(none)?;
    search(&|entry| entry.call == call && entry.call != 0)?.ok_or_else(none)
}

/// The call that a record is about which does not begin one.
fn call_of(log: &WorkerLog, seq: u64) -> Result<Option<u64>, Report> {
    for record in log.lines() {
        let line = record?.line;
        if line.seq == seq {
            return Ok(match line.event {
                Event::CallEnd(end) => Some(end.call),
                Event::CallRetried(retried) => Some(retried.call),
                _ => None,
            });
        }
    }
    Ok(None)
}

fn rule(places: &Places, agent: &str, start: &Record) -> Option<Rule> {
    let (rule, policy) = match &start.line.event {
        Event::CallStart(start) => (start.rule.clone(), Some(start.policy.to_string())),
        Event::TunnelStart(start) => (start.rule.clone(), Some(start.policy.clone())),
        Event::Refused(refused) => (refused.rule.clone()?, refused.policy.clone()),
        _ => return None,
    };
    let agent: config::AgentId = agent.parse().ok()?;
    let file = places.agent_file(&agent);
    let line = rule.rsplit_once("(line ").and_then(|(_, line)| line.trim_end_matches(')').parse().ok());
    let text = std::fs::read_to_string(&file).ok();
    let is_it = |text: &String| {
        // Whoever reads logs need not be able to read a secret beside the file.
        let now = Policy::parse_without_secrets(agent.clone(), &file, text).ok();
        now.zip(policy.as_ref()).is_some_and(|(now, then)| now.digest() == then)
    };
    let lines = text.filter(is_it).zip(line).map(|(text, line)| block(&text, line));
    Some(Rule { rule, file, line, policy, lines })
}

/// A table of a TOML file that begins in this line, from 1.
fn block(text: &str, line: usize) -> Vec<String> {
    let rest = text.lines().skip(line.saturating_sub(1)).enumerate();
    let table = rest.take_while(|(number, line)| *number == 0 || !line.trim_start().starts_with('['));
    let mut lines: Vec<String> = table.map(|(_, line)| line.to_owned()).collect();
    while lines.pop_if(|last| last.trim().is_empty() || last.trim_start().starts_with('#')).is_some() {}
    lines
}

fn leases(places: &Places, records: &[Record]) -> Result<Vec<Leased>, Report> {
    let used = records.iter().flat_map(|record| match &record.line.event {
        Event::CallStart(start) => start.credential.iter().map(|used| used.lease.clone()).collect(),
        Event::CallRetried(again) => vec![again.retried.lease.clone()],
        _ => Vec::new(),
    });
    let used: Vec<String> = used.collect();
    if used.is_empty() {
        return Ok(Vec::new());
    }
    let found = ledger::read(&places.ledgers()).map_err(crate::broker::unusable)?;
    let of_the_call = found.into_iter().filter(|found| used.contains(&found.entry.lease.to_string()));
    Ok(of_the_call.map(|found| found.entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_from_its_line_to_the_next_table() {
        let text =
            "[sandbox]\nx = 1\n\n[[allow]]\nto = \"a\"\npaths = [\n  \"/a\",\n]\n\n# next\n[[deny]]\nto = \"b\"\n";
        assert_eq!(block(text, 4), ["[[allow]]", "to = \"a\"", "paths = [", "  \"/a\",", "]"]);
        assert_eq!(block(text, 11), ["[[deny]]", "to = \"b\""]);
        assert!(block(text, 99).is_empty());
    }
}
