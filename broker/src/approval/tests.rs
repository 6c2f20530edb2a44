//! What a permission says, whatever happens and in whatever order.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;

const USER: u32 = 1000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_900_000_000 + seconds).unwrap()
}

fn desk() -> (Desk, WorkerId) {
    (Desk::new(None), WorkerId::generate())
}

fn ask(desk: &Desk, worker: WorkerId, credential: &str, now: i64) -> Gate {
    let destination = "api.example:443".parse().unwrap();
    desk.ask((worker, &"bot".parse().unwrap()), &credential.parse().unwrap(), &destination, at(now)).unwrap()
}

fn pending(desk: &Desk, worker: WorkerId, credential: &str, now: i64) -> ApprovalId {
    match ask(desk, worker, credential, now) {
        Gate::Pending(id) => id,
        gate => panic!("{gate:?}"),
    }
}

fn decide(desk: &Desk, id: ApprovalId, decision: &Decision, now: i64) -> Option<Approval> {
    desk.decide(id, decision, USER, at(now)).unwrap()
}

fn due(seconds: i64) -> SystemTime {
    SystemTime::try_from(at(seconds)).unwrap()
}

#[test]
fn whoever_asks_again_joins_the_request_that_is_there() {
    let (desk, worker) = desk();
    let id = pending(&desk, worker, "api", 0);
    assert_eq!(pending(&desk, worker, "api", 1000), id);
    assert_ne!(pending(&desk, worker, "other", 0), id, "another credential has its own");
    assert_ne!(pending(&desk, WorkerId::generate(), "api", 0), id, "and so has another worker of the same agent");
    assert_eq!(desk.all(at(0)).len(), 3);
    assert!(!desk.permits(worker, &"api".parse().unwrap(), at(0)));
}

#[test]
fn for_the_workers_life_is_until_it_ends() {
    let (desk, worker) = desk();
    let id = pending(&desk, worker, "api", 0);
    let approval = decide(&desk, id, &Decision::Approve(Term::Worker), 5).unwrap();
    assert_eq!(approval.state, ApprovalState::Approved { by: USER, at: at(5), term: Term::Worker, until: None });
    assert_eq!(ask(&desk, worker, "api", 1_000_000), Gate::Open);
    assert_eq!(desk.lent(worker, &"api".parse().unwrap(), due(60)), None);
    desk.forget(worker);
    assert!(desk.all(at(6)).is_empty() && !desk.permits(worker, &"api".parse().unwrap(), at(6)));
    assert_eq!(decide(&desk, id, &Decision::Approve(Term::Worker), 7), None, "nobody is left to be permitted");
}

#[test]
fn for_a_time_is_until_then_and_the_next_use_asks_anew() {
    let (desk, worker) = desk();
    let id = pending(&desk, worker, "api", 0);
    decide(&desk, id, &Decision::Approve(Term::For(900)), 10).unwrap();
    assert_eq!(ask(&desk, worker, "api", 909), Gate::Open);
    assert!(desk.permits(worker, &"api".parse().unwrap(), at(909)));
    assert!(!desk.permits(worker, &"api".parse().unwrap(), at(910)));
    assert_eq!(decide(&desk, id, &Decision::Approve(Term::Worker), 910), None, "an old word counts for nothing new");
    let next = pending(&desk, worker, "api", 910);
    assert_ne!(next, id);
    assert_eq!(desk.all(at(910))[0].since, at(910));
}

#[test]
fn once_is_for_one_lease_until_that_would_be_renewed() {
    let (desk, worker) = desk();
    let credential = "api".parse().unwrap();
    let id = pending(&desk, worker, "api", 0);
    decide(&desk, id, &Decision::Approve(Term::Once), 0).unwrap();
    assert_eq!(ask(&desk, worker, "api", 100), Gate::Open, "its issuer may fail, and be asked again");
    assert_eq!(desk.lent(worker, &credential, due(160)), Some(at(160)));
    assert_eq!(desk.lent(worker, &credential, due(900)), None, "no later lease makes it longer");
    assert_eq!(ask(&desk, worker, "api", 159), Gate::OneThatIsThere);
    assert_ne!(pending(&desk, worker, "api", 160), id);
}

