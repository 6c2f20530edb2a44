//! A certified authorization server, not one of the tests' own: oidc-provider. Client credentials, client authentication and
//! revocation are its own; what it lacks is registered there by `oidc/server.mjs`, which says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Authority, Exeat, Upstream, node_tools, output, within};

const SECRET: &str = "the-secret-of-the-client-at-the-real-server";

/// The server, as a process.
pub struct Server {
    process: Child,
    pub issuer: String,
    directory: tempfile::TempDir,
}

impl Server {
    /// One at which the broker is this client, and which finds the broker's keys by discovery at `broker`.
    pub fn start(client: &Value, broker: &str) -> Self {
        let modules = node_tools();
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = Authority::trusted().identity(&["localhost"]).pem();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("cert.pem", &certificate);
        write("key.pem", &key);
        write("ca.pem", Authority::trusted().pem());
        write("server.mjs", include_str!("oidc/server.mjs"));
        let mut command = Command::new("node");
        // The tests' servers listen on 127.0.0.1.
        command
            .arg("--dns-result-order=ipv4first")
            .arg(directory.path().join("server.mjs"))
            .arg(modules)
            .arg(directory.path());
        command.arg(client.to_string()).arg(broker).env("NODE_EXTRA_CA_CERTS", directory.path().join("ca.pem"));
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let process = process.unwrap_or_else(|error| panic!("node ({error}): `tests/run` installs it"));
        let mut server = Self { process, issuer: String::new(), directory };
        within(Duration::from_secs(30), "oidc-provider", || {
            server.issuer = fs::read_to_string(server.path("issuer")).unwrap_or_default();
            assert!(server.process.try_wait().unwrap().is_none(), "{}", server.log());
            !server.issuer.is_empty()
        });
        server
    }

    /// What it printed: why it refused.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// What its custom grants gave, and to whom.
    pub fn granted(&self) -> Vec<Value> {
        let granted = fs::read_to_string(self.path("granted")).unwrap_or_default();
        granted.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }

    /// What the server says of an access token, to the API that was shown it (RFC 7662).
    pub fn introspect(&self, access: &str) -> Value {
        let (ca, endpoint) = (self.path("ca.pem"), format!("{}/token/introspection", self.issuer));
        let form = format!("token={access}");
        let answer = output(&[
            "curl",
            "-sSf",
            "--cacert",
            ca.to_str().unwrap(),
            "-u",
            "api:the-secret-of-the-api",
            "-d",
            &form,
            &endpoint,
        ]);
        serde_json::from_str(&answer).unwrap()
    }

