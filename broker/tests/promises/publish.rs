//! The HTTPS address: two documents for everybody, and nothing else for anybody.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::{Client, Error, Publish, Settings, serve_unix};
use config::{Credentials, IdentityKeys};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::rig::agent;

struct Published {
    address: SocketAddr,
    tls: TlsConnector,
    directory: TempDir,
    serving: tokio::task::JoinHandle<Result<Vec<broker::ledger::Entry>, Error>>,
}

fn settings(directory: &Path, address: SocketAddr) -> Settings {
    let mut settings = Settings::new(Credentials::default());
    settings.identity.issuer = format!("https://localhost:{}/house", address.port());
    settings.identity.keys = IdentityKeys::File { path: directory.join("keys"), rotate: Duration::from_secs(86_400) };
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    settings.publish = Some(Publish { address, certificate, key });
    settings
}

/// Starts on a port that was free a moment ago, and again on another where it no longer is.
async fn publish() -> Published {
    let directory = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.path().join("cert.pem"), certified.cert.pem()).unwrap();
    fs::write(directory.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(directory.path().join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certified.cert.der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    for attempt in 0.. {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (socket, settings) = (directory.path().join("broker.sock"), settings(directory.path(), address));
        let serving = tokio::spawn(async move { serve_unix(&socket, settings, std::future::pending()).await });
        while !serving.is_finished() {
            if TcpStream::connect(address).await.is_ok() && !serving.is_finished() {
                return Published { address, tls, directory, serving };
            }
            sleep(Duration::from_millis(20)).await;
        }
        assert!(attempt < 5, "{:?}", serving.await.unwrap());
    }
    unreachable!()
}

impl Published {
    /// What comes back for these bytes, until the end.
    async fn say(&self, request: &str) -> String {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let mut stream = self.tls.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        // It may answer before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("an end");
        String::from_utf8(answer).unwrap()
    }

    async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let answer = self.say(&format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

const DISCOVERY: &str = "/house/.well-known/openid-configuration";
const KEYS: &str = "/house/.well-known/jwks.json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifiers_find_the_keys_and_nobody_finds_anything_else() {
    let published = publish().await;
    let (status, discovery) = published.ask("GET", DISCOVERY).await;
    let discovery: Value = serde_json::from_str(&discovery).unwrap();
    let issuer = format!("https://localhost:{}/house", published.address.port());
    assert_eq!(
        (status, &discovery["issuer"], &discovery["jwks_uri"]),
        (200, &issuer.clone().into(), &format!("{issuer}/.well-known/jwks.json").into())
    );
    let (status, keys) = published.ask("GET", KEYS).await;
    let keys: Value = serde_json::from_str(&keys).unwrap();
    let algorithms: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap()).collect();
    assert_eq!((status, algorithms.len()), (200, 2));
    assert!(algorithms.contains(&"ES256") && algorithms.contains(&"RS256"));
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none()));
    assert_eq!(published.ask("HEAD", KEYS).await, (200, String::new()));

    for path in [KEYS, DISCOVERY] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
            assert_eq!(published.ask(method, path).await, (405, String::new()), "{method} {path}");
        }
    }
    for (method, path) in [
        ("POST", "/v1/workers"),
        ("POST", "/v1/leases"),
        ("GET", "/v1/leases"),
        ("GET", "/v1/health"),
        ("GET", "/v1/identity?audience=x"),
        ("DELETE", "/v1/leases/019ac000-0000-7000-8000-000000000000"),
        ("GET", "/"),
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/house/.well-known/jwks.json/"),
        ("GET", "//house/.well-known/jwks.json"),
        ("GET", "/house/../house/.well-known/jwks.json"),
        ("GET", "/house/.well-known/%6awks.json"),
        ("GET", "/house/v1/health"),
    ] {
        assert_eq!(published.ask(method, path).await, (404, String::new()), "{method} {path}");
    }
    // The socket serves on as before.
    let client = Client::connect(&published.directory.path().join("broker.sock")).await.unwrap();
    client.register(&agent("bot")).await.unwrap();
    published.serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_or_is_no_request_ends() {
    let published = publish().await;
    let long = format!("GET {KEYS} HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(64 * 1024));
    let many = format!("GET {KEYS} HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(200));
    for request in [long.as_str(), &many, "\x16\x03\x01 hello\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = published.say(request).await;
        assert!(!answer.contains(" 200 ") && !answer.contains("keys"), "{answer}");
    }
    // One request a connection.
    let twice = format!("GET {KEYS} HTTP/1.1\r\nhost: localhost\r\n\r\n").repeat(2);
    assert_eq!(published.say(&twice).await.matches("HTTP/1.1 200").count(), 1);
    // Without TLS there is nothing.
    let mut plain = TcpStream::connect(published.address).await.unwrap();
    plain.write_all(format!("GET {KEYS} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(30), plain.read_to_end(&mut answer)).await.expect("an end");
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
    published.serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_keeps_others_waiting_for_seconds_at_most() {
    let published = publish().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(published.address).await.unwrap());
    }
    let asked = timeout(Duration::from_secs(60), published.ask("GET", KEYS)).await;
    assert_eq!(asked.expect("an answer in the end").0, 200);
    drop(silent);
    published.serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let published = publish().await;
    published.serving.abort();
    let directory = published.directory.path();
    let refused = async || {
        let taken = settings(directory, "127.0.0.1:0".parse().unwrap());
        let socket = directory.join("second.sock");
        let error = serve_unix(&socket, taken, sleep(Duration::from_secs(5))).await.expect_err("it started");
        assert!(matches!(error, Error::Publish { .. }), "{error}");
    };
    fs::set_permissions(directory.join("key.pem"), fs::Permissions::from_mode(0o604)).unwrap();
    refused().await;
    fs::set_permissions(directory.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(directory.join("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    refused().await;
    fs::write(directory.join("cert.pem"), "no certificate").unwrap();
    refused().await;
}