#[test]
fn no_stands_until_somebody_says_otherwise_or_the_worker_ends() {
    let (desk, worker) = desk();
    let id = pending(&desk, worker, "api", 0);
    let deny = |why: &str| Decision::Deny { why: why.to_owned() };
    decide(&desk, id, &deny("not on a Friday"), 1).unwrap();
    assert_eq!(ask(&desk, worker, "api", 1_000_000), Gate::Denied("not on a Friday".to_owned()));
    decide(&desk, id, &Decision::Approve(Term::Worker), 2).unwrap();
    assert_eq!(ask(&desk, worker, "api", 3), Gate::Open);
    decide(&desk, id, &deny("after all"), 4).unwrap();
    assert_eq!(ask(&desk, worker, "api", 5), Gate::Denied("after all".to_owned()));
    assert!(!desk.permits(worker, &"api".parse().unwrap(), at(5)));
}

#[test]
fn what_is_there_no_longer_is_asked_for_anew() {
    let (desk, worker) = desk();
    let id = pending(&desk, worker, "api", 0);
    decide(&desk, id, &Decision::Approve(Term::Once), 0).unwrap();
    let api = "api".parse().unwrap();
    desk.withdraw(worker, &api, at(0));
    assert_eq!(ask(&desk, worker, "api", 0), Gate::Open, "nothing was had by it yet");
    desk.lent(worker, &api, SystemTime::try_from(at(60)).unwrap());
    desk.withdraw(worker, &api, at(1));
    assert_ne!(pending(&desk, worker, "api", 1), id);
}

#[test]
fn a_denial_is_not_undone_by_who_looked_before_it() {
    let (desk, worker) = desk();
    let id = pending(&desk, worker, "api", 0);
    decide(&desk, id, &Decision::Approve(Term::Once), 0).unwrap();
    let api = "api".parse().unwrap();
    desk.lent(worker, &api, SystemTime::try_from(at(60)).unwrap());
    decide(&desk, id, &Decision::Deny { why: "no more".to_owned() }, 1).unwrap();
    desk.withdraw(worker, &api, at(1));
    assert_eq!(ask(&desk, worker, "api", 2), Gate::Denied("no more".to_owned()));
}

#[test]
fn one_worker_has_so_many_requests_and_no_more() {
    let (desk, worker) = desk();
    for number in 0..16 {
        pending(&desk, worker, &format!("api-{number}"), 0);
    }
    assert_eq!(ask(&desk, worker, "one-more", 0), Gate::Crowded);
    pending(&desk, WorkerId::generate(), "api", 0);
    let id = pending(&desk, worker, "api-3", 0);
    decide(&desk, id, &Decision::Approve(Term::Worker), 0).unwrap();
    pending(&desk, worker, "one-more", 0);
}

#[test]
fn a_decision_is_in_the_journal_or_not_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let (desk, worker) = (Desk::new(Some(directory.path().to_owned())), WorkerId::generate());
    let id = pending(&desk, worker, "api", 0);
    decide(&desk, id, &Decision::Approve(Term::For(60)), 1).unwrap();
    decide(&desk, id, &Decision::Deny { why: "no".to_owned() }, 2).unwrap();
    let journal = std::fs::read_to_string(directory.path().join("approvals.jsonl")).unwrap();
    let lines: Vec<Approval> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines[0].state,
        ApprovalState::Approved { by: USER, at: at(1), term: Term::For(60), until: Some(at(61)) }
    );
    assert_eq!(lines[1].state, ApprovalState::Denied { by: USER, at: at(2), why: "no".to_owned() });
    std::fs::remove_file(directory.path().join("approvals.jsonl")).unwrap();
    std::fs::create_dir(directory.path().join("approvals.jsonl")).unwrap();
    assert!(desk.decide(id, &Decision::Approve(Term::Worker), USER, at(3)).is_err());
    assert_eq!(ask(&desk, worker, "api", 4), Gate::Denied("no".to_owned()));
}

