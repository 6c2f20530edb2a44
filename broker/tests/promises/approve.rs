//! What a person has to permit is not had before, nor for longer than they said.

use std::path::Path;
use std::time::{Duration, Instant};

use broker::ledger::State;
use broker::{Approval, ApprovalState, Client, ClientError, Decision, Settings, Term, control};
use http::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::endpoint::Endpoint;
use crate::rig::{destination, kept_in, lease, leases, name, serve, settings_with, soon, worker};
use crate::wire::Raw;

const QUICK: &str = "approve = { wait = \"1s\" }";
const QUIET: &str = "approve = { wait = \"15s\" }\n[quick]\nissuer = \"fixed\"\nvalue = { env = \"CLIENT_SECRET\" }\nagents = [\"bot\"]\n\
                     to = [\"api.example\"]";

fn settings(state: &TempDir, endpoint: &Endpoint, more: &str) -> Settings {
    kept_in(state.path(), settings_with(endpoint, "/fetch", more))
}

/// An operator at the only broker.
async fn operator(state: &Path) -> Client {
    let brokers = control::brokers(&state.join("leases")).unwrap();
    assert_eq!(brokers.len(), 1);
    control::connect(&brokers[0]).await.unwrap()
}

async fn the_request(operator: &Client) -> Approval {
    for _ in 0..500 {
        let mut all = operator.approvals().await.unwrap();
        all.retain(|approval| approval.state == ApprovalState::Pending);
        if let Some(approval) = all.pop() {
            assert!(all.is_empty());
            return approval;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing waits")
}

/// A call that waits, and what it waits for.
async fn waiting(
    client: &Client,
    operator: &Client,
) -> (tokio::task::JoinHandle<Result<broker::Lent, ClientError>>, Approval) {
    let client = client.clone();
    let call = tokio::spawn(async move { client.lend(&name("api"), &destination("api.example:443")).await });
    (call, the_request(operator).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_issuer_is_not_asked_before_a_person_has_said_yes() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    let (client, _serving) = worker(settings(&state, &endpoint, QUICK)).await;
    let operator = operator(state.path()).await;
    let begun = Instant::now();
    let Err(ClientError::Awaits { approval, waited }) = lease(&client).await else { panic!("it was lent") };
    assert!(begun.elapsed() >= waited && waited == Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(3));
    let request = the_request(&operator).await;
    assert_eq!((request.id, request.agent.as_str(), request.credential.as_str()), (approval, "bot", "api"));
    assert_eq!((endpoint.fetches(), leases(state.path()).len()), (0, 0));
    let decided = operator.decide(approval, &Decision::Approve(Term::Worker)).await.unwrap();
    let user = rustix::process::getuid().as_raw();
    assert!(matches!(decided.state, ApprovalState::Approved { by, .. } if by == user), "{decided:?}");
    lease(&client).await.unwrap();
    assert_eq!(endpoint.fetches(), 1);
    let journal = std::fs::read_to_string(state.path().join("leases/approvals.jsonl")).unwrap();
    assert_eq!(serde_json::from_str::<Approval>(&journal).unwrap(), decided);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_calls_wait_for_one_request_and_keep_nobody_elses_credential_waiting() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    let (client, _serving) = worker(settings(&state, &endpoint, QUIET)).await;
    let operator = operator(state.path()).await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        calls.spawn(async move { client.lend(&name("api"), &destination("api.example:443")).await.unwrap() });
    }
    let request = the_request(&operator).await;
    let begun = Instant::now();
    client.lease(&name("quick"), &destination("api.example:443")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    sleep(Duration::from_millis(500)).await;
    operator.decide(request.id, &Decision::Approve(Term::Worker)).await.unwrap();
    let lent = calls.join_all().await;
    assert!(
        lent.iter().all(|one| one.lease.id == lent[0].lease.id && one.waited.unwrap() > Duration::from_millis(400))
    );
    assert_eq!(endpoint.fetches(), 1);
    let next = client.lend(&name("api"), &destination("api.example:443")).await.unwrap();
    assert!(next.waited.is_none(), "who comes later has not waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_is_told_in_its_words_and_takes_back_what_was_had() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    let (client, _serving) = worker(settings(&state, &endpoint, QUIET)).await;
    let operator = operator(state.path()).await;
    let (call, request) = waiting(&client, &operator).await;
    let deny = Decision::Deny { why: "not before the freeze ends".to_owned() };
    operator.decide(request.id, &deny).await.unwrap();
    for outcome in [call.await.unwrap().map(|lent| lent.lease), lease(&client).await] {
        let Err(ClientError::NotApproved { why }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(why, "not before the freeze ends");
    }
    assert_eq!(endpoint.fetches(), 0);
    operator.decide(request.id, &Decision::Approve(Term::Worker)).await.unwrap();
    let held = lease(&client).await.unwrap();
    operator.decide(request.id, &deny).await.unwrap();
    timeout(Duration::from_secs(10), client.revoked(&held)).await.unwrap();
    soon("it is revoked", || endpoint.is_revoked(held.secret.expose())).await;
    soon("the ledger says why", || leases(state.path())[0].reason.as_deref() == Some("an operator denied it")).await;
    assert!(matches!(lease(&client).await, Err(ClientError::NotApproved { .. })));
    let wrong = operator.decide(request.id, &Decision::Deny { why: "two\nlines".to_owned() }).await;
    assert!(matches!(wrong, Err(ClientError::Broken { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_is_one_lease_which_is_revoked_when_it_would_be_renewed() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    endpoint.set(|state| state.expires_in = 3.0);
    let (client, _serving) = worker(settings(&state, &endpoint, QUICK)).await;
    let operator = operator(state.path()).await;
    let (call, request) = waiting(&client, &operator).await;
    operator.decide(request.id, &Decision::Approve(Term::Once)).await.unwrap();
    let held = call.await.unwrap().unwrap().lease;
    // Neither another call nor a refusal by its upstream brings a second one.
    assert_eq!(lease(&client).await.unwrap().id, held.id);
    assert!(client.replace(&name("api"), &destination("api.example:443"), held.id).await.unwrap().is_none());
    timeout(Duration::from_secs(10), client.revoked(&held)).await.unwrap();
    assert!(std::time::SystemTime::now() >= held.refresh);
    soon("it is revoked", || endpoint.is_revoked(held.secret.expose())).await;
    soon("the ledger says why", || leases(state.path())[0].reason.as_deref() == Some("its permission ran out")).await;
    assert_eq!(leases(state.path())[0].state, State::Revoked);
    let Err(ClientError::Awaits { approval, .. }) = lease(&client).await else { panic!("it was lent") };
    assert!(approval != request.id && endpoint.fetches() == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_permitted_for_a_time_ends_with_it_also_what_is_fetched_in_that_moment() {
    for delay in [Duration::ZERO, Duration::from_millis(1500)] {
        let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
        endpoint.set(|state| state.delay = delay);
        let (client, _serving) = worker(settings(&state, &endpoint, QUICK)).await;
        let operator = operator(state.path()).await;
        let (call, request) = waiting(&client, &operator).await;
        operator.decide(request.id, &Decision::Approve(Term::For(1))).await.unwrap();
        let lent = call.await.unwrap();
        if delay.is_zero() {
            let held = lent.unwrap().lease;
            let begun = Instant::now();
            timeout(Duration::from_secs(10), client.revoked(&held)).await.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(2));
            soon("it is revoked", || endpoint.is_revoked(held.secret.expose())).await;
        } else {
            assert!(matches!(lent, Err(ClientError::Awaits { .. })), "{lent:?}");
            sleep(delay).await;
        }
        let Err(ClientError::Awaits { approval, .. }) = lease(&client).await else { panic!("it was lent") };
        assert!(approval != request.id && endpoint.fetches() == 1);
        soon("what came too late is revoked", || endpoint.get(|state| state.revoked == state.issued)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_while_its_permission_ends_is_not_given_out() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    // Asked for 45 ms after a decision for one second, it comes some ms behind that, in the middle of a question that began before.
    let delay = Duration::from_millis(965);
    endpoint.set(|state| state.delay = delay);
    let (stream, _serving) = serve(settings(&state, &endpoint, QUICK));
    let mut raw = Raw::registered(stream, "bot").await;
    let ask = json!({"credential": "api", "destination": "api.example:443"}).to_string();
    raw.send(Method::POST, "/v1/leases", &ask).await;
    let operator = operator(state.path()).await;
    let request = the_request(&operator).await;
    let decided = operator.decide(request.id, &Decision::Approve(Term::For(1))).await.unwrap();
    let ApprovalState::Approved { until: Some(until), .. } = decided.state else { panic!("{decided:?}") };
    sleep(Duration::from_millis(45)).await;
    let until = std::time::SystemTime::try_from(until).unwrap();
    assert!(std::time::SystemTime::now() + delay > until, "what comes, comes too late");
    loop {
        let (status, answer) = raw.send(Method::POST, "/v1/leases", &ask).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        if answer["awaits"].is_object() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_longer_permission_in_time_leaves_what_was_had() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    let (client, _serving) = worker(settings(&state, &endpoint, QUICK)).await;
    let operator = operator(state.path()).await;
    let (call, request) = waiting(&client, &operator).await;
    operator.decide(request.id, &Decision::Approve(Term::For(1))).await.unwrap();
    let held = call.await.unwrap().unwrap().lease;
    operator.decide(request.id, &Decision::Approve(Term::For(60))).await.unwrap();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(lease(&client).await.unwrap().id, held.id);
    assert!(!endpoint.is_revoked(held.secret.expose()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_permits_itself_nothing() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    let (stream, _serving) = serve(settings(&state, &endpoint, QUICK));
    let mut raw = Raw::registered(stream, "bot").await;
    let ask = json!({"credential": "api", "destination": "api.example:443"}).to_string();
    let (status, answer) = raw.send(Method::POST, "/v1/leases", &ask).await;
    assert_eq!((status, answer["awaits"]["wait_seconds"].as_u64()), (StatusCode::ACCEPTED, Some(1)), "{answer}");
    let id = answer["awaits"]["approval"].as_str().unwrap().to_owned();
    for (method, target) in [(Method::POST, format!("/v1/approvals/{id}")), (Method::GET, "/v1/approvals".to_owned())] {
        let (status, _) = raw.send(method, &target, "{\"approve\": \"worker\"}").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{target}");
    }
    // At the operators' socket it is nobody, as it does not know the key.
    let broker = &control::brokers(&state.path().join("leases")).unwrap()[0];
    let control = std::os::unix::net::UnixStream::connect(broker.join("control")).unwrap();
    let mut stranger = Raw::over(control).await;
    let (status, _) = stranger.send(Method::POST, &format!("/v1/approvals/{id}"), "{\"approve\": \"worker\"}").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(raw.send(Method::POST, "/v1/leases", &ask).await.0, StatusCode::ACCEPTED);
    assert_eq!(endpoint.fetches(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_with_its_worker() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    endpoint.set(|state| state.revocations_to_fail = 3);
    let (client, serving) = worker(settings(&state, &endpoint, QUIET)).await;
    let operator = operator(state.path()).await;
    let (call, request) = waiting(&client, &operator).await;
    call.abort();
    assert_eq!(the_request(&operator).await.id, request.id, "a call that goes away leaves it");
    drop(client);
    serving.await.unwrap().unwrap();
    let gone = operator.decide(request.id, &Decision::Approve(Term::Worker)).await;
    assert!(matches!(gone, Err(ClientError::Unavailable { .. } | ClientError::Denied { .. })), "{gone:?}");
    assert_eq!(endpoint.fetches(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_being_fetched_when_it_was_denied_is_revoked_when_it_comes() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    let (client, _serving) = worker(settings(&state, &endpoint, "approve = { wait = \"15s\" }")).await;
    let operator = operator(state.path()).await;
    let (call, request) = waiting(&client, &operator).await;
    endpoint.set(|state| state.delay = Duration::from_millis(800));
    operator.decide(request.id, &Decision::Approve(Term::Worker)).await.unwrap();
    soon("the issuer is asked", || endpoint.fetches() == 1).await;
    operator.decide(request.id, &Decision::Deny { why: "after all".to_owned() }).await.unwrap();
    let Err(ClientError::NotApproved { .. }) = call.await.unwrap() else { panic!("it was lent") };
    // Nobody asks for it any more.
    soon("what came is revoked", || endpoint.get(|state| state.issued.len() == 1 && state.issued == state.revoked))
        .await;
    assert_eq!(leases(state.path())[0].state, State::Revoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_that_cannot_be_written_down_is_in_force_and_a_permission_is_not() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    let (client, _serving) = worker(settings(&state, &endpoint, "approve = { wait = \"15s\" }")).await;
    let operator = operator(state.path()).await;
    let (call, request) = waiting(&client, &operator).await;
    let journal = state.path().join("leases/approvals.jsonl");
    std::fs::create_dir(&journal).unwrap();
    operator.decide(request.id, &Decision::Approve(Term::Worker)).await.unwrap_err();
    assert_eq!(endpoint.fetches(), 0);
    operator.decide(request.id, &Decision::Deny { why: "no".to_owned() }).await.unwrap();
    let Err(ClientError::NotApproved { .. }) = call.await.unwrap() else { panic!("it was lent") };
}
