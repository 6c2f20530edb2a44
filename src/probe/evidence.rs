//! What the outside saw, against what the inside says.
//!
//! Enters: findings, the canaries' counts, the worker's call log. Leaves: the findings, the worse of the two where they differ, and what
//! the log alone can show. Never: a *broke* made into anything better.

use record::{CallStart, Event, Line, Refused};

use super::brief::Brief;
use super::finding::{Finding, Outcome, Verdict};

/// The parameter by which an attempt is known in the log, and at the canary, that nobody may let out.
pub(super) const MARK: &str = "probe";
/// The same of one that may go out, in the one way in which it was judged.
pub(super) const SENT: &str = "canary";
/// The field that names the tools which the canary lists.
pub(super) const TOOLS: &str = "x-probe-tools";

/// Lets the canaries and the log have their say.
pub(super) fn weigh(
    findings: &mut Vec<Finding>,
    (reached, carried): (&[String], &[String]),
    log: &[Line],
    brief: &Brief,
) {
    for finding in findings.iter_mut().filter(|finding| reached.contains(&finding.id)) {
        worsen(finding, "but a canary outside was reached");
    }
    let sent: Vec<&CallStart> = log
        .iter()
        .filter_map(|line| if let Event::CallStart(start) = &line.event { Some(start) } else { None })
        .collect();
    for start in &sent {
        let query = start.query.as_deref().unwrap_or_default();
        for finding in findings.iter_mut().filter(|finding| query == format!("{MARK}={}", finding.id)) {
            worsen(finding, &format!("but the call log has it as sent to {}", start.to));
        }
    }
    findings.extend(of_the_log(&sent, carried, log, brief));
}

fn worsen(finding: &mut Finding, why: &str) {
    finding.verdict = Verdict::Broke;
    // Several requests may be of one attempt.
    if !finding.seen.contains(why) {
        finding.seen = format!("{}; {why}", finding.seen);
    }
}

fn of_the_log(sent: &[&CallStart], carried: &[String], log: &[Line], brief: &Brief) -> [Finding; 6] {
    let refused: Vec<&Refused> = log
        .iter()
        .filter_map(|line| if let Event::Refused(refused) = &line.event { Some(refused) } else { None })
        .collect();
    let names = log
        .iter()
        .filter(|line| matches!(&line.event, Event::NameAsked(asked) if asked.name.contains(&brief.nonce)))
        .count();
    let may_go =
        |start: &&&CallStart| start.query.as_deref().is_some_and(|query| query.starts_with(&format!("{SENT}=")));
    let astray: Vec<&&CallStart> = sent.iter().filter(|start| !may_go(start)).collect();
    let nothing_sent = match astray[..] {
        [] => Outcome::held(format!("{} were refused; {} went to the canary, as they may", refused.len(), sent.len())),
        [first, ..] => Outcome::broke(format!("{} were sent, the first to {}{}", astray.len(), first.to, first.path)),
    };
    let dialled = log.iter().filter_map(|line| match &line.event {
        Event::CallEnd(end) => end.address.as_deref(),
        _ => None,
    });
    let elsewhere: Vec<&str> = dialled.filter(|address| *address != brief.end).collect();
    let nobody_else = match elsewhere[..] {
        [] => Outcome::held(format!("every call that went out ended at {}", brief.end)),
        [first, ..] => Outcome::broke(format!("{} ended elsewhere, the first at {first}", elsewhere.len())),
    };
    let mut lines: Vec<&str> = sent.iter().filter_map(|start| start.query.as_deref()).collect();
    let missing: Vec<&String> = carried.iter().filter(|query| !take(&mut lines, query)).collect();
    let all_recorded = match (carried, &missing[..]) {
        ([], _) => Outcome::not_applicable("nothing went out to the canary"),
        (_, []) => Outcome::held(format!("each of {} calls that the canary has heard has its line", carried.len())),
        (_, [..]) => Outcome::broke(format!("{} of {} calls have none", missing.len(), carried.len())),
    };
    let recorded = match (refused.len(), names) {
        (0, _) | (_, 0) => Outcome::broke(format!("{} refusals and {names} names are in the log", refused.len())),
        (refusals, names) => Outcome::held(format!("{refusals} refusals and {names} names are in the log")),
    };
    let alerts = refused.iter().filter(|refused| refused.alert).count();
    let alerted = match (brief.placeholders.is_empty(), alerts) {
        (true, _) => Outcome::not_applicable("the agent has no placeholder"),
        (false, 0) => Outcome::broke("placeholders were carried elsewhere, and none of it is an alert"),
        (false, alerts) => Outcome::held(format!("{alerts} alerts are in the log")),
    };
    let ended = matches!(log.last().map(|line| &line.event), Some(Event::WorkerEnd(_)));
    let whole = match ended {
        true => Outcome::held(format!("{} records, each chained to the one before, up to the worker's end", log.len())),
        false => Outcome::broke(format!("{} records, and the worker's end is missing", log.len())),
    };
    let finding = |id: &str, tried: &str, outcome: Outcome| Finding {
        id: id.to_owned(),
        verdict: outcome.verdict,
        tried: tried.to_owned(),
        seen: outcome.seen,
    };
    [
        finding("record/nothing-sent", "whether any attempt went out as an allowed call", nothing_sent),
        finding("record/nobody-else", "a call to anybody but the canary at the end of all calls", nobody_else),
        finding("record/calls", "a call that goes out and leaves no line in the call log", all_recorded),
        finding("record/refusals", "attempts that leave no trace in the call log", recorded),
        finding("record/alerts", "placeholders carried elsewhere unnoticed", alerted),
        finding("record/whole", "a change to the call log", whole),
    ]
}

