//! A worker that its sandbox has taken over: it sends what it likes, over its own connection and over new ones. What is not its own
//! agent's, and for its own destinations, it does not get.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use broker::{Client, Which, control, serve_unix};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::endpoint::Endpoint;
use crate::rig::{agent, destination, from_toml, kept_in, lease, name, settings, soon};
use crate::wire::Raw;

/// A service for two agents, each with a credential that the other has not.
struct Service {
    state: TempDir,
    socket: PathBuf,
}

async fn serve(endpoint: &Endpoint) -> Service {
    let state = tempfile::tempdir().unwrap();
    let socket = state.path().join("broker.sock");
    let mut two = settings(endpoint);
    let (url, roots) = (&endpoint.url, endpoint.roots.display());
    let client = broker_client();
    two.credentials = from_toml(
        &["api bot api.example fetch", "deploy victim deploy.example fetch", "down bot down.example nowhere"]
            .map(|line| {
                let mut words = line.split(' ');
                let [name, agent, to, path] = [(); 4].map(|()| words.next().unwrap());
                format!(
                    "[{name}]\nissuer = \"oauth2-client\"\ntoken_endpoint = \"{url}/{path}\"\n{client}\
                     revocation_endpoint = \"{url}/revoke\"\nroots = [\"{roots}\"]\nagents = [\"{agent}\"]\nto = [\"{to}\"]\n"
                )
            })
            .concat(),
    )
    .credentials;
    let two = kept_in(state.path(), two);
    tokio::spawn({
        let socket = socket.clone();
        async move { serve_unix(&socket, two, std::future::pending()).await }
    });
    soon("the broker serves", || fs::metadata(&socket).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o600))
        .await;
    Service { state, socket }
}

fn broker_client() -> String {
    let id = crate::endpoint::CLIENT_ID;
    format!("client_id = \"{id}\"\nclient_secret = {{ env = \"CLIENT_SECRET\" }}\n")
}

impl Service {
    fn key(&self) -> String {
        fs::read_to_string(self.socket.with_extension("sock.key")).unwrap()
    }

    /// The worker that was taken over: it began as `exeat run` does.
    async fn taken_over(&self) -> Raw {
        let mut raw = Raw::over(UnixStream::connect(&self.socket).unwrap()).await;
        raw.shown = Some(self.key());
        raw.register("bot").await;
        raw
    }

    /// Another agent's worker.
    async fn victim(&self) -> Client {
        let client = Client::connect(&self.socket).await.unwrap();
        client.register(&agent("victim")).await.unwrap();
        client
    }
}

fn ask(credential: &str, destination: &str) -> String {
    json!({"credential": credential, "destination": destination}).to_string()
}

