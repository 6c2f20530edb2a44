//! Which calls are meant.
//!
//! Enters: the arguments; then a sheet of the index, and its entries. Leaves: whether each is meant. Never: a text judged twice: a sheet has
//! each once, and a million calls go to few hosts.

use std::path::Path;

use config::{NameGlob, PathGlob};
use record::index::{Entry, Kind, Sheet, Span, Word, nanoseconds};

use super::id::means;
use super::{HostFilter, RuleFilter, Statuses};
use crate::ago;
use crate::args::Wanted;
use crate::report::Report;

/// What is looked for. An empty list asks nothing.
#[derive(Debug, Clone)]
pub struct Filter {
    agents: Vec<String>,
    workers: Vec<String>,
    hosts: Vec<HostFilter>,
    methods: Vec<String>,
    paths: Vec<PathGlob>,
    statuses: Vec<Statuses>,
    rules: Vec<RuleFilter>,
    credentials: Vec<String>,
    leases: Vec<String>,
    tools: Vec<NameGlob>,
    refused: bool,
    flagged: bool,
    /// Whether what `exeat probe` tried is meant, too.
    pub probes: bool,
    /// When.
    pub span: Span,
}

impl Filter {
    /// Reads the arguments.
    ///
    /// # Errors
    /// When a time is none.
    pub fn new(wanted: &Wanted) -> Result<Filter, Report> {
        let texts = |list: &[String]| list.to_vec();
        let since = wanted.since.as_deref().map(ago::since).transpose()?;
        let until = wanted.until.as_deref().map(ago::since).transpose()?;
        if let (Some(since), Some(until)) = (since, until)
            && until < since
        {
            let hint = "`--since` is the earlier of the two: `--since 3h --until 2h` is the hour before the last two";
            return Err(Report::new("`--until` is before `--since`").hint(hint));
        }
        let span = Span {
            from: since.map_or(i64::MIN, nanoseconds),
            to: until.map_or(i64::MAX, |until| nanoseconds(until).saturating_sub(1)),
        };
        Ok(Filter {
            agents: wanted.agent.iter().map(ToString::to_string).collect(),
            workers: texts(&wanted.worker),
            hosts: wanted.host.clone(),
            methods: wanted.method.iter().map(|method| method.to_ascii_uppercase()).collect(),
            paths: wanted.path.clone(),
            statuses: wanted.status.clone(),
            rules: wanted.rule.clone(),
            credentials: wanted.credential.iter().map(ToString::to_string).collect(),
            leases: texts(&wanted.lease),
            tools: wanted.tool.clone(),
            refused: wanted.refused,
            flagged: wanted.flagged,
            probes: wanted.probes,
            span,
        })
    }

    /// Whether the worker with this directory is one that is meant.
    pub fn wants_worker(&self, worker: &Path) -> bool {
        self.workers.is_empty() || self.workers.iter().any(|part| means(part, worker))
    }

    /// For the entries of one sheet.
    pub fn on<'a>(&'a self, sheet: &'a Sheet) -> Sieve<'a> {
        let agent = self.agents.is_empty() || self.agents.iter().any(|agent| agent == sheet.agent());
        Sieve { filter: self, sheet, agent, known: Default::default() }
    }
}

/// A filter over one sheet.
#[derive(Debug)]
pub struct Sieve<'a> {
    filter: &'a Filter,
    sheet: &'a Sheet,
    /// Whether the sheet's agent is meant.
    agent: bool,
    /// Verdicts on texts, for each question that is asked about texts.
    known: [Vec<Option<bool>>; QUESTIONS],
}

const QUESTIONS: usize = 7;

impl Sieve<'_> {
    /// Whether it is meant.
    pub fn wants(&mut self, entry: &Entry) -> bool {
        let Filter { hosts, methods, paths, rules, credentials, leases, tools, statuses, span, .. } = self.filter;
        let (filter, sheet) = (self.filter, self.sheet);
        self.agent
            && (span.from..=span.to).contains(&entry.time)
            && (!filter.refused || is_refused(sheet, entry))
            && (!filter.flagged || is_flagged(sheet, entry))
            && (statuses.is_empty() || status(entry).is_some_and(|own| statuses.iter().any(|range| range.have(own))))
            && self.says(0, methods, entry.method, |method, text| method == text)
            && self.says(1, credentials, entry.credential, |name, text| name == text)
            && self.says(2, hosts, entry.to, HostFilter::has)
            && self.says(3, rules, entry.rule, RuleFilter::has)
            && self.says(4, tools, entry.tool, asks_for)
            && self.says(5, paths, entry.path, PathGlob::matches_logged)
            && (self.says(6, leases, entry.lease, is_lease)
                || (entry.retried != 0 && self.says(6, leases, entry.retried, is_lease)))
    }

    fn says<T>(&mut self, question: usize, wanted: &[T], word: Word, is: impl Fn(&T, &str) -> bool) -> bool {
        if wanted.is_empty() {
            return true;
        }
        if word == 0 {
            return false;
        }
        let known = &mut self.known[question];
        if known.is_empty() {
            known.resize(self.sheet.words().count(), None);
        }
        let judge = || wanted.iter().any(|one| is(one, self.sheet.words().get(word)));
        match known.get_mut(word as usize) {
            Some(known) => *known.get_or_insert_with(judge),
            None => judge(),
        }
    }
}

/// The status that its client was answered, if it was.
pub fn status(entry: &Entry) -> Option<u16> {
    entry.end.map_or(entry.status, |end| end.status)
}

/// Whether it was refused, before anything went out or on its way.
pub fn is_refused(sheet: &Sheet, entry: &Entry) -> bool {
    entry.kind == Kind::Refused || outcome(sheet, entry) == "refused"
}

/// How it ended, if it has.
pub fn outcome<'s>(sheet: &'s Sheet, entry: &Entry) -> &'s str {
    entry.end.map_or("", |end| sheet.words().get(end.outcome))
}

/// Whether a reviewer should see it.
pub fn is_flagged(sheet: &Sheet, entry: &Entry) -> bool {
    entry.alert
        || entry.observed
        || entry.cut
        || entry.retried != 0
        || entry.end.is_some_and(|end| end.scrubbed > 0 || end.forbidden)
        || matches!(outcome(sheet, entry), "broken" | "cut")
}

/// A call may ask for several.
fn asks_for(tool: &NameGlob, text: &str) -> bool {
    tool.matches(text) || text.split(", ").any(|one| tool.matches(one))
}

fn is_lease(part: &String, lease: &str) -> bool {
    let lease = lease.replace('-', "").to_ascii_lowercase();
    lease.starts_with(&**part) || lease.ends_with(&**part)
}
