//! A status is a function of facts: where there are none nothing is claimed, and no control gets better for a fact that goes away.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::assess;
use super::control::{Assessed, List, Status};
use super::facts::{
    Activity, Broken, Decisions, Facts, Granted, Group, Leases, Logs, Offboarded, Place, Policy, Probed, Walls, Worker,
};
use super::measure::Measured;

fn assessed(facts: &Facts) -> Vec<Assessed> {
    assess(&Measured { facts, agent: "bot", since: "30d", state: "/state" })
}

/// An agent of which everything was measured and is as it should be.
fn exemplary() -> Facts {
    let group = Group { held: 7, broke: 0, not_applicable: 1 };
    let groups = ["network", "dns", "names", "framing", "placeholders", "isolation", "kernel", "tools"];
    Facts {
        policy: Some(Policy {
            file: "bot.toml".to_owned(),
            digest: "sha256:0".to_owned(),
            allow: 2,
            deny: 1,
            one_host: 2,
            with_credential: 1,
            with_credential_narrowed: 1,
            with_rate: 2,
            with_protocol: 1,
            ..Policy::default()
        }),
        credentials: Some(vec![Granted {
            name: "api".to_owned(),
            issuer: "google-sts".to_owned(),
            by_identity: true,
            cloud: true,
            needs_permission: true,
            named_by_a_rule: true,
            ..Granted::default()
        }]),
        findings: Some(Vec::new()),
        leases: Some(Leases { given: 3, revoked: 3, longest_issued_s: Some(600), ..Leases::default() }),
        logs: Logs { by: "a chain".to_owned(), logs: 1, records: 9, signed: 9, unsigned: 0, broken: Vec::new() },
        activity: Some(Activity {
            records: 9,
            workers: 1,
            identified: 1,
            calls: 3,
            with_credential: 3,
            with_credential_over_tls: 3,
            refused: 1,
            ..Activity::default()
        }),
        walls: Some(Walls {
            record: Place { worker: "w".to_owned(), seq: 1 },
            policy: "sha256:0".to_owned(),
            namespaces: vec!["user".to_owned()],
            capture: "redirect".to_owned(),
            syscall_filter: true,
            landlock: Some(7),
            limits: ["memory_together", "processes", "wall_clock"].map(|name| (name.to_owned(), "1".to_owned())).into(),
            worker_filter: Some(true),
            worker_landlock: Some(7),
            worker_dumpable: Some(false),
            ..Walls::default()
        }),
        probe: Some(Probed {
            at: Timestamp::UNIX_EPOCH,
            policy: "sha256:0".to_owned(),
            groups: groups.map(|name| (name.to_owned(), group)).into(),
            ..Probed::default()
        }),
        decisions: Some(Decisions { approved: 1, denied: 0, by: vec![1000] }),
        offboarded: None,
        running: Some(Vec::new()),
        ..Facts::default()
    }
}

type Worse = fn(&mut Facts);

/// Each way to know less, or to know that something is wrong.
const WORSE: [(&str, Worse); 27] = [
    ("no policy", |facts| facts.policy = None),
    ("no credentials", |facts| facts.credentials = None),
    ("no credential", |facts| facts.credentials = Some(Vec::new())),
    ("no findings", |facts| facts.findings = None),
    ("no leases", |facts| facts.leases = None),
    ("no logs", |facts| (facts.logs, facts.activity, facts.walls) = (Logs::default(), None, None)),
    ("nothing in the period", |facts| facts.activity = None),
    ("a log that was changed", |facts| {
        facts.logs.broken.push(Broken::default());
        (facts.activity, facts.walls) = (None, None);
    }),
    ("logs that nobody signed for", |facts| facts.logs.signed = 0),
    ("one log among others that nobody signed for", |facts| facts.logs.unsigned = 1),
    ("no walls", |facts| facts.walls = None),
    ("no probe", |facts| facts.probe = None),
    ("a probe of another policy", |facts| facts.probe.iter_mut().for_each(|probe| probe.policy.push('x'))),
    ("an attempt that got through", |facts| {
        facts.probe.iter_mut().flat_map(|probe| probe.groups.values_mut()).for_each(|group| group.broke = 1);
    }),
    ("nothing to try", |facts| {
        facts.probe.iter_mut().flat_map(|probe| probe.groups.values_mut()).for_each(|group| group.held = 0);
    }),
    ("no decisions", |facts| facts.decisions = None),
    ("a lease that stands", |facts| facts.leases.iter_mut().for_each(|leases| leases.kept = 1)),
    ("a long lease", |facts| facts.leases.iter_mut().for_each(|leases| leases.longest_issued_s = Some(90_000))),
    ("a fixed secret", |facts| facts.credentials.iter_mut().flatten().for_each(|one| one.fixed = true)),
    ("a shared one", |facts| facts.credentials.iter_mut().flatten().for_each(|one| one.also_of.push("x".to_owned()))),
    ("a wide rule", |facts| facts.policy.iter_mut().for_each(|policy| policy.one_host = 1)),
    ("an observer", |facts| facts.activity.iter_mut().for_each(|activity| activity.observing = 1)),
    ("an alert", |facts| facts.activity.iter_mut().for_each(|activity| activity.alerts = 1)),
    ("a call in plain", |facts| facts.activity.iter_mut().for_each(|activity| activity.with_credential_in_plain = 1)),
    ("a wall that is down", |facts| facts.walls.iter_mut().for_each(|walls| walls.nested = true)),
    ("a limit that is none", |facts| facts.walls.iter_mut().for_each(|walls| walls.limits = BTreeMap::new())),
    ("offboarded, and runs", |facts| {
        facts.offboarded = Some(Offboarded::default());
        facts.running = Some(vec![Worker::default()]);
    }),
];

