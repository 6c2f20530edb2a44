//! What call logs and ledgers show of credentials: which agent has not used one, and which lives long.
//!
//! Enters: the state directory. Leaves: findings, and what cannot be judged and why. Never: a grant called unused by a log that begins too
//! late to show it.

use std::collections::{BTreeMap, BTreeSet};

use broker::ledger::{self, State};
use config::{Credential, Credentials, Finding, IssuerSettings, Policy, Risk};
use jiff::{SignedDuration, Timestamp};
use record::index::{Index, Span, Word};
use record::read::{ReadError, WorkerLog};
use record::{Event, SegmentStart, WorkerStart};

use crate::ago::ago;
use crate::calls;
use crate::places::Places;
use crate::report::Report;

/// What is issued for no longer is short-lived; the rest is for clocks and for the way of the answer.
const SHORT: SignedDuration = SignedDuration::from_secs(61 * 60);

/// How far back is looked, and how it was written.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    text: &'a str,
    length: SignedDuration,
}

impl<'a> Window<'a> {
    /// As it was written.
    pub(super) fn text(self) -> &'a str {
        self.text
    }

    /// When it begins that ends now.
    pub(super) fn start(self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.length).unwrap_or(Timestamp::MIN)
    }
}

/// What was found.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<String>,
}

/// What the logs say.
#[derive(Default)]
struct Logs {
    /// When each agent's begin.
    begun: BTreeMap<String, Timestamp>,
    /// When each agent used each credential last.
    used: BTreeMap<(String, String), Timestamp>,
}

/// `30d`, `12h`, `15m` or `10s`.
pub(super) fn window(text: &str) -> Result<Window<'_>, Report> {
    match ago(text) {
        Some(length) => Ok(Window { text, length }),
        None => Err(Report::new(format!("`{text}` is not how long ago")).hint("write 30d, 12h or 90m")),
    }
}

/// Asks logs and ledgers about the grants that somebody could use.
pub(super) fn judge(
    places: &Places,
    policies: &[Policy],
    credentials: &Credentials,
    window: Window<'_>,
    now: Timestamp,
) -> Seen {
    let mut seen = Seen::default();
    let mut pairs = Vec::new();
    for policy in policies {
        let named = policy.credentials();
        let granted = credentials.for_agent(policy.agent());
        pairs.extend(granted.filter(|one| named.contains(one.grant.credential())).map(|one| (policy, one)));
    }
    if !pairs.is_empty() {
        let logs = read(places, &mut seen.notes);
        unused(&logs, &pairs, window, now, &mut seen);
    }
    match ledger::read(&places.ledgers()) {
        Ok(leases) => seen.findings.extend(long_lived(&leases, credentials)),
        Err(error) => {
            seen.notes.push(format!("the ledgers cannot be read, and the lives of leases not be told: {error}"));
        }
    }
    seen
}

fn unused(
    logs: &Logs,
    pairs: &[(&Policy, &Credential)],
    Window { text, length }: Window<'_>,
    now: Timestamp,
    seen: &mut Seen,
) {
    let start = now.checked_sub(length).unwrap_or(Timestamp::MIN);
    let (mut unlogged, mut young) = (BTreeSet::new(), BTreeSet::new());
    for (policy, credential) in pairs {
        let (agent, name) = (policy.agent(), credential.grant.credential());
        let last = logs.used.get(&(agent.to_string(), name.to_string()));
        match logs.begun.get(agent.as_str()) {
            _ if last.is_some_and(|last| *last >= start) => {}
            None => _ = unlogged.insert(agent.as_str()),
            Some(begun) if *begun > start => _ = young.insert((agent.as_str(), *begun)),
            Some(_) => {
                let ever = last.map_or("not once".to_owned(), |last| format!("last on {}", last.strftime("%Y-%m-%d")));
                let reason = format!("agent `{agent}` has not used it for {text} by its call logs: {ever}");
                let remedy = format!("take `{agent}` out of `agents`, and the credential out of the agent's rules");
                let finding = credential.finding(Risk::ImproperOffboarding, "agents", reason, remedy);
                seen.findings.push(Finding { agent: Some(agent.clone()), ..finding });
            }
        }
    }
    for agent in unlogged {
        seen.notes.push(format!("there is no call log of agent `{agent}`: what it does not use cannot be told"));
    }
    for (agent, begun) in young {
        let begun = begun.strftime("%Y-%m-%dT%H:%M:%SZ");
        seen.notes.push(format!(
            "the call logs of agent `{agent}` begin at {begun}: what it has not used for {text} cannot be told yet"
        ));
    }
}