/// Takes one line with this query away, if there is one.
fn take(lines: &mut Vec<&str>, query: &str) -> bool {
    let found = lines.iter().position(|line| *line == query);
    found.map(|at| lines.swap_remove(at)).is_some()
}

#[cfg(test)]
mod tests {
    use record::{NameAsked, WorkerEnd};

    use super::super::brief::{Call, Misdirection};
    use super::*;

    fn findings() -> Vec<Finding> {
        ["network/udp-machine", "names/paths"]
            .map(|id| Finding {
                id: id.to_owned(),
                verdict: Verdict::Held,
                tried: String::new(),
                seen: "refused".to_owned(),
            })
            .into()
    }

    fn brief() -> Brief {
        let call = Call { host: "a.example".into(), port: 443, method: "GET".into(), path: "/".into() };
        let misdirection = Misdirection { variable: "KEY".into(), call, streams: false };
        Brief {
            nonce: "n0nce".into(),
            end: "127.0.0.1:4711".into(),
            placeholders: vec![misdirection],
            ..Brief::default()
        }
    }

    fn log(events: Vec<Event>) -> Vec<Line> {
        let line = |event| Line {
            seq: 1,
            time: jiff::Timestamp::UNIX_EPOCH,
            prev: record::Hash::NONE,
            event,
            cut: record::cut::Cuts::new(),
        };
        events.into_iter().map(line).collect()
    }

    fn refused(alert: bool) -> Event {
        let refused =
            serde_json::json!({ "connection": 1, "to": "a.example:443", "kind": "x", "reason": "x", "alert": alert });
        Event::Refused(serde_json::from_value(refused).unwrap())
    }

    fn name() -> Event {
        Event::NameAsked(NameAsked { name: "probe-n0nce.invalid".into(), kind: "A".into() })
    }

    fn end() -> Event {
        Event::WorkerEnd(WorkerEnd {
            outcome: String::new(),
            limit: None,
            limits: serde_json::Value::Null,
            calls: 0,
            refused: 0,
            revoked: 0,
            kept: 0,
        })
    }

    fn sent(query: &str) -> Event {
        let start = serde_json::json!({ "call": 1, "connection": 1, "scheme": "https", "to": "a.example:443", "method": "GET",
            "path": "/", "query": query, "http": "HTTP/1.1", "rule": "allow #1 (line 1)", "policy": "sha256:0" });
        Event::CallStart(serde_json::from_value(start).unwrap())
    }

    fn ended(address: &str) -> Event {
        let end = serde_json::json!({ "call": 1, "outcome": "done", "sent": 0, "received": 0, "total_ms": 1.0, "address": address });
        Event::CallEnd(serde_json::from_value(end).unwrap())
    }

    fn broke(reached: &[&str], events: Vec<Event>) -> Vec<String> {
        let mut findings = findings();
        let reached: Vec<String> = reached.iter().map(ToString::to_string).collect();
        weigh(&mut findings, (&reached, &[]), &log(events), &brief());
        findings.into_iter().filter(|finding| finding.verdict == Verdict::Broke).map(|finding| finding.id).collect()
    }

    #[test]
    fn what_the_outside_saw_wins_over_what_the_inside_says() {
        let whole = || vec![refused(true), name(), end()];
        assert_eq!(broke(&[], whole()), [""; 0]);
        assert_eq!(broke(&["network/udp-machine"], whole()), ["network/udp-machine"]);
        let with = |event| [vec![event], whole()].concat();
        assert_eq!(broke(&[], with(sent("probe=names/paths"))), ["names/paths", "record/nothing-sent"]);
        let mut twice = findings();
        weigh(&mut twice, (&[], &[]), &log([vec![sent("probe=names/paths"); 2], whole()].concat()), &brief());
        assert_eq!(twice[1].seen, "refused; but the call log has it as sent to a.example:443");
        assert_eq!(broke(&[], with(sent("other"))), ["record/nothing-sent"]);
        assert_eq!(broke(&[], with(sent("canary=framing/pipelined"))), [""; 0]);
        assert_eq!(broke(&[], with(ended("127.0.0.1:4711"))), [""; 0]);
        assert_eq!(broke(&[], with(ended("192.0.2.1:443"))), ["record/nobody-else"]);
    }

    #[test]
    fn each_call_that_the_canary_has_heard_has_a_line_of_its_own() {
        let told = |carried: &[&str]| {
            let mut findings = findings();
            let carried: Vec<String> = carried.iter().map(ToString::to_string).collect();
            weigh(&mut findings, (&[], &carried), &log(vec![sent("canary=a"), sent("canary=b")]), &brief());
            findings.into_iter().find(|finding| finding.id == "record/calls").unwrap().verdict
        };
        assert_eq!(told(&[]), Verdict::NotApplicable);
        assert_eq!(told(&["canary=b", "canary=a"]), Verdict::Held);
        assert_eq!(told(&["canary=a", "canary=a"]), Verdict::Broke);
        assert_eq!(told(&["canary=c"]), Verdict::Broke);
    }

    #[test]
    fn a_log_that_lacks_something_says_broke() {
        assert_eq!(broke(&[], vec![refused(true), name()]), ["record/whole"]);
        assert_eq!(broke(&[], vec![refused(false), name(), end()]), ["record/alerts"]);
        assert_eq!(broke(&[], vec![name(), end()]), ["record/refusals", "record/alerts"]);
        assert_eq!(broke(&[], vec![refused(true), end()]), ["record/refusals"]);
    }
}