#[test]
fn words_for_the_agent_are_words() {
    let deny = |why: &str| Decision::Deny { why: why.to_owned() }.check();
    assert_eq!(deny("not today; ask Ana — thanks"), Ok(()));
    assert_eq!(deny(&"é".repeat(LONGEST_WHY)), Ok(()));
    for wrong in ["", "  ", "two\nlines", "\u{1b}[31mred", "nul\0", "\u{85}", &"x".repeat(LONGEST_WHY + 1)] {
        assert_eq!(deny(wrong), Err(NoDecision::Why), "{wrong:?}");
    }
    for (seconds, fits) in [(0, false), (1, true), (LONGEST_TERM, true), (LONGEST_TERM + 1, false)] {
        assert_eq!(Decision::Approve(Term::For(seconds)).check().is_ok(), fits, "{seconds}");
    }
}

/// Something that happens to one permission.
#[derive(Clone, Debug)]
enum Step {
    Wait(u16),
    Decide(Decision),
    Lent(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..500_u16).prop_map(Step::Wait),
        (1..500_u64).prop_map(|seconds| Step::Decide(Decision::Approve(Term::For(seconds)))),
        Just(Step::Decide(Decision::Approve(Term::Once))),
        Just(Step::Decide(Decision::Approve(Term::Worker))),
        Just(Step::Decide(Decision::Deny { why: "no".to_owned() })),
        (1..500_u16).prop_map(Step::Lent),
    ]
}

proptest! {
    /// Whatever happens in whatever order: nothing may be had but by the last decision, within its time, and by one for a single lease
    /// only until there is one.
    #[test]
    fn nothing_is_had_but_by_the_last_decision(steps in proptest::collection::vec(step(), 0..40)) {
        let (desk, worker) = desk();
        let credential: CredentialName = "api".parse().unwrap();
        let mut now = 0;
        let mut id = pending(&desk, worker, "api", now);
        // (until when, whether a lease may still be fetched) by the last decision.
        let mut expected: Option<(Option<i64>, bool)> = None;
        for step in steps {
            match step {
                Step::Wait(seconds) => now += i64::from(seconds),
                Step::Decide(decision) => {
                    let taken = decide(&desk, id, &decision, now).is_some();
                    prop_assert!(taken);
                    expected = match decision {
                        Decision::Approve(Term::For(seconds)) => Some((Some(now + i64::try_from(seconds).unwrap()), true)),
                        Decision::Approve(_) => Some((None, true)),
                        Decision::Deny { .. } => None,
                    };
                }
                Step::Lent(seconds) => {
                    let end = now + i64::from(seconds);
                    if desk.lent(worker, &credential, due(end)).is_some() {
                        prop_assert_eq!(expected, Some((None, true)));
                        expected = Some((Some(end), false));
                    }
                }
            }
            if expected.is_some_and(|(until, _)| until.is_some_and(|until| until <= now)) {
                expected = None;
            }
            prop_assert_eq!(desk.permits(worker, &credential, at(now)), expected.is_some());
            match (ask(&desk, worker, "api", now), expected) {
                (Gate::Open, Some((_, true))) | (Gate::OneThatIsThere, Some((_, false))) | (Gate::Denied(_), None) => {}
                (Gate::Pending(asked), None) => id = asked,
                (gate, expected) => prop_assert!(false, "{:?} {:?}", gate, expected),
            }
        }
    }

    #[test]
    fn an_id_is_read_back_and_nothing_else_is_one(text in "\\PC{0,12}") {
        let drawn = ApprovalId::draw().unwrap();
        prop_assert_eq!(drawn.to_string().parse::<ApprovalId>(), Ok(drawn));
        if let Ok(id) = text.parse::<ApprovalId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

#[test]
fn a_request_is_listed_while_it_may_be_decided_and_no_longer() {
    let (desk, worker) = desk();
    let id = pending(&desk, worker, "api", 0);
    decide(&desk, id, &Decision::Approve(Term::For(5)), 0).unwrap();
    assert_eq!(desk.all(at(4)).len(), 1);
    assert!(desk.all(at(5)).is_empty());
}
