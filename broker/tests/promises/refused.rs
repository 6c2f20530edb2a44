//! A lease that an upstream refused is replaced once, and not over and over.

use std::time::Duration;

use broker::ledger::State;
use broker::{ClientError, LeaseId};
use http::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::endpoint::Endpoint;
use crate::rig::{destination, kept_in, lease, leases, name, serve, settings, soon, worker};
use crate::wire::Raw;

async fn replace(client: &broker::Client, refused: LeaseId) -> Result<Option<LeaseId>, ClientError> {
    let replaced = client.replace(&name("api"), &destination("api.example:443"), refused).await;
    replaced.map(|lease| lease.map(|lease| lease.id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_that_were_refused_with_one_lease_cause_one_fetch() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    let (client, _serving) = worker(kept_in(state.path(), settings(&endpoint))).await;
    let first = lease(&client).await.unwrap();
    endpoint.set(|state| state.delay = Duration::from_millis(400));
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (client, refused) = (client.clone(), first.id);
        calls.spawn(async move { replace(&client, refused).await.unwrap().unwrap() });
    }
    let replaced = calls.join_all().await;
    assert_eq!(endpoint.fetches(), 2);
    assert!(replaced.iter().all(|one| *one == replaced[0] && *one != first.id));
    assert_eq!(lease(&client).await.unwrap().id, replaced[0]);
    soon("the first is given back", || endpoint.is_revoked(first.secret.expose())).await;
    soon("the ledger says so", || leases(state.path())[0].state == State::Revoked).await;
    assert_eq!(leases(state.path())[0].reason.as_deref(), Some("its upstream answered 401"));
    // One who was slow to hear it is not a reason for a third.
    assert_eq!(replace(&client, first.id).await.unwrap(), Some(replaced[0]));
    assert_eq!(endpoint.fetches(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_refuses_every_lease_gets_one_in_five_seconds() {
    let endpoint = Endpoint::start().await;
    let (client, _serving) = worker(settings(&endpoint)).await;
    let mut held = lease(&client).await.unwrap().id;
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(11) {
        held = replace(&client, held).await.unwrap().unwrap_or(held);
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(endpoint.fetches(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_names_a_lease_which_it_does_not_hold_causes_no_fetch() {
    let endpoint = Endpoint::start().await;
    let (stream, _serving) = serve(settings(&endpoint));
    let mut raw = Raw::registered(stream, "bot").await;
    let ask = json!({"credential": "api", "destination": "api.example:443"});
    let mut refused = ask.clone();
    refused["refused"] = json!(LeaseId::generate());
    while raw.send(http::Method::POST, "/v1/leases", &ask.to_string()).await.0 != StatusCode::OK {}
    for _ in 0..10 {
        assert_eq!(raw.send(http::Method::POST, "/v1/leases", &refused.to_string()).await.0, StatusCode::OK);
    }
    assert_eq!(endpoint.fetches(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_issuer_is_down_the_refused_lease_stays_for_those_who_were_not_refused() {
    let endpoint = Endpoint::start().await;
    let (client, _serving) = worker(settings(&endpoint)).await;
    let first = lease(&client).await.unwrap().id;
    endpoint.set(|state| state.broken = Some((StatusCode::BAD_GATEWAY, "")));
    for _ in 0..3 {
        assert!(matches!(replace(&client, first).await, Err(ClientError::Unavailable { .. })));
        sleep(Duration::from_millis(1100)).await; // longer than a failure stands
    }
    assert_eq!(endpoint.fetches(), 2, "a failed one counts as well");
    assert_eq!(lease(&client).await.unwrap().id, first);
    assert!(endpoint.get(|state| state.revoked.is_empty()));
}