    /// Whether the server takes this access token.
    pub fn takes(&self, access: &str) -> bool {
        self.introspect(access)["active"] == true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A broker that is the server's client, by these lines of the credential.
fn exeat(server: &Server, upstream: &Upstream, lines: &str) -> Exeat {
    let issuer = &server.issuer;
    let credential = format!(
        "issuer = \"oauth2-client\"\ntoken_endpoint = \"{issuer}/token\"\nrevocation_endpoint = \"{issuer}/token/revocation\"\n\
         client_id = \"exeat-broker\"\nroots = [\"ca.pem\"]\nto = [\"api.example.com\"]\nenv = \"API_KEY\"\n{lines}"
    );
    Exeat::new().credential("api", &credential).allow_with("api.example.com", upstream, "credential = \"api\"")
}

/// The client by its secret.
fn with_secret(auth: &str) -> Value {
    json!({"client_secret": SECRET, "token_endpoint_auth_method": auth})
}

const NOBODY: &str = "https://no.broker.example";
const CLIENT_SECRET: &str = "client_secret = { file = \"secrets/client\" }\n";
pub const CALL: &str = "curl -sS -w '%{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; echo called; read -r go";

/// Calls, gives what the upstream saw, and ends; by then the credential is revoked.
fn called_and_revoked(exeat: &Exeat, server: &Server, upstream: &Upstream) -> Value {
    let mut live = exeat.start_with_input(&["sh", "-c", CALL]);
    live.wait_for("called");
    assert!(live.stdout().contains("200"), "{} {}", live.stdout(), server.log());
    let access = upstream.only().header("authorization").unwrap()["Bearer ".len()..].to_owned();
    let seen = server.introspect(&access);
    assert!(seen["active"] == true, "{seen} {}", server.log());
    live.write("go\n");
    assert_eq!(live.finish().ok().log.end().revoked, 1);
    assert!(!server.takes(&access), "it still stands");
    seen
}

#[test]
fn an_access_token_is_used_and_revoked_at_the_end() {
    for (auth, lines) in [
        ("client_secret_basic", "scope = \"api:read\"\n"),
        ("client_secret_post", "scope = \"api:read\"\nauth = \"post\"\n"),
    ] {
        let (server, upstream) = (Server::start(&with_secret(auth), NOBODY), Upstream::start());
        let exeat = exeat(&server, &upstream, &format!("{CLIENT_SECRET}{lines}")).secret("client", SECRET);
        assert_eq!(called_and_revoked(&exeat, &server, &upstream)["scope"], "api:read", "{auth}");
    }
}

#[test]
fn a_client_shows_a_key_instead_of_a_secret_and_names_the_service() {
    let keys = tempfile::tempdir().unwrap();
    let file = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    // The older form of a P-256 key, and RSA in PKCS #8.
    output(&["openssl", "ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", &file("ES256")]);
    output(&[
        "openssl",
        "genpkey",
        "-quiet",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
        &file("RS256"),
    ]);
    for (algorithm, key_id, named) in [
        ("ES256", Value::Null, ""),
        ("RS256", json!("2026-11"), "key_id = \"2026-11\"\n"),
        ("RS256", json!("2026-11"), ""),
    ] {
        let client = json!({
            "key_id": key_id,
            "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": algorithm, "key_file": file(algorithm),
        });
        let (server, upstream) = (Server::start(&client, NOBODY), Upstream::start());
        let lines = format!(
            "private_key = {{ file = \"secrets/key\" }}\nresource = [\"https://api.example.com/\"]\nscope = \"api:read\"\n{named}"
        );
        let exeat = exeat(&server, &upstream, &lines).secret("key", &fs::read_to_string(file(algorithm)).unwrap());
        let seen = called_and_revoked(&exeat, &server, &upstream);
        assert_eq!((&seen["aud"], &seen["client_id"]), (&json!("https://api.example.com/"), &json!("exeat-broker")));
    }
}

#[test]
fn a_key_that_is_not_the_clients_fails_the_call_and_says_why() {
    let keys = tempfile::tempdir().unwrap();
    let file = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    for name in ["own", "other"] {
        output(&["openssl", "ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", &file(name)]);
    }
    let client = json!({"token_endpoint_auth_method": "private_key_jwt", "key_file": file("own")});
    let (server, upstream) = (Server::start(&client, NOBODY), Upstream::start());
    let lines = "private_key = { file = \"secrets/key\" }\n";
    let run = exeat(&server, &upstream, lines).secret("key", &fs::read_to_string(file("other")).unwrap()).sh(CALL);
    assert!(run.stdout.contains("503") && run.stdout.contains("invalid_client"), "{run:#?}");
    let run = exeat(&server, &upstream, lines).secret("key", "no key at all").sh(CALL);
    assert!(run.stdout.contains("503") && run.stdout.contains("not a private key"), "{run:#?}");
    upstream.assert_untouched();
}

#[test]
fn a_wrong_client_secret_fails_the_call_and_says_why() {
    let (server, upstream) = (Server::start(&with_secret("client_secret_basic"), NOBODY), Upstream::start());
    let run = exeat(&server, &upstream, CLIENT_SECRET).secret("client", "the-wrong-secret").sh(CALL);
    assert!(run.stdout.contains("503") && run.stdout.contains("invalid_client"), "{run:#?}");
    assert!(!run.stdout.contains("wrong"), "{run:#?}");
    upstream.assert_untouched();
}
