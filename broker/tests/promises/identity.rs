//! Who a worker is, as others see it: as a credential, in exchange for one, and signed with keys that outlive the broker.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use broker::identity::{Claims, verify};
use broker::{Client, Error, Lease, Secret, Settings, serve_connection};
use config::{Credentials, IdentityKeys, SigningAlgorithm, Source};
use http::Method;
use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;

use crate::endpoint::{CLIENT_ID, Endpoint};
use crate::rig::{agent, destination, from_toml, lease, name, serve, soon, worker};
use crate::wire::Raw;

const ISSUER: &str = "https://broker.exeat.internal";
const AUDIENCE: &str = "https://api.example";
const IDENTITIES: &str = "agents = [\"bot\"]\nto = [\"api.example\"]\nin = [\"identity\"]\nissuer = \"identity\"\n";

/// Two credentials that are the worker's identity, signed in both ways.
fn identities() -> Settings {
    from_toml(&format!(
        "[api]\n{IDENTITIES}audience = \"{AUDIENCE}\"\n[other]\n{IDENTITIES}audience = \"https://other.example\"\nalgorithm = \"RS256\"\n"
    ))
}

fn on_disk(path: &Path) -> Settings {
    let mut settings = identities();
    settings.identity.keys = IdentityKeys::File { path: path.to_owned(), rotate: Duration::from_secs(86_400) };
    settings
}

/// What a broker with these settings publishes. It serves one connection, this one.
async fn published(settings: Settings) -> (JwkSet, Value) {
    let (stream, _serving) = serve(settings);
    let mut raw = Raw::over(stream).await;
    let (_, keys) = raw.send(Method::GET, "/.well-known/jwks.json", "").await;
    let (_, discovery) = raw.send(Method::GET, "/.well-known/openid-configuration", "").await;
    (serde_json::from_value(keys).unwrap(), discovery)
}

async fn leased(client: &Client, credential: &str) -> std::sync::Arc<Lease> {
    client.lease(&name(credential), &destination("api.example:443")).await.unwrap()
}

fn claims(jwt: &Secret, keys: &JwkSet, audience: &str) -> Claims {
    verify(jwt.expose(), keys, ISSUER, audience).unwrap()
}

