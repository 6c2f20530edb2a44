//! Where long-lived secrets are besides files, variables and commands: with systemd, in the kernel's keyring, at a Vault server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use linux_keyutils::{KeyRing, KeyRingIdentifier};
use serde_json::json;

use crate::harness::{Bao, Exeat, TokenEndpoint, Upstream, assert_nowhere_below, within};
use crate::vault::trusting;

const CALL: &str =
    "curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; echo called; read -r end";
const ONCE: &str = "curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo";

/// A fixed credential that is found there.
fn found(upstream: &Upstream, place: &str) -> Exeat {
    let lines = format!("issuer = \"fixed\"\nvalue = {place}\nto = [\"api.example.com\"]\nenv = \"API_KEY\"\n");
    Exeat::new().credential("api", &lines).allow_with("api.example.com", upstream, "credential = \"api\"")
}

#[test]
fn what_systemd_gave_to_the_unit() {
    let upstream = Upstream::start();
    let exeat = found(&upstream, "{ systemd = \"api-key\" }");
    // As systemd makes it: a directory and files that are the unit's user's alone to read.
    let directory = exeat.path("credentials");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("api-key");
    fs::write(&file, "secret-of-the-unit").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    let run = exeat.sh(ONCE).ok();
    assert!(run.stdout.contains("no variable `CREDENTIALS_DIRECTORY`"), "{run:#?}");
    let exeat = exeat.environment("CREDENTIALS_DIRECTORY", directory.to_str().unwrap());
    exeat.sh(ONCE).ok();
    assert_eq!(upstream.only().header("authorization"), Some("Bearer secret-of-the-unit"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    let run = exeat.sh(ONCE).ok();
    assert!(run.stdout.contains("503") && run.stdout.contains("every user of the machine can read"), "{run:#?}");
}

#[test]
fn a_key_in_the_kernels_keyring() {
    let upstream = Upstream::start();
    let description = format!("exeat-e2e:{}", std::process::id());
    let exeat = found(&upstream, &format!("{{ keyring = \"user:{description}\" }}"));
    let run = exeat.sh(ONCE).ok();
    assert!(
        run.stdout.contains("503") && run.stdout.contains("neither the session's keyring nor the user's"),
        "{run:#?}"
    );
    let ring = KeyRing::from_special_id(KeyRingIdentifier::User, false).unwrap();
    let key = ring.add_key(&*description, b"secret-of-the-keyring").unwrap();
    let run = exeat.sh(ONCE);
    // As a service: its session has no link to the keyring of its user.
    let exeat = exeat.through(&["keyctl", "session", "-"]);
    let service = exeat.sh(ONCE);
    key.invalidate().unwrap();
    run.ok();
    service.ok();
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    for call in seen {
        assert_eq!(call.header("authorization"), Some("Bearer secret-of-the-keyring"));
    }
}

#[test]
fn a_clients_secret_is_at_a_vault_server_and_nowhere_else() {
    let (bao, upstream, issuer) = (Bao::start(), Upstream::start(), TokenEndpoint::start(300));
    let lines = issuer.lines().replace(
        "{ file = \"secrets/client\" }",
        &format!(
            "{{ vault = {{ address = \"{}\", role = \"broker\", path = \"secret/data/team/client\", field = \"secret\" }} }}",
            bao.address
        ),
    );
    let lines = format!("{lines}to = [\"api.example.com\"]\nenv = \"API_KEY\"\n");
    let exeat = Exeat::new().credential("api", &lines).allow_with("api.example.com", &upstream, "credential = \"api\"");
    trusting(&bao, &exeat);
    bao.done(
        "sys/policies/acl/broker",
        &json!({"policy": "path \"secret/data/team/client\" { capabilities = [\"read\"] }"}),
    );
    let says = |subject: &str| {
        bao.done(
            "auth/jwt/role/broker",
            &json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": [bao.address], "bound_subject": subject,
                    "token_policies": ["broker"], "token_ttl": "60s"}),
        );
    };
    says("spiffe://house.example/broker");
    bao.done("secret/data/team/client", &json!({"data": {"secret": TokenEndpoint::SECRET, "id": "exeat-broker"}}));
    let mut live = exeat.start_with_input(&["sh", "-c", CALL]);
    live.wait_for("called");
    let access = upstream.only().header("authorization").unwrap()["Bearer ".len()..].to_owned();
    assert_eq!(issuer.issued(), [access]);
    // The revocation reads it once more.
    live.write("go\n");
    let run = live.finish().ok();
    assert!(issuer.all_revoked());
    assert!(!run.stdout.contains(TokenEndpoint::SECRET) && !run.stderr.contains(TokenEndpoint::SECRET));
    assert_nowhere_below(&exeat.state(), &[TokenEndpoint::SECRET]);
    let logins = || bao.list("auth/token/accessors").len() - 1;
    within(Duration::from_secs(10), "no login left", || logins() == 0);

    // Who is not the broker gets nothing: not even its workers.
    says("spiffe://house.example/agent/bot");
    let run = exeat.sh(ONCE).ok();
    assert!(run.stdout.contains("503") && run.stdout.contains("cannot read it at its Vault server"), "{run:#?}");
    says("spiffe://house.example/broker");
    bao.done("secret/data/team/client", &json!({"data": {"another": TokenEndpoint::SECRET}}));
    let run = exeat.sh(ONCE).ok();
    assert!(run.stdout.contains("503") && run.stdout.contains("it has no such field"), "{run:#?}");
    assert!(!run.stdout.contains(TokenEndpoint::SECRET));
    assert_eq!(logins(), 0);
}
