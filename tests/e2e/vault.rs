//! A password that OpenBao makes for one worker at a real PostgreSQL: used while the worker runs, renewed, and gone with it, however it
//! ends; and what lies in a key-value store.

use std::time::Duration;

use broker::ledger::{Entry, State};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::{Bao, Exeat, Live, Postgres, Upstream, assert_nowhere_below, output, within};

/// For a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// A call for each line of input, until it ends.
const CALLS: &str = "while read -r go; do
    curl -sS -o /dev/null -w 'called %{http_code} ' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; done";
const POLICY: &str = "path \"database/creds/*\" { capabilities = [\"read\"] }
    path \"secret/data/team/*\" { capabilities = [\"read\"] }
    path \"sys/leases/revoke\" { capabilities = [\"update\"] }";

/// Has OpenBao trust the brokers of an installation, by a key of the installation's.
pub fn trusting(bao: &Bao, exeat: &Exeat) {
    let key = exeat.config("secrets/identity.pem").to_str().unwrap().to_owned();
    output(&["openssl", "genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
    let public = output(&["openssl", "pkey", "-in", &key, "-pubout"]);
    std::fs::write(
        exeat.config("broker.toml"),
        "[identity]\ntrust_domain = \"house.example\"\nes256 = [{ file = \"secrets/identity.pem\" }]\n",
    )
    .unwrap();
    bao.trust(&json!({"jwt_validation_pubkeys": [public], "jwt_supported_algs": ["ES256"]}));
}

/// OpenBao, which trusts the key of the installation and gives its agent what `POLICY` says.
struct House {
    bao: Bao,
    exeat: Exeat,
    upstream: Upstream,
}

impl House {
    /// One whose agent reads this.
    fn start(lines: &str) -> Self {
        let (bao, upstream) = (Bao::start(), Upstream::start());
        let exeat = Exeat::new().limit(Duration::from_secs(150));
        trusting(&bao, &exeat);
        bao.done("sys/policies/acl/bot", &json!({ "policy": POLICY }));
        let credential = format!(
            "issuer = \"vault\"\naddress = \"{}\"\nrole = \"bot\"\n{lines}\nto = [\"api.example.com\"]\nenv = \"API_KEY\"\n",
            bao.address
        );
        let exeat =
            exeat.credential("api", &credential).allow_with("api.example.com", &upstream, "credential = \"api\"");
        let house = Self { bao, exeat, upstream };
        house.admits(&json!({"token_ttl": "10m"}));
        house
    }

    /// Its logins are for workers of the agent, with this beside it.
    fn admits(&self, more: &serde_json::Value) {
        let mut role = json!({
            "bound_audiences": [self.bao.address], "bound_claims": {"sub": "spiffe://house.example/agent/bot/worker/*"},
            "token_policies": ["bot"],
        });
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.bao.role(&role);
    }

    /// A worker that has made a call.
    fn calling(&self) -> Live {
        let mut live = self.exeat.start_with_input(&["sh", "-c", CALLS]);
        live.write("go\n");
        live.wait_for("called 200");
        live
    }

    /// What came as the credential of the last call.
    fn credential(&self) -> String {
        self.upstream.seen().last().unwrap().header("authorization").unwrap()["Bearer ".len()..].to_owned()
    }

    /// The logins that stand, besides the test's own.
    fn logins(&self) -> usize {
        self.bao.list("auth/token/accessors").len() - 1
    }
}

/// PostgreSQL, in which OpenBao makes roles that last so long.
fn database(house: &House, ttl: &str, max_ttl: &str) -> Postgres {
    let postgres = Postgres::start();
    house.bao.done("sys/mounts/database", &json!({"type": "database"}));
    let (username, password) = Postgres::ADMIN;
    house.bao.done(
        "database/config/house",
        &json!({"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": postgres.url(),
                "username": username, "password": password}),
    );
    house.bao.done(
        "database/roles/readonly",
        &json!({"db_name": "house", "default_ttl": ttl, "max_ttl": max_ttl, "creation_statements":
                "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"}),
    );
    postgres
}

const DYNAMIC: &str = "read = \"database/creds/readonly\"\nfield = \"password\"";

#[test]
fn a_password_made_for_the_worker_is_gone_with_it() {
    let house = House::start(DYNAMIC);
    let postgres = database(&house, "10m", "1h");
    let mut live = house.calling();
    let (password, roles) = (house.credential(), postgres.roles());
    assert_eq!(roles.len(), 1, "{roles:?}");
    assert!(postgres.takes(&roles[0], &password) && !postgres.takes(&roles[0], "another"));
    assert!(!live.stdout().contains(&password));
    // Another worker has another one; the first goes on with its own.
    let other = house.calling();
    assert_ne!(house.credential(), password);
    assert_eq!((postgres.roles().len(), house.logins()), (2, 2));
    live.write("go\n");
    within(SOON, "another call", || house.credential() == password);
    let shown = house.exeat.exeat(&["leases", "--json"]).finish().ok().json();
    assert!(shown[0]["revocation"].as_str().unwrap().contains(&house.bao.address), "{shown}");
    drop(other);
    live.signal(Signal::TERM);
    within(SOON, "both roles gone", || postgres.roles().is_empty() && house.logins() == 0);
    assert!(!postgres.takes(&roles[0], &password));
    within(SOON, "both leases revoked", || house.exeat.leases().iter().all(|lease| lease.state == State::Revoked));
    assert_nowhere_below(&house.exeat.state(), &[&password]);
}

#[test]
fn a_lease_is_renewed_under_its_name_until_the_servers_limit() {
    let house = House::start(DYNAMIC);
    let postgres = database(&house, "6s", "16s");
    // The login is shorter still: both are renewed.
    house.admits(&json!({"token_ttl": "5s", "token_max_ttl": "1h"}));
    let mut live = house.calling();
    let password = house.credential();
    let role = postgres.roles().remove(0);
    let mut latest: Option<Entry> = None;
    within(SOON, "another password", || {
        std::thread::sleep(Duration::from_millis(500));
        live.write("go\n");
        let leases = house.exeat.leases();
        if house.credential() == password && leases.len() == 1 {
            assert_eq!(postgres.roles(), [&*role], "a renewal makes none");
            let taken = postgres.takes(&role, &password);
            // On a machine that stood still it may be over by now.
            assert!(taken || leases[0].expires < Some(jiff::Timestamp::now()), "{leases:?}");
            latest = Some(leases[0].clone());
        }
        house.credential() != password
    });
    let (latest, leases) = (latest.unwrap(), house.exeat.leases());
    let lasted = latest.changed.duration_since(latest.asked);
    assert_eq!(leases.len(), 2, "{leases:?}");
    assert_eq!(leases[0].lease, latest.lease);
    // Seen long after the first end, which was 5 s after it was asked for; its last is not beyond the server's limit.
    let last_end = leases[0].expires.unwrap().duration_since(latest.asked).as_secs();
    assert!((10..=17).contains(&last_end), "{last_end} s, {lasted}");
    assert!(!live.stdout().contains("503"), "{}", live.stdout());
    drop(live);
    within(SOON, "no role left", || postgres.roles().is_empty());
}

#[test]
fn what_a_killed_broker_had_is_revoked_by_the_next() {
    let house = House::start(DYNAMIC);
    let postgres = database(&house, "10m", "1h");
    let live = house.calling();
    let (password, broker): (String, Pid) = (house.credential(), live.broker());
    kill_process(broker, Signal::KILL).unwrap();
    live.signal(Signal::KILL);
    drop(live);
    within(SOON, "the broker gone", || house.exeat.has_no_broker());
    assert_eq!((postgres.roles().len(), house.logins()), (1, 1));
    assert!(house.exeat.last_lease_is(State::Leased));
    assert_nowhere_below(&house.exeat.state(), &[&password]);
    house.exeat.sh("true").ok();
    within(SOON, "revoked", || postgres.roles().is_empty() && house.logins() == 0);
    within(SOON, "the lease revoked", || house.exeat.last_lease_is(State::Revoked));
    assert_eq!(house.exeat.leases().len(), 1);
}

#[test]
fn a_revocation_waits_for_the_database() {
    let house = House::start(DYNAMIC);
    let postgres = database(&house, "10m", "1h");
    let live = house.calling();
    let role = postgres.roles().remove(0);
    // A role that owns something cannot be dropped.
    postgres.run("CREATE TABLE held ()");
    postgres.run(&format!("ALTER TABLE held OWNER TO \"{role}\""));
    live.signal(Signal::KILL);
    drop(live);
    within(SOON, "the lease kept", || house.exeat.last_lease_is(State::Kept));
    let shown = house.exeat.exeat(&["leases", "--json"]).finish().ok().json();
    assert!(shown[0]["reason"].as_str().unwrap().contains("sys/leases/revoke answered"), "{shown}");
    assert_eq!(postgres.roles(), [&*role]);
    postgres.run("DROP TABLE held");
    within(SOON, "revoked", || postgres.roles().is_empty() && house.exeat.last_lease_is(State::Revoked));
    assert_eq!(house.logins(), 0);
}

#[test]
fn a_login_that_may_not_revoke_leases_takes_them_with_it_and_one_that_is_gone_has_ended() {
    let house = House::start(DYNAMIC);
    let postgres = database(&house, "10m", "1h");
    house
        .bao
        .done("sys/policies/acl/bot", &json!({"policy": "path \"database/creds/*\" { capabilities = [\"read\"] }"}));
    let live = house.calling();
    live.signal(Signal::TERM);
    live.finish();
    within(SOON, "no role left", || postgres.roles().is_empty() && house.logins() == 0);
    assert!(house.exeat.last_lease_is(State::Revoked));

    // Somebody else ended the login meanwhile.
    let live = house.calling();
    let accessors = house.bao.list("auth/token/accessors");
    for accessor in accessors {
        let found = house.bao.ask("auth/token/lookup-accessor", &json!({ "accessor": accessor }));
        if found["data"]["path"] == "auth/jwt/login" {
            house.bao.ask("auth/token/revoke-accessor", &json!({ "accessor": accessor }));
        }
    }
    live.signal(Signal::TERM);
    live.finish();
    assert!(house.exeat.last_lease_is(State::Revoked), "{:?}", house.exeat.leases());

    // A login without the policy that lets it end itself: that is said, not hidden.
    house.admits(&json!({"token_ttl": "10m", "token_no_default_policy": true}));
    let live = house.calling();
    live.signal(Signal::TERM);
    live.finish();
    assert!(house.exeat.last_lease_is(State::Kept), "{:?}", house.exeat.leases());
    let reason = house.exeat.leases().pop().unwrap().reason.unwrap();
    assert!(reason.contains("revoke-self answered 403 (permission denied"), "{reason}");
}

#[test]
fn what_lies_in_a_store_is_read_anew_and_leaves_no_login_behind() {
    let house = House::start("read = \"secret/data/team/api-key\"\nfield = \"key\"");
    house.bao.done("secret/data/team/api-key", &json!({"data": {"key": "first-value-of-the-key", "owner": "team"}}));
    let mut live = house.calling();
    assert_eq!(house.credential(), "first-value-of-the-key");
    assert_eq!(house.logins(), 0);
    assert_nowhere_below(&house.exeat.state(), &["first-value-of-the-key"]);
    house.bao.done("secret/data/team/api-key", &json!({"data": {"key": "second-value", "owner": "team"}}));
    // Read again within a minute.
    within(Duration::from_secs(80), "the rotated value", || {
        live.write("go\n");
        std::thread::sleep(Duration::from_secs(1));
        house.credential() == "second-value"
    });
    let leases = house.exeat.leases();
    let states: Vec<State> = leases.iter().map(|lease| lease.state).collect();
    assert_eq!(states, [State::Returned, State::Leased], "{leases:?}");
    assert_eq!(house.logins(), 0);
    live.signal(Signal::TERM);
    live.finish();
    let last = house.exeat.leases().pop().unwrap();
    assert_eq!(last.state, State::Returned);
    assert!(last.reason.unwrap().contains("rotated"));
}

#[test]
fn what_cannot_be_had_fails_the_call_in_words_and_leaves_no_login_behind() {
    let house = House::start("read = \"secret/data/team/api-key\"");
    let says = |words: &str| {
        let run = house.exeat.sh("curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo");
        assert!(run.stdout.contains("503") && run.stdout.contains(words), "{words}: {run:#?}");
        assert!(!run.stdout.contains("hunter2"), "{run:#?}");
        assert_eq!(house.logins(), 0);
    };
    says("answered 404");
    house.bao.done("secret/data/team/api-key", &json!({"data": {"a": "hunter2", "b": "hunter2"}}));
    says("name the credential's by `field`");
    house.bao.done("secret/data/team/api-key", &json!({"data": {"a": "hunter2\nhunter2"}}));
    says("a line break");
    house
        .bao
        .done("sys/policies/acl/bot", &json!({"policy": "path \"secret/data/other\" { capabilities = [\"read\"] }"}));
    says("answered 403 (permission denied");
    house.admits(&json!({"token_type": "batch"}));
    says("batch token");
    house.admits(&json!({"bound_audiences": ["somebody-else"]}));
    says("see `identity_audience`");
    house.admits(&json!({"bound_claims": {"sub": "spiffe://house.example/agent/other/*"}}));
    says("the claims of the identity");
    house.upstream.assert_untouched();
    let open: Vec<_> = house.exeat.leases().into_iter().filter(|lease| lease.state != State::Refused).collect();
    // Of the batch token nobody knows the end: it cannot be taken back.
    assert_eq!(open.iter().map(|lease| lease.state).collect::<Vec<_>>(), [State::Unanswered], "{open:?}");
}