fn algorithm(jwt: &Secret) -> String {
    format!("{:?}", jsonwebtoken::decode_header(jwt.expose()).unwrap().alg)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workers_identity_is_its_credential_signed_as_its_audience_wants_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    let (client, _serving) = worker(on_disk(&file)).await;
    let (api, other) = (leased(&client, "api").await, leased(&client, "other").await);
    assert_eq!((algorithm(&api.secret), algorithm(&other.secret)), ("ES256".to_owned(), "RS256".to_owned()));
    // Another broker that shares the file publishes the same keys.
    let (keys, discovery) = published(on_disk(&file)).await;
    assert_eq!(discovery["id_token_signing_alg_values_supported"], serde_json::json!(["ES256", "RS256"]));
    let (one, two) = (claims(&api.secret, &keys, AUDIENCE), claims(&other.secret, &keys, "https://other.example"));
    assert_eq!(one.sub, two.sub);
    assert_eq!((one.act.sub.as_str(), one.exp - one.iat), ("spiffe://exeat/broker", 300));
    assert_ne!(one.jti, two.jti);
    // Wrong audience, wrong issuer.
    assert!(verify(api.secret.expose(), &keys, ISSUER, "https://other.example").is_err());
    assert!(verify(api.secret.expose(), &keys, "https://broker.example", AUDIENCE).is_err());
    // The next one is had 60 to 90 s before this one ends: at 70 to 80 % of its life, not all workers at the same moment.
    let ahead = api.expires.unwrap().duration_since(api.refresh).unwrap();
    assert!((59..=91).contains(&ahead.as_secs()) && api.is_fresh(SystemTime::now()), "{ahead:?}");
    assert_eq!(leased(&client, "api").await.id, api.id, "until then it is the same");
    // What cannot be revoked is said to stand, and until when.
    let ended = client.end().await.unwrap();
    assert_eq!((ended.revoked.len(), ended.kept.len()), (0, 2));
    assert!(ended.kept.iter().all(|kept| !kept.again && kept.reason.contains("runs out")), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_worker_gets_anothers_identity() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    let ((one, _a), (two, _b)) = (worker(on_disk(&file)).await, worker(on_disk(&file)).await);
    let (keys, _) = published(on_disk(&file)).await;
    let subject = async |client: &Client| claims(&leased(client, "api").await.secret, &keys, AUDIENCE).sub;
    assert_ne!(subject(&one).await, subject(&two).await);
    let (stream, _serving) = serve(on_disk(&file));
    let stranger = Client::from_stream(stream).unwrap();
    stranger.register(&agent("stranger")).await.unwrap();
    assert!(stranger.lease(&name("api"), &destination("api.example:443")).await.is_err());
    assert!(stranger.identity(AUDIENCE).await.is_err(), "the audience of a credential is not one to ask for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_on_disk_are_their_owners_alone_and_sign_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    let (client, serving) = worker(on_disk(&file)).await;
    let before = leased(&client, "api").await;
    drop(client);
    serving.await.unwrap().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (keys, _) = published(on_disk(&file)).await;
    claims(&before.secret, &keys, AUDIENCE);

    for mode in [0o604, 0o640, 0o666] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let refused = serve_connection(theirs, on_disk(&file)).await.unwrap_err();
        assert!(matches!(refused, Error::Keys { .. }), "{mode:o}: {refused}");
    }
    // Deleted, it is made anew: what the old keys signed is no longer vouched for.
    fs::remove_file(&file).unwrap();
    let (keys, _) = published(on_disk(&file)).await;
    assert!(verify(before.secret.expose(), &keys, ISSUER, AUDIENCE).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_the_keys_are_in_memory_and_only_those_that_are_needed() {
    let (client, _serving) = worker(identities()).await;
    let before = leased(&client, "api").await;
    let (keys, _) = published(identities()).await;
    assert!(verify(before.secret.expose(), &keys, ISSUER, AUDIENCE).is_err(), "another broker, other keys");
    assert_eq!(keys.keys.len(), 2);
    let (keys, _) = published(Settings::new(Credentials::default())).await;
    assert_eq!(keys.keys.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_operators_own_keys_the_first_signs_and_all_are_published() {
    let made = || Secret::new(rcgen::KeyPair::generate().unwrap().serialize_pem());
    let given = |es256: &[&str], rs256: &[&str], pems: [Secret; 2]| {
        let mut settings = Settings::new(
            Credentials::parse("/c.toml", &format!("[api]\n{IDENTITIES}audience = \"{AUDIENCE}\"\n")).unwrap(),
        );
        settings.environment.extend(["NEW", "OLD"].map(str::to_owned).into_iter().zip(pems));
        let sources = |names: &[&str]| names.iter().map(|name| Source::Env((*name).to_owned())).collect();
        settings.identity.keys = IdentityKeys::Given { es256: sources(es256), rs256: sources(rs256) };
        settings
    };
    let (new, old) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let pems = || [Secret::new(new.serialize_pem()), Secret::new(old.serialize_pem())];
    let (client, _serving) = worker(given(&["NEW", "OLD"], &[], pems())).await;
    let held = leased(&client, "api").await;
    let (both, _) = published(given(&["NEW", "OLD"], &[], pems())).await;
    assert_eq!(both.keys.len(), 2);
    claims(&held.secret, &both, AUDIENCE);
    let (first, _) = published(given(&["NEW"], &[], pems())).await;
    claims(&held.secret, &first, AUDIENCE);

    let refused = async |mut settings: Settings, algorithm: Option<SigningAlgorithm>| {
        settings.identity.algorithm = algorithm.unwrap_or_default();
        let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        serve_connection(theirs, settings).await.unwrap_err()
    };
    for error in [
        refused(given(&[], &["NEW"], pems()), Some(SigningAlgorithm::Rs256)).await,
        refused(given(&["NEW"], &[], pems()), Some(SigningAlgorithm::Rs256)).await,
        refused(given(&["GONE"], &[], pems()), None).await,
        refused(given(&["NEW"], &[], [Secret::new("no key"), made()]), None).await,
    ] {
        assert!(matches!(error, Error::Keys { .. }), "{error}");
        assert!(!format!("{error:?}").contains("PRIVATE"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorization_server_is_shown_who_the_worker_is_anew_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    for (issuer, field) in [("token-exchange", "subject_token"), ("jwt-bearer", "assertion")] {
        let endpoint = Endpoint::start().await;
        let (url, roots) = (&endpoint.url, endpoint.roots.display());
        let mut settings = from_toml(&format!(
            "[api]\nissuer = \"{issuer}\"\ntoken_endpoint = \"{url}/fetch\"\nidentity_audience = \"{url}\"\nroots = [\"{roots}\"]\n\
             revocation_endpoint = \"{url}/revoke\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = {{ env = \"CLIENT_SECRET\" }}\n\
             algorithm = \"RS256\"\nresource = [\"https://one.example/\", \"https://two.example/\"]\nscope = \"read\"\n\
             agents = [\"bot\"]\nto = [\"api.example\"]\n"
        ));
        settings.identity.keys = IdentityKeys::File { path: file.clone(), rotate: Duration::from_secs(86_400) };
        endpoint.set(|state| state.expires_in = 1.0);
        let (client, serving) = worker(settings).await;
        let first = lease(&client).await.unwrap();
        soon("the next one", || !first.is_valid(SystemTime::now())).await;
        let second = lease(&client).await.unwrap();
        assert_ne!(first.secret.expose(), second.secret.expose());
        let (keys, _) = published(on_disk(&file)).await;
        let forms = endpoint.get(|state| state.forms.clone());
        let shown: Vec<_> = forms.iter().map(|form| claims(&Secret::new(form[field].clone()), &keys, url)).collect();
        assert!(shown.len() >= 2 && shown[0].sub == shown[1].sub && shown[0].jti != shown[1].jti, "{forms:?}");
        assert!(shown[0].sub.starts_with("spiffe://exeat/agent/bot/worker/"));
        assert_eq!(forms[0]["grant_type"], format!("urn:ietf:params:oauth:grant-type:{issuer}"));
        assert_eq!((forms[0]["scope"].as_str(), forms[0]["resource"].as_str()), ("read", "https://two.example/"));
        if issuer == "token-exchange" {
            assert_eq!(forms[0]["subject_token_type"], "urn:ietf:params:oauth:token-type:jwt");
        }
        drop(client);
        serving.await.unwrap().unwrap();
        assert!(endpoint.is_revoked(second.secret.expose()));
    }
}
