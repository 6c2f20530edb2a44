//! When a worker ends, however it ends, its leases are revoked.

use std::time::Duration;

use broker::ledger::State;
use broker::{Client, ClientError, serve_connection, serve_embedded};
use http::{Method, StatusCode};
use rustix::process::{Signal, getpid, kill_process};
use std::os::unix::net::UnixStream;
use tokio::time::sleep;

use crate::endpoint::Endpoint;
use crate::rig::{agent, from_toml, kept_in, lease, serve, settings, soon, the_lease, worker};
use crate::wire::Raw;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_says_so_ends_with_all_its_leases() {
    let endpoint = Endpoint::start().await;
    let (client, serving) = worker(settings(&endpoint)).await;
    let held = lease(&client).await.unwrap();
    let other = client.clone();
    let ended = client.end().await.unwrap();
    assert_eq!((ended.revoked, ended.kept.len()), (vec![held.id], 0));
    assert!(endpoint.is_revoked(held.secret.expose()));
    assert!(matches!(other.identity("x").await, Err(ClientError::Unavailable { .. })));
    assert!(serving.await.unwrap().unwrap().is_empty());
    assert_eq!(endpoint.get(|state| state.revocations), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_connection_drops_ends_with_all_its_leases() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.expires_in = 2.0);
    let (client, serving) = worker(settings(&endpoint)).await;
    let first = lease(&client).await.unwrap();
    sleep(Duration::from_millis(1700)).await;
    let second = lease(&client).await.unwrap(); // the first has 0.3 s left
    assert_ne!(first.id, second.id);
    drop(client);
    assert!(serving.await.unwrap().unwrap().is_empty());
    assert!(endpoint.is_revoked(first.secret.expose()) && endpoint.is_revoked(second.secret.expose()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_arrives_after_its_worker_is_gone_is_revoked_too() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.delay = Duration::from_millis(500));
    let (client, serving) = worker(settings(&endpoint)).await;
    let call = tokio::spawn(async move { lease(&client).await });
    soon("the fetch has begun", || endpoint.fetches() == 1).await;
    call.abort();
    assert!(serving.await.unwrap().unwrap().is_empty());
    let issued = endpoint.get(|state| state.issued.clone());
    assert_eq!(issued.len(), 1);
    assert!(endpoint.is_revoked(&issued[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_vanishes_while_it_says_so_ends_as_well() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.delay = Duration::from_millis(700));
    let (stream, serving) = serve(settings(&endpoint));
    let mut raw = Raw::registered(stream, "bot").await;
    let ask = r#"{"credential":"api","destination":"api.example:443"}"#;
    assert_eq!(raw.send(Method::POST, "/v1/leases", ask).await.0, StatusCode::ACCEPTED);
    let end = tokio::spawn(async move { raw.send(Method::DELETE, "/v1/workers/self", "").await });
    sleep(Duration::from_millis(200)).await; // it waits for the fetch by now
    end.abort();
    assert!(serving.await.unwrap().unwrap().is_empty());
    assert!(endpoint.is_revoked(&endpoint.get(|state| state.issued[0].clone())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_call_does_not_end_the_worker() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.delay = Duration::from_millis(300));
    let (client, _serving) = worker(settings(&endpoint)).await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { lease(&client).await }
    });
    soon("the fetch has begun", || endpoint.fetches() == 1).await;
    call.abort();
    assert!(lease(&client).await.is_ok());
    assert_eq!((endpoint.fetches(), endpoint.get(|state| state.revocations)), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_fails_is_kept_shown_and_tried_again() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.revocations_to_fail = 2);
    let directory = tempfile::tempdir().unwrap();
    let (client, serving) = worker(kept_in(directory.path(), settings(&endpoint))).await;
    let held = lease(&client).await.unwrap();
    let ended = client.end().await.unwrap();
    assert!(ended.revoked.is_empty());
    assert_eq!((ended.kept[0].lease, ended.kept[0].again), (held.id, true));
    assert!(ended.kept[0].reason.contains("503"), "{}", ended.kept[0].reason);
    let kept = the_lease(directory.path());
    assert_eq!((kept.state, kept.lease), (State::Kept, held.id));
    assert!(kept.attempts > 0 && kept.reason.as_ref().unwrap().contains("503"), "{kept:?}");
    assert!(serving.await.unwrap().unwrap().is_empty());
    assert_eq!(endpoint.get(|state| state.revocations), 3);
    assert!(endpoint.is_revoked(held.secret.expose()));
    let revoked = the_lease(directory.path());
    assert_eq!((revoked.state, revoked.attempts), (State::Revoked, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_tried_no_longer_than_the_lease_lives() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| (state.revocations_to_fail, state.expires_in) = (usize::MAX, 2.0));
    let (client, serving) = worker(settings(&endpoint)).await;
    lease(&client).await.unwrap();
    drop(client);
    assert!(serving.await.unwrap().unwrap().is_empty());
    assert_eq!(endpoint.get(|state| state.revocations), 2); // at once, after 1 s; after 3 s it has run out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_revoked_is_shown_with_its_end() {
    let endpoint = Endpoint::start().await;
    let (url, roots) = (&endpoint.url, endpoint.roots.display());
    let (client, serving) = worker(from_toml(&format!(
        "[api]\nissuer = \"oauth2-client\"\ntoken_endpoint = \"{url}/fetch\"\nclient_id = \"exeat & co\"\n\
         client_secret = {{ env = \"CLIENT_SECRET\" }}\nroots = [\"{roots}\"]\nagents = [\"bot\"]\nto = [\"api.example\"]\n"
    )))
    .await;
    let held = lease(&client).await.unwrap();
    let ended = client.end().await.unwrap();
    assert_eq!((ended.kept[0].expires, ended.kept[0].again), (held.expires, false));
    assert!(ended.kept[0].reason.contains("no revocation endpoint"));
    let left = serving.await.unwrap().unwrap();
    assert_eq!((left.len(), left[0].lease), (1, held.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_broker_is_gone_no_lease_stands_any_more() {
    let endpoint = Endpoint::start().await;
    let settings = settings(&endpoint);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (kill, killed) = tokio::sync::oneshot::channel::<()>();
    // A runtime that is dropped dies as a process does: at once, with all that it was doing.
    let broker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! { _ = serve_connection(theirs, settings) => {}, _ = killed => {} }
        });
    });
    let client = Client::from_stream(ours).unwrap();
    client.register(&agent("bot")).await.unwrap();
    let held = lease(&client).await.unwrap();
    kill.send(()).unwrap();
    broker.join().unwrap();
    tokio::time::timeout(Duration::from_secs(1), client.revoked(&held)).await.expect("nobody is left to take it back");
    let error = lease(&client).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unavailable { reason } if reason == "the broker is gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_for_the_worker_leave_the_embedded_broker_to_its_work() {
    let endpoint = Endpoint::start().await;
    let settings = settings(&endpoint);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let embedded = std::thread::spawn(move || serve_embedded(theirs, settings, || Ok(())));
    let client = Client::from_stream(ours).unwrap();
    client.register(&agent("bot")).await.unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        kill_process(getpid(), signal).unwrap();
    }
    sleep(Duration::from_millis(100)).await;
    let held = lease(&client).await.unwrap();
    endpoint.set(|state| state.revocations_to_fail = usize::MAX);
    drop(client);
    soon("the first attempt", || endpoint.get(|state| state.revocations) > 0).await;
    sleep(Duration::from_millis(200)).await;
    assert!(!embedded.is_finished(), "it tries again");
    kill_process(getpid(), Signal::TERM).unwrap();
    let left = tokio::task::spawn_blocking(|| embedded.join().unwrap()).await.unwrap().unwrap();
    assert_eq!(left[0].lease, held.id);
}
