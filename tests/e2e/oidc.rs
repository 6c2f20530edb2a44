//! A certified authorization server, not one of the tests' own: oidc-provider, with client credentials and revocation.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Authority, Exeat, Upstream, node_tools, within};

const SECRET: &str = "the-secret-of-the-client-at-the-real-server";

/// Introspection (RFC 7662) tells the test what the server thinks of an access token.
const SERVER: &str = "
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const [modules, directory, auth, secret] = process.argv.slice(2);
const require = createRequire(modules + '/');
const { Provider, default: fallback } = await import(pathToFileURL(require.resolve('oidc-provider')));
const server = createServer({ cert: readFileSync(directory + '/cert.pem'), key: readFileSync(directory + '/key.pem') });
server.listen(0, '127.0.0.1', () => {
    const issuer = `https://localhost:${server.address().port}`;
    const provider = new (Provider ?? fallback)(issuer, {
        clients: [{
            client_id: 'exeat-broker', client_secret: secret, token_endpoint_auth_method: auth,
            grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: 'api:read',
        }],
        scopes: ['api:read'],
        features: {
            clientCredentials: { enabled: true }, revocation: { enabled: true }, introspection: { enabled: true },
            devInteractions: { enabled: false },
        },
        ttl: { ClientCredentials: 300 },
    });
    server.on('request', provider.callback());
    writeFileSync(directory + '/issuer', issuer);
});
";

struct Server {
    process: Child,
    issuer: String,
    directory: tempfile::TempDir,
}

impl Server {
    fn start(auth: &str) -> Self {
        let modules = node_tools();
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = Authority::trusted().identity(&["localhost"]).pem();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("cert.pem", &certificate);
        write("key.pem", &key);
        write("ca.pem", Authority::trusted().pem());
        write("server.mjs", SERVER);
        let mut command = Command::new("node");
        command.arg(directory.path().join("server.mjs")).arg(modules).arg(directory.path()).args([auth, SECRET]);
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let process = process.unwrap_or_else(|error| panic!("node ({error}): `tests/run` installs it"));
        let mut server = Self { process, issuer: String::new(), directory };
        within(Duration::from_secs(30), "oidc-provider", || {
            server.issuer = fs::read_to_string(server.path("issuer")).unwrap_or_default();
            assert!(
                server.process.try_wait().unwrap().is_none(),
                "{}",
                fs::read_to_string(server.path("log")).unwrap()
            );
            !server.issuer.is_empty()
        });
        server
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.directory.path()).join(name)
    }

    /// Whether the server takes this access token.
    fn takes(&self, access: &str, auth: &str) -> bool {
        let form = format!("token={access}");
        let own = match auth {
            "client_secret_basic" => vec!["-u".to_owned(), format!("exeat-broker:{SECRET}")],
            _ => vec!["-d".to_owned(), format!("client_id=exeat-broker&client_secret={SECRET}")],
        };
        let output = Command::new("curl")
            .args(["-sSf", "--cacert", self.path("ca.pem").to_str().unwrap(), "-d", &form])
            .args(own)
            .arg(format!("{}/token/introspection", self.issuer))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["active"] == true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn exeat(server: &Server, upstream: &Upstream, lines: &str) -> Exeat {
    let issuer = &server.issuer;
    let credential = format!(
        "issuer = \"oauth2-client\"\ntoken_endpoint = \"{issuer}/token\"\nrevocation_endpoint = \"{issuer}/token/revocation\"\n\
         client_id = \"exeat-broker\"\nclient_secret = {{ file = \"secrets/client\" }}\nroots = [\"ca.pem\"]\n\
         to = [\"api.example.com\"]\nenv = \"API_KEY\"\n{lines}"
    );
    Exeat::new().credential("api", &credential).allow_with("api.example.com", upstream, "credential = \"api\"")
}

const CALL: &str = "curl -sS -w '%{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; echo called; read -r go";

#[test]
fn an_access_token_is_used_and_revoked_at_the_end() {
    for (auth, lines) in [
        ("client_secret_basic", "scope = \"api:read\"\n"),
        ("client_secret_post", "scope = \"api:read\"\nauth = \"post\"\n"),
    ] {
        let (server, upstream) = (Server::start(auth), Upstream::start());
        let mut live = exeat(&server, &upstream, lines).secret("client", SECRET).start_with_input(&["sh", "-c", CALL]);
        live.wait_for("called");
        let access = upstream.only().header("authorization").unwrap()["Bearer ".len()..].to_owned();
        assert!(server.takes(&access, auth), "{auth}");
        live.write("go\n");
        assert_eq!(live.finish().ok().log.end().revoked, 1);
        assert!(!server.takes(&access, auth), "{auth}: it still stands");
    }
}

#[test]
fn a_wrong_client_secret_fails_the_call_and_says_why() {
    let (server, upstream) = (Server::start("client_secret_basic"), Upstream::start());
    let run = exeat(&server, &upstream, "").secret("client", "wrong").sh(CALL);
    assert!(run.stdout.contains("503") && run.stdout.contains("invalid_client"), "{run:#?}");
    assert!(!run.stdout.contains("wrong"), "{run:#?}");
    upstream.assert_untouched();
}
