//! The standalone broker on its Unix socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::{Client, Error, Which, serve_unix};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::endpoint::Endpoint;
use crate::rig::{Serving, agent, lease, settings, soon};

struct Standalone {
    path: PathBuf,
    stop: oneshot::Sender<()>,
    serving: Serving,
    _directory: TempDir,
}

async fn serve(endpoint: &Endpoint, prepare: impl FnOnce(&Path)) -> Standalone {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.sock");
    prepare(&path);
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn({
        let (path, settings) = (path.clone(), settings(endpoint));
        async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serve_unix(&path, settings, stopped).await
        }
    });
    soon("the broker serves", || fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o600))
        .await;
    Standalone { path, stop, serving, _directory: directory }
}

async fn worker(path: &Path) -> Client {
    let client = Client::connect(path).await.unwrap();
    client.register(&agent("bot")).await.unwrap();
    client
}

async fn refused(path: &Path, endpoint: &Endpoint) {
    let serving = serve_unix(path, settings(endpoint), sleep(Duration::from_secs(2)));
    assert!(matches!(serving.await, Err(Error::Taken { .. })), "{}", path.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_a_broker_and_nothing_else() {
    let endpoint = Endpoint::start().await;
    let Standalone { path, stop, serving, _directory } = serve(&endpoint, |_| ()).await;
    let (one, other) = (worker(&path).await, worker(&path).await);
    let (first, second) = (lease(&one).await.unwrap(), lease(&other).await.unwrap());
    assert_ne!(first.secret.expose(), second.secret.expose());
    assert_eq!(endpoint.fetches(), 2);
    drop(one);
    soon("the first is revoked", || endpoint.is_revoked(first.secret.expose())).await;
    assert!(!endpoint.is_revoked(second.secret.expose()));
    let mut seen = (0, 0, 0);
    for _ in 0..100 {
        let health = other.health().await.unwrap();
        seen = (health.workers, health.leases, health.kept);
        if seen == (1, 1, 0) {
            break;
        }
        sleep(Duration::from_millis(20)).await; // the endpoint knows before the broker has its answer
    }
    assert_eq!(seen, (1, 1, 0));

    endpoint.set(|state| state.delay = Duration::from_millis(300)); // the broker waits for it
    stop.send(()).unwrap();
    assert!(serving.await.unwrap().unwrap().is_empty());
    assert!(endpoint.is_revoked(second.secret.expose()));
    assert!(!path.exists());
    assert!(Client::connect(&path).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_socket_is_replaced() {
    let endpoint = Endpoint::start().await;
    let standalone = serve(&endpoint, |path| {
        drop(UnixListener::bind(path).unwrap()); // the file stays
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    })
    .await;
    assert!(lease(&worker(&standalone.path).await).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_alive_or_no_socket_is_left_alone() {
    let endpoint = Endpoint::start().await;
    let standalone = serve(&endpoint, |_| ()).await;
    refused(&standalone.path, &endpoint).await;
    assert!(lease(&worker(&standalone.path).await).await.is_ok());

    let directory = tempfile::tempdir().unwrap();
    let (foreign, file) = (directory.path().join("foreign"), directory.path().join("file"));
    let _listener = UnixListener::bind(&foreign).unwrap();
    fs::write(&file, "precious").unwrap();
    for path in [&foreign, &file] {
        refused(path, &endpoint).await;
        assert!(path.exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_an_operator_takes_back_is_revoked_and_given_no_more() {
    let endpoint = Endpoint::start().await;
    let Standalone { path, stop, serving, _directory } = serve(&endpoint, |_| ()).await;
    let (one, other) = (worker(&path).await, worker(&path).await);
    let (first, neighbour) = (lease(&one).await.unwrap(), lease(&other).await.unwrap());
    let ended = Client::connect(&path).await.unwrap().revoke(&Which::Lease(first.id)).await.unwrap();
    assert_eq!((ended.revoked, ended.kept.len()), (vec![first.id], 0));
    assert!(endpoint.is_revoked(first.secret.expose()) && !endpoint.is_revoked(neighbour.secret.expose()));
    timeout(Duration::from_secs(1), one.revoked(&first)).await.expect("its worker is told");
    let second = lease(&one).await.unwrap();
    assert_ne!((first.id, first.secret.expose()), (second.id, second.secret.expose()));
    assert_eq!(lease(&other).await.unwrap().id, neighbour.id, "the other worker's stands");
    // A second time there is nothing to take back.
    assert!(Client::connect(&path).await.unwrap().revoke(&Which::Lease(first.id)).await.is_err());
    drop((one, other));
    stop.send(()).unwrap();
    assert!(serving.await.unwrap().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_issuer_does_not_revoke_is_taken_from_the_worker_all_the_same() {
    let endpoint = Endpoint::start().await;
    let Standalone { path, stop, serving, _directory } = serve(&endpoint, |_| ()).await;
    let worker = worker(&path).await;
    let held = lease(&worker).await.unwrap();
    endpoint.set(|state| state.revocations_to_fail = 1);
    let ended = Client::connect(&path).await.unwrap().revoke(&Which::Lease(held.id)).await.unwrap();
    assert!(ended.revoked.is_empty() && ended.kept[0].again, "{ended:?}");
    timeout(Duration::from_secs(1), worker.revoked(&held)).await.expect("its worker is told");
    assert_ne!(lease(&worker).await.unwrap().id, held.id);
    soon("the next attempt", || endpoint.is_revoked(held.secret.expose())).await;
    drop(worker);
    stop.send(()).unwrap();
    assert!(serving.await.unwrap().unwrap().is_empty());
}
