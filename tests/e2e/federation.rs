//! Others take the broker's word for who a worker is, by the keys that it publishes, and hold no secret of ours: OpenBao, and an
//! authorization server.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::{Authority, Bao, Exeat, Live, Upstream, free_address, output, within};
use crate::oidc::{CALL, Server};

/// A broker that publishes its keys, for workers of other installations.
pub struct Broker {
    pub team: Exeat,
    pub socket: String,
    pub issuer: String,
    _serving: Live,
}

impl Broker {
    /// Credentials are added once it is known what it is called: each test has a server that has to be told.
    pub fn start(team: Exeat, credentials: impl Fn(Exeat) -> Exeat, address: &str) -> Self {
        let port = address.rsplit_once(':').unwrap().1;
        let issuer = format!("https://localhost:{port}");
        let (certificate, key) = Authority::trusted().identity(&["localhost"]).pem();
        let team = credentials(team.secret("tls-cert.pem", &certificate).secret("tls-key.pem", &key));
        fs::write(
            team.config("broker.toml"),
            format!("[identity]\nissuer = \"{issuer}\"\ntrust_domain = \"house.example\"\n"),
        )
        .unwrap();
        let socket = team.path("broker.sock").to_str().unwrap().to_owned();
        let path = |name: &str| team.config(&format!("secrets/{name}")).to_str().unwrap().to_owned();
        let serving = team.exeat(&[
            "broker",
            "serve",
            "--socket",
            &socket,
            "--https",
            address,
            "--certificate",
            &path("tls-cert.pem"),
            "--key",
            &path("tls-key.pem"),
        ]);
        within(Duration::from_secs(30), "the published keys", || TcpStream::connect(address).is_ok());
        Self { team, socket, issuer, _serving: serving }
    }

    /// One that keeps running while the servers that trust it are started: they have to know its address.
    fn with_identities() -> Self {
        let identity = |name: &str, audience: &str, algorithm: &str| {
            (
                name.to_owned(),
                format!(
                    "issuer = \"identity\"\naudience = \"{audience}\"\nalgorithm = \"{algorithm}\"\nto = [\"api.example.com\"]\n\
                 in = [\"identity\"]\nenv = \"{}\"\n",
                    name.to_uppercase()
                ),
            )
        };
        let both = [
            identity("es256", "the-bao", "ES256"),
            identity("rs256", "the-bao", "RS256"),
            identity("other", "somebody-else", "ES256"),
        ];
        Self::start(
            Exeat::new(),
            |team| both.iter().fold(team, |team, (name, lines)| team.credential(name, lines)),
            &free_address(),
        )
    }

    /// An agent's installation that has no credentials of its own.
    pub fn agent(&self, upstream: &Upstream, credential: &str) -> Exeat {
        let rule = format!("credential = \"{credential}\"");
        Exeat::new().allow_with("api.example.com", upstream, &rule).option(&["--broker", &self.socket])
    }

    /// What an API gets of a worker, by the credential of this name.
    fn shown(&self, credential: &str) -> String {
        let upstream = Upstream::start();
        let call = format!(
            "curl -sSf -H \"Authorization: Bearer ${}\" https://api.example.com/echo",
            credential.to_uppercase()
        );
        let run = self.agent(&upstream, credential).sh(&call).ok();
        let jwt = upstream.only().header("authorization").unwrap()["Bearer ".len()..].to_owned();
        assert!(!run.stdout.contains(&jwt), "it is not inside");
        jwt
    }
}

/// The claims of a JWT, unchecked.
pub fn claims(jwt: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// Has OpenBao trust a broker by what it publishes, and log its workers of the agent `bot` in.
fn federate(bao: &Bao, broker: &Broker) {
    bao.trust(&json!({
        "oidc_discovery_url": broker.issuer, "oidc_discovery_ca_pem": Authority::trusted().pem(), "bound_issuer": broker.issuer,
        "jwt_supported_algs": ["ES256", "RS256"],
    }));
    bao.role(&json!({
        "bound_audiences": ["the-bao"], "bound_claims": {"sub": "spiffe://house.example/agent/bot/worker/*"}, "token_policies": ["default"],
        "token_ttl": "60s", "claim_mappings": {"jti": "jti"},
    }));
}

fn logged_in(bao: &Bao, jwt: &str) -> Value {
    bao.ask("auth/jwt/login", &json!({"role": "bot", "jwt": jwt}))
}

#[test]
fn openbao_logs_a_worker_in_by_discovery_with_either_algorithm() {
    let (broker, bao) = (Broker::with_identities(), Bao::start());
    federate(&bao, &broker);
    for (credential, algorithm) in [("es256", "ES256"), ("rs256", "RS256")] {
        let jwt = broker.shown(credential);
        assert_eq!(head(&jwt)["alg"], algorithm);
        let login = logged_in(&bao, &jwt);
        assert!(login["auth"]["client_token"].is_string(), "{login}");
        let claims = claims(&jwt);
        assert_eq!(login["auth"]["metadata"]["jti"], claims["jti"]);
        assert!(claims["sub"].as_str().unwrap().starts_with("spiffe://house.example/agent/bot/worker/"), "{claims}");
        assert_eq!(claims["act"]["sub"], "spiffe://house.example/broker");
        assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 300);
        // Changed by a letter, it is nobody's.
        let changed = jwt.replacen('.', ".e30", 1);
        assert!(logged_in(&bao, &changed)["auth"].is_null());
    }
    // Meant for somebody else, it is nothing to OpenBao.
    let refused = logged_in(&bao, &broker.shown("other"));
    assert!(refused["auth"].is_null() && refused["errors"].to_string().contains("audience"), "{refused}");
}

