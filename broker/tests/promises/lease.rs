//! Fetched once, refreshed in time, and not to be had when the issuer fails.

use std::time::{Duration, Instant, SystemTime};

use broker::ClientError;
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::endpoint::{CLIENT_SECRET, Endpoint};
use crate::rig::{destination, lease, name, settings, settings_with, soon, worker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_at_once_share_one_fetch() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.delay = Duration::from_millis(400)); // longer than an answer waits: it is asked for again
    let (client, _serving) = worker(settings(&endpoint)).await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        calls.spawn(async move { lease(&client).await.unwrap() });
    }
    let leases = calls.join_all().await;
    assert_eq!(endpoint.fetches(), 1);
    assert!(leases.iter().all(|one| one.id == leases[0].id));
    assert_eq!(endpoint.get(|state| state.issued[0].clone()), leases[0].secret.expose());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_issuer_keeps_nobody_elses_credential_waiting() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.delay = Duration::from_secs(2));
    let quick = "[quick]\nissuer = \"fixed\"\nvalue = { env = \"CLIENT_SECRET\" }\nagents = [\"bot\"]\nto = [\"api.example\"]\n";
    let (client, _serving) = worker(settings_with(&endpoint, "/fetch", quick)).await;
    let slow = tokio::spawn({
        let client = client.clone();
        async move { lease(&client).await.map(|_| ()) }
    });
    soon("the slow fetch has begun", || endpoint.fetches() == 1).await;
    let start = SystemTime::now();
    client.lease(&name("quick"), &destination("api.example:443")).await.unwrap();
    assert!(start.elapsed().unwrap() < Duration::from_secs(1) && !slow.is_finished());
    slow.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_refreshed_before_it_ends_and_not_sooner() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.expires_in = 1.5);
    let (client, _serving) = worker(settings(&endpoint)).await;
    let mut seen = Vec::new();
    let start = SystemTime::now();
    while start.elapsed().unwrap() < Duration::from_secs(4) {
        let lease = lease(&client).await.unwrap();
        assert!(lease.is_valid(SystemTime::now()));
        if seen.last() != Some(&lease.id) {
            seen.push(lease.id);
        }
        sleep(Duration::from_millis(10)).await;
    }
    // Due after 1.2 s each; a busy machine may be late, but never early.
    assert!(matches!(seen.len(), 3 | 4) && endpoint.fetches() == seen.len(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_due_lease_serves_while_its_issuer_is_down_and_no_longer() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.expires_in = 2.0);
    let (client, _serving) = worker(settings(&endpoint)).await;
    let first = lease(&client).await.unwrap();
    endpoint.set(|state| state.broken = Some((StatusCode::BAD_GATEWAY, "")));
    sleep(Duration::from_millis(1700)).await;
    assert_eq!(lease(&client).await.unwrap().id, first.id);
    assert_eq!(endpoint.fetches(), 2);
    sleep(Duration::from_millis(400)).await;
    assert!(matches!(lease(&client).await, Err(ClientError::Unavailable { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_waits_for_a_refresh() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.expires_in = 10.0);
    let (client, _serving) = worker(settings(&endpoint)).await;
    let first = lease(&client).await.unwrap();
    endpoint.set(|state| state.delay = Duration::from_millis(1500));
    sleep(Duration::from_millis(8100)).await;
    let start = SystemTime::now();
    assert_eq!(lease(&client).await.unwrap().id, first.id);
    assert!(start.elapsed().unwrap() < Duration::from_secs(1));
    sleep(Duration::from_millis(1600)).await;
    assert_ne!(lease(&client).await.unwrap().id, first.id);
    assert_eq!(endpoint.fetches(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_issuer_is_not_hammered_and_its_words_are_not_repeated() {
    let endpoint = Endpoint::start().await;
    let body = r#"{"error":"invalid_scope","error_description":"a word of its own"}"#;
    endpoint.set(|state| state.broken = Some((StatusCode::BAD_REQUEST, body)));
    let (client, _serving) = worker(settings(&endpoint)).await;
    for _ in 0..30 {
        let Err(ClientError::Unavailable { reason }) = lease(&client).await else { panic!("it was available") };
        assert!(reason.contains("credential `api`") && reason.contains("400 invalid_scope"), "{reason}");
        assert!(!reason.contains("a word of its own"));
    }
    assert!(endpoint.fetches() <= 2, "{}", endpoint.fetches());
    endpoint.set(|state| state.broken = None);
    sleep(Duration::from_millis(1100)).await;
    assert!(lease(&client).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_client_secret_is_unavailable_and_not_in_the_reason() {
    let endpoint = Endpoint::start().await;
    let mut settings = settings(&endpoint);
    settings.environment.insert("CLIENT_SECRET".to_owned(), broker::Secret::new("wrong"));
    let (client, _serving) = worker(settings).await;
    let Err(ClientError::Unavailable { reason }) = lease(&client).await else { panic!("it was available") };
    assert!(reason.contains("401 invalid_client"), "{reason}");
    assert!(!reason.contains("wrong") && !reason.contains(CLIENT_SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_cannot_be_used_are_unavailable() {
    let endpoint = Endpoint::start().await;
    for body in
        ["", "<html>", r#"{"access_token":"a b","token_type":"Bearer"}"#, r#"{"access_token":"a","token_type":"mac"}"#]
    {
        endpoint.set(|state| state.broken = Some((StatusCode::OK, body)));
        let (client, _serving) = worker(settings(&endpoint)).await;
        assert!(matches!(lease(&client).await, Err(ClientError::Unavailable { .. })), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_form_says_what_the_settings_say_and_post_works_too() {
    let endpoint = Endpoint::start().await;
    let more = "auth = \"post\"\nscope = \"read write\"\naudience = \"https://api.example/\"";
    let (client, _serving) = worker(settings_with(&endpoint, "/fetch", more)).await;
    lease(&client).await.unwrap();
    let form = endpoint.get(|state| state.forms[0].clone());
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["scope"], "read write");
    assert_eq!(form["audience"], "https://api.example/");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed() {
    let endpoint = Endpoint::start().await;
    let (client, _serving) = worker(settings_with(&endpoint, "/elsewhere", "")).await;
    let Err(ClientError::Unavailable { reason }) = lease(&client).await else { panic!("it was available") };
    assert!(reason.contains("307"), "{reason}");
    assert_eq!(endpoint.fetches(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_whose_certificate_is_not_trusted_gets_nothing() {
    let (endpoint, other) = (Endpoint::start().await, Endpoint::start().await);
    std::fs::copy(&other.roots, &endpoint.roots).unwrap();
    let (client, _serving) = worker(settings(&endpoint)).await;
    let Err(ClientError::Unavailable { reason }) = lease(&client).await else { panic!("it was available") };
    assert!(reason.contains("TLS failed"), "{reason}");
    assert_eq!(endpoint.fetches(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_asks_too_often_keeps_its_connection_and_what_it_has() {
    let endpoint = Endpoint::start().await;
    let (client, _serving) = worker(settings(&endpoint)).await;
    let held = lease(&client).await.unwrap();
    let (begun, mut refused) = (Instant::now(), 0);
    // Looks at what was taken back fall into this.
    while begun.elapsed() < Duration::from_millis(2500) {
        refused += u32::from(client.health().await.is_err());
    }
    assert!(refused > 0, "it was not too often");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lease(&client).await.unwrap().id, held.id);
    assert!(!endpoint.is_revoked(held.secret.expose()));
}