/// Leases that were given for longer than what counts as short, by credential.
fn long_lived(leases: &[ledger::Found], credentials: &Credentials) -> Vec<Finding> {
    let life = |credential: &Credential| {
        let own = leases.iter().filter(|found| found.entry.credential == *credential.grant.credential());
        // Of one that was not answered nobody knows the life, and a renewed one has lived as long as its worker.
        let issued =
            own.filter(|found| !matches!(found.entry.state, State::Asked | State::Unanswered | State::Refused));
        let issued = issued.filter(|_| !matches!(credential.issuer, IssuerSettings::Vault(_)));
        issued.filter_map(|found| Some(found.entry.expires?.duration_since(found.entry.asked))).max()
    };
    let long = |credential: &Credential| {
        let life = life(credential).filter(|life| *life > SHORT)?;
        let reason = format!("its issuer has given it for {} hours, by the ledger", life.as_hours());
        let remedy = "have the issuer give it for an hour at most; it is renewed while its worker lives".to_owned();
        Some(credential.finding(Risk::LongLived, "issuer", reason, remedy))
    };
    credentials.iter().filter_map(long).collect()
}

fn read(places: &Places, notes: &mut Vec<String>) -> Logs {
    let (mut logs, index) = (Logs::default(), Index::new(places.index()));
    let found = calls::logs(places).unwrap_or_else(|error| {
        notes.push(format!("the call logs cannot be listed: {error}"));
        Vec::new()
    });
    for log in found {
        if let Err(reason) = logs.add(&index, &log) {
            notes.push(format!("the log was not read to its end; see `exeat verify`: {reason}"));
        }
    }
    logs
}

impl Logs {
    /// A segment at a time: a log has no bound of its own.
    fn add(&mut self, index: &Index, log: &WorkerLog) -> Result<(), ReadError> {
        let Some(first) = log.lines().next().transpose()? else { return Ok(()) };
        if let Event::WorkerStart(WorkerStart { agent, .. }) | Event::SegmentStart(SegmentStart { agent, .. }) =
            first.line.event
        {
            let begun = self.begun.entry(agent).or_insert(first.line.time);
            *begun = first.line.time.min(*begun);
        }
        index.sheets(log, Span::ALWAYS, &mut |_| {}, &mut |sheet| {
            let mut last: BTreeMap<Word, i64> = BTreeMap::new();
            for entry in sheet.entries().iter().filter(|entry| entry.credential != 0) {
                let time = last.entry(entry.credential).or_insert(entry.time);
                *time = entry.time.max(*time);
            }
            for (credential, time) in last {
                let used = (sheet.agent().to_owned(), sheet.words().get(credential).to_owned());
                let time = Timestamp::from_nanosecond(time.into()).unwrap_or(Timestamp::MIN);
                let last = self.used.entry(used).or_insert(time);
                *last = time.max(*last);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str =
        "[api]\nissuer = \"identity\"\naudience = \"a\"\nagents = [\"bot\"]\nto = [\"api.example.com\"]\n";
    const POLICY: &str = "[[allow]]\nto = \"api.example.com\"\ncredential = \"api\"\n";

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    /// What is said on day 100 of an agent whose logs begin on one day, and that used the credential last on another.
    fn said(begun: Option<i64>, used: Option<i64>) -> (Vec<String>, Vec<String>) {
        let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", POLICY).unwrap();
        let credentials = Credentials::parse("credentials.toml", CREDENTIALS).unwrap();
        let logs = Logs {
            begun: begun.map(|day| ("bot".to_owned(), at(day))).into_iter().collect(),
            used: used.map(|day| (("bot".to_owned(), "api".to_owned()), at(day))).into_iter().collect(),
        };
        let mut seen = Seen::default();
        let credential = credentials.iter().next().unwrap();
        unused(&logs, &[(&policy, credential)], window("30d").unwrap(), at(100), &mut seen);
        (seen.findings.iter().map(ToString::to_string).collect(), seen.notes)
    }

    #[test]
    fn unused_is_what_logs_that_are_old_enough_do_not_show() {
        let (findings, notes) = said(Some(70), None);
        assert!(notes.is_empty() && findings[0].contains("credentials.toml:4: api.agents: NHI1:2025"), "{findings:?}");
        assert!(findings[0].contains("for 30d by its call logs: not once"), "{findings:?}");
        let (findings, notes) = said(Some(1), Some(69));
        assert!(notes.is_empty() && findings[0].contains("last on 1970-03-11"), "{findings:?}");
        assert_eq!(said(Some(1), Some(70)), (Vec::new(), Vec::new()));
        assert_eq!(said(Some(90), Some(95)), (Vec::new(), Vec::new()));
        let (findings, notes) = said(Some(71), None);
        assert!(
            findings.is_empty() && notes[0].contains("begin at 1970-03-13") && notes[0].contains("30d"),
            "{notes:?}"
        );
        let (findings, notes) = said(None, None);
        assert!(findings.is_empty() && notes[0].contains("no call log of agent `bot`"), "{notes:?}");
    }
}
