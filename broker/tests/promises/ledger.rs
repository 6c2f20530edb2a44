//! The ledger: who holds what, and what a broker that is gone left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::ledger::State;
use broker::{Client, Error, Settings, Which, control, serve_connection, sweep};
use http::StatusCode;
use tempfile::{TempDir, tempdir};
use tokio::sync::oneshot;

use crate::endpoint::Endpoint;
use crate::rig::{agent, kept_in, lease, leases, serve, settings, settings_with, soon, the_lease, worker};

/// A broker on a thread of its own, which dies with all that it was doing.
struct Mortal {
    client: Client,
    kill: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Mortal {
    async fn start(settings: Settings) -> Mortal {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (kill, killed) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! { ended = serve_connection(theirs, settings) => drop(ended.unwrap()), _ = killed => {} }
            });
        });
        let client = Client::from_stream(ours).unwrap();
        client.register(&agent("bot")).await.unwrap();
        Mortal { client, kill, thread }
    }

    fn kill(self) {
        self.kill.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

fn files(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn is_private(path: &Path) -> bool {
    fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0
}

/// A state directory in which a broker died with one lease.
async fn left_by_a_dead_broker(endpoint: &Endpoint) -> (TempDir, String) {
    let state = tempdir().unwrap();
    let mortal = Mortal::start(kept_in(state.path(), settings(endpoint))).await;
    let held = lease(&mortal.client).await.unwrap();
    mortal.kill();
    assert!(!endpoint.is_revoked(held.secret.expose()));
    (state, held.secret.expose().to_owned())
}

fn ledger_in(state: &Path) -> PathBuf {
    files(&state.join("leases")).into_iter().find(|file| file.ends_with("ledger.db")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_in_it_before_it_is_given_out_and_no_secret_is() {
    let endpoint = Endpoint::start().await;
    let state = tempdir().unwrap();
    let more = "scope = \"read write\"";
    let (client, serving) = worker(kept_in(state.path(), settings_with(&endpoint, "/fetch", more))).await;
    let held = lease(&client).await.unwrap();
    let row = the_lease(state.path());
    assert_eq!((row.lease, row.state, row.agent.as_str()), (held.id, State::Leased, "bot"));
    assert_eq!(row.scope, "api.example; scope read write");
    assert!(row.revocation.unwrap().contains(&format!("{}/revoke", endpoint.url)));
    let expires = row.expires.unwrap().duration_since(held.expires.unwrap().try_into().unwrap());
    assert!(expires.abs() < jiff::SignedDuration::from_secs(1), "{expires}");
    let found = files(state.path());
    for file in ["ledger.db", "ledger.db-wal", "ledger.key", "control"] {
        assert!(found.iter().any(|path| path.ends_with(file) && is_private(path)), "{file}: {found:?}");
    }
    for file in found.iter().filter(|path| !path.ends_with("control")) {
        let bytes = fs::read(file).unwrap();
        let secret = held.secret.expose().as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "it is in {}", file.display());
    }
    client.end().await.unwrap();
    serving.await.unwrap().unwrap();
    assert_eq!(the_lease(state.path()).state, State::Revoked);
    let settled = files(&state.path().join("leases/settled"));
    assert!(settled.iter().any(|file| file.ends_with("ledger.db")), "it is not put aside: {settled:?}");
    assert!(!settled.iter().any(|file| file.ends_with("control")), "{settled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_lends_nothing_makes_none_and_leaves_nothing() {
    let endpoint = Endpoint::start().await;
    let state = tempdir().unwrap();
    let has_ledger = || files(&state.path().join("leases")).iter().any(|file| file.ends_with("ledger.db"));
    let settings = || kept_in(state.path(), settings(&endpoint));
    let (client, serving) = worker(settings()).await;
    assert!(!has_ledger() && files(state.path()).iter().any(|file| file.ends_with("control")));
    assert_eq!(client.health().await.unwrap().kept, 0);
    client.end().await.unwrap();
    serving.await.unwrap().unwrap();
    assert_eq!(fs::read_dir(state.path().join("leases")).unwrap().count(), 0, "its directory is left");
    // One that was killed is swept by the next, in whose way it is not.
    let mortal = Mortal::start(settings()).await;
    mortal.kill();
    let (client, _serving) = worker(settings()).await;
    assert_eq!(fs::read_dir(state.path().join("leases")).unwrap().count(), 1, "the killed one's directory is left");
    lease(&client).await.unwrap();
    assert!(has_ledger());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_being_asked_is_in_it_before_it_answers() {
    let endpoint = Endpoint::start().await;
    endpoint.set(|state| state.delay = Duration::from_secs(3));
    let state = tempdir().unwrap();
    let mortal = Mortal::start(kept_in(state.path(), settings(&endpoint))).await;
    let asking = tokio::spawn({
        let client = mortal.client.clone();
        async move { lease(&client).await.map(|_| ()) }
    });
    soon("the issuer is asked", || endpoint.fetches() == 1).await;
    assert_eq!(the_lease(state.path()).state, State::Asked);
    mortal.kill();
    asking.await.unwrap().unwrap_err();
    // The next broker cannot know what came of it, and says so.
    let shown = sweep(kept_in(state.path(), settings(&endpoint))).await.unwrap();
    assert_eq!((shown.len(), shown[0].state), (1, State::Unanswered));
    assert!(shown[0].reason.as_ref().unwrap().contains("before it knew"), "{shown:?}");
    let again = sweep(kept_in(state.path(), settings(&endpoint))).await.unwrap();
    assert_eq!(
        (again[0].lease, again[0].expires),
        (shown[0].lease, shown[0].expires),
        "it is shown until it must be over"
    );
    assert!(shown[0].expires.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_gave_nothing_and_one_that_may_have_are_told_apart() {
    let endpoint = Endpoint::start().await;
    for (broken, state) in [
        ((StatusCode::BAD_REQUEST, r#"{"error":"invalid_scope"}"#), State::Refused),
        ((StatusCode::OK, r#"{"access_token":"a b","token_type":"Bearer"}"#), State::Unanswered),
    ] {
        endpoint.set(|state| state.broken = Some(broken));
        let directory = tempdir().unwrap();
        let (client, _serving) = worker(kept_in(directory.path(), settings(&endpoint))).await;
        lease(&client).await.unwrap_err();
        assert_eq!(the_lease(directory.path()).state, state);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_that_is_gone_left_is_revoked_by_the_next() {
    let endpoint = Endpoint::start().await;
    let (state, secret) = left_by_a_dead_broker(&endpoint).await;
    let (client, serving) = worker(kept_in(state.path(), settings(&endpoint))).await;
    soon("it is revoked", || endpoint.is_revoked(&secret)).await;
    soon("the ledger says so", || the_lease(state.path()).state == State::Revoked).await;
    drop(client);
    serving.await.unwrap().unwrap();
    assert_eq!(endpoint.get(|state| state.revocations), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_lives_is_swept_by_nobody() {
    let endpoint = Endpoint::start().await;
    let state = tempdir().unwrap();
    let (client, _serving) = worker(kept_in(state.path(), settings(&endpoint))).await;
    let held = lease(&client).await.unwrap();
    assert!(sweep(kept_in(state.path(), settings(&endpoint))).await.unwrap().is_empty());
    assert_eq!((endpoint.get(|state| state.revocations), the_lease(state.path()).state), (0, State::Leased));
    assert_eq!(lease(&client).await.unwrap().id, held.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_revoked_any_more_is_shown_with_the_reason_and_shown_to_no_other_issuer() {
    let (endpoint, other) = (Endpoint::start().await, Endpoint::start().await);
    let (state, secret) = left_by_a_dead_broker(&endpoint).await;
    let reason = async |settings| {
        let shown = sweep(kept_in(state.path(), settings)).await.unwrap();
        assert_eq!((shown.len(), shown[0].state), (1, State::Kept));
        shown[0].reason.clone().unwrap()
    };
    assert!(reason(settings(&other)).await.contains("another issuer"));
    let mut without = settings(&endpoint);
    without.credentials = config::Credentials::default();
    assert!(reason(without).await.contains("no longer in the credentials file"));
    let key = state.path().join("ledger.key");
    fs::rename(&key, state.path().join("away")).unwrap();
    assert!(reason(settings(&endpoint)).await.contains("cannot be unsealed"));
    fs::rename(state.path().join("away"), &key).unwrap();
    assert_eq!((other.get(|state| state.revocations), endpoint.get(|state| state.revocations)), (0, 0));
    assert!(sweep(kept_in(state.path(), settings(&endpoint))).await.unwrap().is_empty());
    assert!(endpoint.is_revoked(&secret));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_damaged_or_open_to_others_stops_the_start() {
    let endpoint = Endpoint::start().await;
    let (state, _) = left_by_a_dead_broker(&endpoint).await;
    let refused = async |why: &str| {
        let (_stream, serving) = serve(kept_in(state.path(), settings(&endpoint)));
        let error = serving.await.unwrap().unwrap_err();
        let Error::Ledger { path, source } = &error else { panic!("{error}") };
        assert!(path.ends_with("ledger.db") && source.to_string().contains(why), "{error}: {source}");
        assert!(error.hint().contains("revoked at its issuers"));
    };
    let ledger = ledger_in(state.path());
    let whole = fs::read(&ledger).unwrap();
    fs::set_permissions(&ledger, fs::Permissions::from_mode(0o644)).unwrap();
    refused("others can read").await;
    fs::set_permissions(&ledger, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&ledger, "").unwrap();
    refused("emptied").await;
    fs::write(&ledger, "not a database at all, but long enough to be looked at as if it were one").unwrap();
    refused("not a database").await;
    fs::write(&ledger, &whole[..whole.len() - 4096]).unwrap();
    refused("").await;
    fs::write(&ledger, &whole).unwrap();
    assert!(sweep(kept_in(state.path(), settings(&endpoint))).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_ledger_is_one_brokers_at_a_time_and_gone_on_with_by_the_next() {
    let endpoint = Endpoint::start().await;
    let state = tempdir().unwrap();
    let named = || {
        let mut settings = kept_in(state.path(), settings(&endpoint));
        settings.ledger.as_mut().unwrap().name = Some("service".to_owned());
        settings
    };
    let mortal = Mortal::start(named()).await;
    let held = lease(&mortal.client).await.unwrap();
    let (_stream, second) = serve(named());
    assert!(matches!(second.await.unwrap(), Err(Error::Ledger { .. })));
    mortal.kill();
    let (client, _serving) = worker(named()).await;
    soon("it is revoked", || endpoint.is_revoked(held.secret.expose())).await;
    lease(&client).await.unwrap();
    assert_eq!(leases(state.path()).len(), 2, "what was before is still told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_takes_back_all_of_a_worker_or_agent_and_can_do_nothing_else() {
    let endpoint = Endpoint::start().await;
    let state = tempdir().unwrap();
    let (client, _serving) = worker(kept_in(state.path(), settings(&endpoint))).await;
    let held = lease(&client).await.unwrap();
    let brokers = control::brokers(&state.path().join("leases")).unwrap();
    assert_eq!(brokers.len(), 1);
    let operator = async || control::connect(&brokers[0]).await.unwrap();
    let others = Which::Agent(agent("other"));
    assert!(operator().await.revoke(&others).await.unwrap().revoked.is_empty());
    let worker = the_lease(state.path()).worker;
    let ended = operator().await.revoke(&Which::Worker(worker)).await.unwrap();
    assert_eq!((ended.revoked, endpoint.is_revoked(held.secret.expose())), (vec![held.id], true));
    tokio::time::timeout(Duration::from_secs(1), client.revoked(&held)).await.expect("its worker was not told");
    let next = lease(&client).await.unwrap();
    let ended = operator().await.revoke(&Which::Agent(agent("bot"))).await.unwrap();
    assert_eq!(ended.revoked, vec![next.id]);
    operator().await.register(&agent("bot")).await.unwrap_err();
    operator().await.identity("https://broker.exeat.internal").await.unwrap_err();
    assert_eq!(operator().await.health().await.unwrap().workers, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_offboarded_gets_nothing_from_then_on() {
    let endpoint = Endpoint::start().await;
    let state = tempdir().unwrap();
    let offboarded = state.path().join("offboarded");
    fs::create_dir(&offboarded).unwrap();
    let settings = || Settings { offboarded: Some(offboarded.clone()), ..settings(&endpoint) };
    let (client, _serving) = worker(settings()).await;
    endpoint.set(|state| state.delay = Duration::from_millis(500));
    let asking = tokio::spawn({
        let client = client.clone();
        async move { lease(&client).await.map(|_| ()) }
    });
    soon("the issuer is asked", || endpoint.fetches() == 1).await;
    fs::write(offboarded.join("bot"), "").unwrap();
    let error = asking.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("was offboarded"), "{error}");
    let (stream, _serving) = serve(settings());
    Client::from_stream(stream).unwrap().register(&agent("bot")).await.unwrap_err();
    drop(client);
    soon("what came all the same is revoked", || endpoint.get(|state| state.issued == state.revoked)).await;
    fs::remove_file(offboarded.join("bot")).unwrap();
    let (client, _serving) = worker(settings()).await;
    lease(&client).await.unwrap();
}
