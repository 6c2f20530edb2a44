//! What is taken back is so whether or not its lease still stands, and whether or not it has come yet.

use std::time::Duration;

use broker::{Client, Which, control};
use tokio::time::{sleep, timeout};

use crate::endpoint::Endpoint;
use crate::rig::{destination, kept_in, lease, leases, name, settings, soon, worker};

/// A look is a quarter of a second.
const TOLD: Duration = Duration::from_secs(1);

async fn operator(state: &std::path::Path) -> Client {
    let brokers = control::brokers(&state.join("leases")).unwrap();
    control::connect(&brokers[0]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_replaced_or_ran_out_is_taken_back_with_the_last() {
    for (by, revocations_to_fail) in [("a 401", 0), ("a 401", 3), ("time", 0)] {
        for single in [true, false] {
            let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
            endpoint.set(|state| state.revocations_to_fail = revocations_to_fail);
            if by == "time" {
                endpoint.set(|state| state.expires_in = 1.0);
            }
            let (client, _serving) = worker(kept_in(state.path(), settings(&endpoint))).await;
            let first = lease(&client).await.unwrap();
            let second = if by == "time" {
                sleep(Duration::from_millis(1100)).await;
                lease(&client).await.unwrap()
            } else {
                client.replace(&name("api"), &destination("api.example:443"), first.id).await.unwrap().unwrap()
            };
            assert_ne!(first.id, second.id);
            sleep(Duration::from_millis(600)).await;
            assert!(!client.is_revoked(&first), "{by}: nobody has taken it back");
            let operator = operator(state.path()).await;
            let which = if single { Which::Lease(first.id) } else { Which::Worker(leases(state.path())[0].worker) };
            let ended = operator.revoke(&which).await.unwrap();
            assert_eq!(ended.told.len(), 1, "{by}: {ended:?}");
            timeout(TOLD, client.revoked(&first)).await.unwrap_or_else(|_| panic!("{by}, {single}: it was not told"));
            match single {
                true => {
                    sleep(Duration::from_millis(600)).await;
                    assert!(!client.is_revoked(&second), "{by}: the last stands");
                    let again = operator.revoke(&which).await;
                    assert!(revocations_to_fail > 0 || again.is_err(), "{by}: {again:?}");
                }
                false => timeout(TOLD, client.revoked(&second)).await.expect("the last was not told"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_on_its_way_when_all_is_taken_back_is_revoked_when_it_comes_and_another_is_lent() {
    let (endpoint, state) = (Endpoint::start().await, tempfile::tempdir().unwrap());
    endpoint.set(|state| state.delay = Duration::from_secs(1));
    let (client, _serving) = worker(kept_in(state.path(), settings(&endpoint))).await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { lease(&client).await }
    });
    soon("the issuer is asked", || endpoint.fetches() == 1).await;
    let ended = operator(state.path()).await.revoke(&Which::Agent("bot".parse().unwrap())).await.unwrap();
    assert_eq!(ended.told.len(), 1);
    let held = call.await.unwrap().unwrap();
    assert_eq!(endpoint.fetches(), 2);
    assert!(!client.is_revoked(&held));
    let issued = endpoint.get(|state| state.issued.clone());
    assert_eq!(held.secret.expose(), issued[1]);
    soon("the first is revoked", || endpoint.is_revoked(&issued[0])).await;
    soon("the ledger says why", || {
        leases(state.path())[0].reason.as_deref() == Some("it was taken back before it came")
    })
    .await;
}