fn rank(status: Status) -> u8 {
    match status {
        Status::Evidenced => 2,
        Status::Partly => 1,
        Status::NotCovered => 0,
    }
}

#[test]
fn where_nothing_was_measured_nothing_is_claimed() {
    for control in assessed(&Facts::default()) {
        assert_eq!(control.status, Status::NotCovered, "{control:#?}");
        assert!(control.evidence.is_empty() && !control.open.is_empty(), "{control:#?}");
    }
}

#[test]
fn all_controls_of_the_lists_are_told_once_with_evidence_or_what_is_open() {
    let controls = assessed(&exemplary());
    let ids: BTreeSet<&str> = controls.iter().map(|control| control.id).collect();
    assert_eq!((controls.len(), ids.len()), (26, 26));
    for (list, count) in List::ALL.into_iter().zip([10, 10, 6]) {
        assert_eq!(controls.iter().filter(|control| control.list == list).count(), count);
    }
    for control in &controls {
        assert_eq!(control.status == Status::Evidenced, control.open.is_empty(), "{control:#?}");
        for point in &control.evidence {
            assert!(point.says.ends_with('.') && !point.source.is_empty() && point.command.contains(' '), "{point:?}");
        }
    }
    let evidenced: Vec<&str> =
        controls.iter().filter(|control| control.status == Status::Evidenced).map(|control| control.id).collect();
    let whole = [
        "NHI1:2025",
        "NHI4:2025",
        "NHI5:2025",
        "NHI7:2025",
        "NHI9:2025",
        "ASI02",
        "ASI03",
        "ASI05",
        "ASI08",
        "PR.AA-01",
        "PR.AA-04",
    ];
    assert_eq!(evidenced, whole);
    for never in ["ASI06", "PR.AA-06"] {
        assert_eq!(controls.iter().find(|control| control.id == never).unwrap().status, Status::NotCovered);
    }
}

/// Any two of them together.
#[test]
fn no_control_gets_better_by_what_is_not_known_or_wrong() {
    let before = assessed(&exemplary());
    for (one, worse) in &WORSE {
        let mut facts = exemplary();
        worse(&mut facts);
        let once = assessed(&facts);
        assert!(
            once.iter()
                .zip(&before)
                .any(|(now, then)| now.evidence.len() < then.evidence.len() || now.open.len() > then.open.len()),
            "{one} is not seen"
        );
        for (other, worse) in &WORSE {
            let mut facts = facts.clone();
            worse(&mut facts);
            for (now, then) in assessed(&facts).iter().zip(&once) {
                assert!(rank(now.status) <= rank(then.status), "{one}, {other}: {now:#?}");
            }
        }
        for (now, then) in once.iter().zip(&before) {
            assert!(rank(now.status) <= rank(then.status), "{one}: {now:#?}");
        }
    }
}

#[test]
fn a_log_that_was_changed_is_behind_no_evidence() {
    let mut facts = exemplary();
    facts.logs.broken.push(Broken::default());
    (facts.activity, facts.walls) = (None, None);
    for control in assessed(&facts) {
        for point in control.evidence {
            assert!(!point.source.contains("/calls"), "{}: {point:?}", control.id);
        }
    }
}