/// Asks until the issuer has answered.
async fn leased(raw: &mut Raw, body: &str) -> (StatusCode, Value) {
    loop {
        let (status, answer) = raw.send(Method::POST, "/v1/leases", body).await;
        if status != StatusCode::ACCEPTED {
            return (status, answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gets_no_other_workers_anything_over_its_own_connection() {
    let endpoint = Endpoint::start().await;
    let service = serve(&endpoint).await;
    let victim = service.victim().await;
    let theirs = victim.lease(&name("deploy"), &destination("deploy.example:443")).await.unwrap();
    let mut raw = service.taken_over().await;
    let (status, own) = leased(&mut raw, &ask("api", "api.example:443")).await;
    assert_eq!(status, StatusCode::OK);
    let (theirs_id, own_id) = (theirs.id.to_string(), own["id"].as_str().unwrap().to_owned());
    assert_ne!(own["secret"].as_str().unwrap(), theirs.secret.expose());
    for (method, target, body, status) in [
        (Method::POST, "/v1/leases", ask("deploy", "deploy.example:443"), 403),
        (Method::POST, "/v1/leases", ask("deploy", "api.example:443"), 403),
        (Method::POST, "/v1/leases", ask("api", "deploy.example:443"), 403),
        (Method::POST, "/v1/leases", ask("api", "api.example:8443"), 403),
        (Method::POST, "/v1/leases", ask("api", "evil.example:443"), 403),
        (Method::POST, "/v1/workers", json!({"agent": "victim"}).to_string(), 409),
        (Method::DELETE, &*format!("/v1/leases/{theirs_id}"), String::new(), 403),
        (Method::DELETE, &*format!("/v1/leases/{own_id}"), String::new(), 403),
        (Method::DELETE, "/v1/leases?agent=victim", String::new(), 405),
        (Method::DELETE, "/v1/leases?worker=019ac000-0000-7000-8000-000000000000", String::new(), 405),
        (Method::GET, "/v1/identity?audience=https%3A%2F%2Fvictim.example", String::new(), 403),
        (Method::GET, "/v1/workers/self", String::new(), 405),
        (Method::GET, "/v1/workers", String::new(), 405),
    ] {
        let (answered, problem) = raw.send(method, target, &body).await;
        assert_eq!(answered.as_u16(), status, "{target} {body}: {problem}");
        assert!(!problem.to_string().contains(theirs.secret.expose()));
    }
    let (_, taken_back) = raw.send(Method::GET, "/v1/leases", "").await;
    assert_eq!(taken_back, json!({"leases": [], "up_to": {}, "all_up_to": null}));
    assert!(!endpoint.is_revoked(theirs.secret.expose()));
    // "There is none" and "it is not yours" read alike.
    let (_, none) = raw.send(Method::POST, "/v1/leases", &ask("nothing", "api.example:443")).await;
    let (_, not_ours) = raw.send(Method::POST, "/v1/leases", &ask("deploy", "api.example:443")).await;
    assert_eq!(none["detail"].as_str().unwrap().replace("nothing", "deploy"), not_ours["detail"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_is_nobody_without_the_key() {
    let endpoint = Endpoint::start().await;
    let service = serve(&endpoint).await;
    let victim = service.victim().await;
    let theirs = victim.lease(&name("deploy"), &destination("deploy.example:443")).await.unwrap();
    let taken_over = service.taken_over().await;
    let session = taken_over.shown.clone().unwrap();
    let control = control::brokers(&service.state.path().join("leases")).unwrap().remove(0).join("control");
    let lease = format!("/v1/leases/{}", theirs.id);
    for path in [&*service.socket, &*control] {
        for shown in [None, Some(session.clone()), Some("0".repeat(64)), Some(service.key()[1..].to_owned())] {
            for (method, target, body) in [
                (Method::POST, "/v1/workers", json!({"agent": "victim"}).to_string()),
                (Method::POST, "/v1/workers", json!({"agent": "bot"}).to_string()),
                (Method::DELETE, &*lease, String::new()),
                (Method::DELETE, "/v1/leases?agent=victim", String::new()),
                (Method::GET, "/v1/health", String::new()),
            ] {
                let mut raw = Raw::over(UnixStream::connect(path).unwrap()).await;
                raw.shown = shown.clone();
                let (status, problem) = raw.send(method, target, &body).await;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{} {target}: {problem}", path.display());
                assert!(problem["detail"].as_str().unwrap().contains("the key that lies beside this socket"));
                assert!(raw.is_closed().await, "a stranger's connection stands");
            }
        }
    }
    assert!(!endpoint.is_revoked(theirs.secret.expose()));
    // The key of the one socket is not that of the other.
    let mut raw = Raw::over(UnixStream::connect(&control).unwrap()).await;
    raw.shown = Some(service.key());
    assert_eq!(raw.send(Method::DELETE, &lease, "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(mode(&control.with_extension("key")), 0o600);
    assert_eq!(mode(&service.socket.with_extension("sock.key")), 0o600);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_who_shows_its_session() {
    let endpoint = Endpoint::start().await;
    let service = serve(&endpoint).await;
    let (one, mut other) = (service.taken_over().await, service.taken_over().await);
    let own = other.shown.clone().unwrap();
    assert_ne!(one.shown.as_ref().unwrap(), &own);
    let body = ask("api", "api.example:443");
    assert_eq!(leased(&mut other, &body).await.0, StatusCode::OK);
    // As when a part of a request that the sandbox chose became a request of its own.
    other.shown = one.shown.clone();
    let (status, problem) = leased(&mut other, &body).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{problem}");
    for shown in [None, Some(service.key())] {
        let mut raw = service.taken_over().await;
        raw.shown = shown;
        assert_eq!(leased(&mut raw, &body).await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_floods_the_broker_is_told_to_wait_and_its_neighbour_is_served() {
    let endpoint = Endpoint::start().await;
    let service = serve(&endpoint).await;
    let victim = service.victim().await;
    let mut raw = service.taken_over().await;
    let flood = tokio::spawn(async move {
        let (begun, mut served, mut refused) = (Instant::now(), 0, 0);
        while begun.elapsed() < Duration::from_secs(4) {
            match raw.send(Method::GET, "/v1/health", "").await.0 {
                StatusCode::OK => served += 1,
                StatusCode::TOO_MANY_REQUESTS => refused += 1,
                status => panic!("{status}"),
            }
        }
        (served, refused)
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = Instant::now();
    victim.lease(&name("deploy"), &destination("deploy.example:443")).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let (served, refused) = flood.await.unwrap();
    // 1,000 at once and 500 a second.
    assert!(refused > 0 && served <= 1000 + 5 * 500, "{served} served, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_flood_of_calls_asks_for_keeps_no_worker_from_learning_what_was_taken_back() {
    let endpoint = Endpoint::start().await;
    let service = serve(&endpoint).await;
    let mut raw = service.taken_over().await;
    let denied = ask("deploy", "deploy.example:443");
    let checkpoint = json!({"size": 1, "root": "A".repeat(43) + "="}).to_string();
    let mut refused = 0;
    for _ in 0..30 {
        for _ in 0..100 {
            refused += usize::from(leased(&mut raw, &denied).await.0 == StatusCode::TOO_MANY_REQUESTS);
        }
        assert_eq!(raw.send(Method::GET, "/v1/leases", "").await.0, StatusCode::OK);
        let (status, problem) = raw.send(Method::POST, "/v1/checkpoints", &checkpoint).await;
        assert_ne!(status, StatusCode::TOO_MANY_REQUESTS, "{problem}");
    }
    assert!(refused > 100, "{refused} of 3,000 refused: it was no flood");

    // The same by calls, of a credential whose issuer fails.
    let client = Client::connect(&service.socket).await.unwrap();
    client.register(&agent("bot")).await.unwrap();
    let held = lease(&client).await.unwrap();
    let calling = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(
            async move { while client.lease(&name("down"), &destination("down.example:443")).await.is_err() {} },
        )
    });
    let calling: Vec<_> = calling.collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let brokers = control::brokers(&service.state.path().join("leases")).unwrap();
    let operator = control::connect(&brokers[0]).await.unwrap();
    let told = Instant::now();
    operator.revoke(&Which::Lease(held.id)).await.unwrap();
    client.revoked(&held).await;
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    calling.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_goes_with_its_broker() {
    let endpoint = Endpoint::start().await;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("broker.sock");
    let key = socket.with_extension("sock.key");
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn({
            let (socket, settings) = (socket.clone(), settings(&endpoint));
            async move {
                let stopped = async move { drop(stopped.await) };
                serve_unix(&socket, settings, stopped).await
            }
        });
        soon("the broker serves", || socket.exists()).await;
        let client = Client::connect(&socket).await.unwrap();
        client.register(&agent("bot")).await.unwrap();
        lease(&client).await.unwrap();
        keys.push(fs::read(&key).unwrap());
        stop.send(()).unwrap();
        serving.await.unwrap().unwrap();
        assert!(!key.exists() && !socket.exists());
    }
    assert_ne!(keys[0], keys[1]);
}