#[test]
fn the_keys_are_the_brokers_alone_and_outlive_it() {
    let broker = Broker::with_identities();
    let file = broker.team.state().join("keys/identity.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let jwt = broker.shown("es256");
    let address = broker.issuer.replace("https://localhost", "127.0.0.1");
    let Broker { team, _serving, .. } = broker;
    drop(_serving);
    let bao = Bao::start();
    let again = Broker::start(team, |team| team, &address);
    federate(&bao, &again);
    assert!(
        logged_in(&bao, &jwt)["auth"]["client_token"].is_string(),
        "another broker of the same keys vouches for it"
    );

    // One that others can read is refused, in words.
    let Broker { team, socket, _serving, .. } = again;
    drop(_serving);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let run = team.exeat(&["broker", "serve", "--socket", &socket]).finish().ended_with(125);
    assert!(
        run.stderr.contains("identity.jsonl") && run.stderr.contains("mode 644") && run.stderr.contains("chmod 600"),
        "{run:#?}"
    );
}

/// The head of a JWT, unchecked.
fn head(jwt: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').next().unwrap()).unwrap()).unwrap()
}

#[test]
fn a_key_is_published_before_it_signs_and_the_last_one_for_as_long_as_what_it_signed_lasts() {
    // Two brokers make keys; those of the second are to follow on the first's in some seconds, as if they had been made a day ago.
    let brokers = [Broker::with_identities(), Broker::with_identities()];
    let address = brokers[0].issuer.replace("https://localhost", "127.0.0.1");
    let keys = |broker: &Broker| broker.team.state().join("keys/identity.jsonl");
    let [mut first, next] = brokers.each_ref().map(|broker| fs::read_to_string(keys(broker)).unwrap());
    let takes_over = jiff::Timestamp::now() + Duration::from_secs(20);
    for line in next.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["signs_from"] = json!(takes_over);
        first += &format!("{line}\n");
    }
    let [Broker { team, _serving, .. }, _second] = brokers;
    drop(_serving);
    fs::write(team.state().join("keys/identity.jsonl"), first).unwrap();
    let broker = Broker::start(team, |team| team, &address);
    let bao = Bao::start();
    federate(&bao, &broker);
    let before = broker.shown("es256");
    let published = output(&["curl", "-sSfk", &format!("{}/.well-known/jwks.json", broker.issuer)]);
    assert_eq!(published.matches("\"kid\"").count(), 4, "both of each kind are published: {published}");
    assert!(jiff::Timestamp::now() < takes_over, "the machine was too slow for this test");
    within(Duration::from_secs(30), "the time of the next key", || jiff::Timestamp::now() > takes_over);
    // The broker lives on, and so does OpenBao, which read the keys when neither had signed yet.
    for (credential, algorithm) in [("es256", "ES256"), ("rs256", "RS256")] {
        let after = broker.shown(credential);
        assert!(published.contains(head(&after)["kid"].as_str().unwrap()), "it was not published before it signed");
        assert_eq!(head(&after)["alg"], algorithm);
        assert_ne!(head(&after)["kid"], head(&before)["kid"]);
        let login = logged_in(&bao, &after);
        assert!(login["auth"]["client_token"].is_string(), "{login}");
    }
    let login = logged_in(&bao, &before);
    assert!(login["auth"]["client_token"].is_string(), "what the last key signed no longer holds: {login}");
}

#[test]
fn a_run_with_a_broker_of_its_own_leaves_no_key_anywhere() {
    let upstream = Upstream::start();
    let lines = "issuer = \"identity\"\naudience = \"https://api.example.com\"\nto = [\"api.example.com\"]\nin = [\"identity\"]\nenv = \"API_KEY\"\n";
    let exeat = Exeat::new().credential("me", lines).allow_with("api.example.com", &upstream, "credential = \"me\"");
    exeat.sh("curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo").ok();
    assert!(upstream.only().header("authorization").unwrap().starts_with("Bearer eyJ"));
    assert!(!exeat.state().join("keys").exists());
    // Where the operator says so, they are kept.
    fs::write(exeat.config("broker.toml"), "[identity]\nkeys = \"../state/own-keys\"\n").unwrap();
    exeat.sh("curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo").ok();
    let keys = fs::read_to_string(exeat.state().join("own-keys")).unwrap();
    assert_eq!(keys.matches("PRIVATE KEY").count(), 4, "one of each kind");
    fs::write(exeat.config("broker.toml"), "[identity]\nkey = \"../state/own-keys\"\n").unwrap();
    let run = exeat.exeat(&["check", "--files-only"]).finish();
    assert!(
        run.stdout.contains("broker.toml:2: identity.key") && run.stdout.contains("did you mean `keys`"),
        "{run:#?}"
    );
}

/// An authorization server that trusts a broker, and that broker, which asks it by these lines.
fn exchanging(client: &Value, lines: &str) -> (Server, Broker) {
    let address = free_address();
    let server = Server::start(client, &format!("https://localhost:{}", address.rsplit_once(':').unwrap().1));
    let url = &server.issuer;
    let credential = format!(
        "token_endpoint = \"{url}/token\"\nrevocation_endpoint = \"{url}/token/revocation\"\nclient_id = \"exeat-broker\"\n\
         roots = [\"ca.pem\"]\nto = [\"api.example.com\"]\nenv = \"API_KEY\"\nscope = \"api:read\"\n{lines}"
    );
    let broker = Broker::start(Exeat::new(), |team| team.credential("api", &credential), &address);
    (server, broker)
}

#[test]
fn an_authorization_server_gives_access_for_a_workers_identity_and_takes_it_back() {
    let public = json!({"token_endpoint_auth_method": "none"});
    for (issuer, by, algorithm) in [("token-exchange", "exchange", "RS256"), ("jwt-bearer", "bearer", "ES256")] {
        let lines =
            format!("issuer = \"{issuer}\"\nalgorithm = \"{algorithm}\"\nresource = [\"https://api.example.com/\"]\n");
        let (server, broker) = exchanging(&public, &lines);
        let upstream = Upstream::start();
        let mut live = broker.agent(&upstream, "api").start_with_input(&["sh", "-c", CALL]);
        live.wait_for("called");
        let access = upstream.only().header("authorization").unwrap()["Bearer ".len()..].to_owned();
        let seen = server.introspect(&access);
        assert_eq!((&seen["active"], &seen["aud"]), (&json!(true), &json!("https://api.example.com/")), "{seen}");
        let granted = server.granted();
        let worker = granted[0]["sub"].as_str().unwrap().to_owned();
        assert!(worker.starts_with("spiffe://house.example/agent/bot/worker/"), "{granted:?}");
        assert_eq!((&granted[0]["by"], &granted[0]["alg"]), (&json!(by), &json!(algorithm)));
        assert_eq!(
            (&granted[0]["scope"], &granted[0]["act"]["sub"]),
            (&json!("api:read"), &json!("spiffe://house.example/broker"))
        );
        live.write("go\n");
        assert_eq!(live.finish().ok().log.end().revoked, 1);
        assert!(!server.takes(&access), "it still stands");

        // Another worker is another subject, and shows another JWT: each is taken once.
        let mut other = broker.agent(&Upstream::start(), "api").start_with_input(&["sh", "-c", CALL]);
        other.wait_for("called");
        let granted = server.granted();
        assert!(
            granted.len() == 2 && granted[1]["sub"] != worker.as_str() && granted[1]["jti"] != granted[0]["jti"],
            "{granted:?}"
        );
        other.write("go\n");
        other.finish().ok();
    }
}

#[test]
fn an_identity_for_somebody_else_gets_no_access() {
    let lines = "issuer = \"token-exchange\"\nidentity_audience = \"https://somebody.else.example\"\n";
    let (server, broker) = exchanging(&json!({"token_endpoint_auth_method": "none"}), lines);
    let upstream = Upstream::start();
    let mut live = broker.agent(&upstream, "api").start_with_input(&["sh", "-c", CALL]);
    live.wait_for("called");
    assert!(live.stdout().contains("503") && live.stdout().contains("invalid_grant"), "{}", live.stdout());
    assert!(server.log().contains("aud"), "{}", server.log());
    live.write("go\n");
    live.finish().ok();
    upstream.assert_untouched();
}
