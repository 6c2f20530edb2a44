//! Google and Azure take the broker's word for who a worker is, by the keys that it publishes. Against fakes of both, which verify what they
//! are shown: there are no real ones for tests.

use broker::ledger::State;
use serde_json::json;

use crate::federation::Broker;
use crate::harness::{Exeat, FakeCloud, Run, Upstream, free_address};

/// A broker that is trusted by the fakes, with the credential `api` by these lines.
fn trusted(lines: impl Fn(&FakeCloud) -> String) -> (FakeCloud, Broker) {
    let address = free_address();
    let cloud = FakeCloud::start(&format!("https://localhost:{}", address.rsplit_once(':').unwrap().1));
    let lines = format!("{}to = [\"api.example.com\"]\nenv = \"API_KEY\"\n", lines(&cloud));
    let broker = Broker::start(Exeat::new(), |team| team.credential("api", &lines), &address);
    (cloud, broker)
}

/// A call with the credential, and what the API saw of it.
fn call(broker: &Broker) -> (Run, String) {
    let upstream = Upstream::start();
    let call = "curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo";
    let run = broker.agent(&upstream, "api").sh(call).ok();
    let shown = upstream.only().header("authorization").unwrap()["Bearer ".len()..].to_owned();
    assert!(!run.stdout.contains(&shown), "it is not inside");
    (run, shown)
}

/// What a call is told for which there is no credential.
fn refusal(broker: &Broker) -> String {
    let upstream = Upstream::start();
    let call = "curl -sS -w '%{http_code}' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo";
    let run = broker.agent(&upstream, "api").sh(call).ok();
    upstream.assert_untouched();
    assert!(run.stdout.ends_with("503") && !run.stdout.contains("sesame"), "{run:#?}");
    run.stdout
}

/// What the ledger says of the last lease when its worker has ended.
fn kept(broker: &Broker, run: &Run, said: &str) {
    assert_eq!((run.log.end().revoked, run.log.end().kept), (0, 1));
    let entry = broker.team.leases().pop().unwrap();
    assert!(entry.state == State::Kept && entry.reason.as_ref().unwrap().contains(said), "{entry:?}");
}

#[test]
fn google_gives_access_for_a_workers_identity() {
    for (algorithm, lines) in [("ES256", ""), ("RS256", "algorithm = \"RS256\"\n")] {
        let (cloud, broker) = trusted(|cloud| cloud.google() + lines);
        let (run, shown) = call(&broker);
        let granted = cloud.granted();
        assert_eq!((granted.len(), &granted[0].access), (1, &shown), "{:?}", cloud.refusals());
        assert_eq!(granted[0].shown.0["alg"], algorithm);
        assert_eq!(granted[0].shown.1["act"]["sub"], "spiffe://house.example/broker");
        let scope = "https://www.googleapis.com/auth/devstorage.read_only https://www.googleapis.com/auth/pubsub";
        assert_eq!(granted[0].form["scope"], scope);
        kept(&broker, &run, "Google revokes no access");
    }
}

#[test]
fn google_gives_a_service_accounts_access_for_a_quarter_of_an_hour() {
    let (cloud, broker) = trusted(FakeCloud::google_account);
    let (run, shown) = call(&broker);
    let granted = cloud.granted();
    assert_eq!((granted.len(), &granted[1].access), (2, &shown), "{:?}", cloud.refusals());
    let scopes = ["https://www.googleapis.com/auth/devstorage.read_only", "https://www.googleapis.com/auth/pubsub"];
    assert_eq!(granted[1].form["scope"], json!(scopes).to_string());
    assert_eq!(granted[1].form["lifetime"], "\"900s\"");
    kept(&broker, &run, "Google revokes no access");
    let entry = broker.team.leases().pop().unwrap();
    let life = entry.expires.unwrap().duration_since(entry.asked);
    assert!((890..=901).contains(&life.as_secs()), "{entry:?}");
    assert!(entry.scope.contains("bot@project.iam.gserviceaccount.com"), "{entry:?}");
}

#[test]
fn entra_gives_an_application_access_for_its_agents_identity() {
    let (cloud, broker) = trusted(FakeCloud::azure);
    let (run, shown) = call(&broker);
    let granted = cloud.granted();
    assert_eq!((granted.len(), &granted[0].access), (1, &shown), "{:?}", cloud.refusals());
    assert_eq!(granted[0].form["scope"], "https://storage.azure.com/.default");
    assert_eq!(granted[0].shown.0["alg"], "RS256");
    kept(&broker, &run, "Entra revokes no access");
}

#[test]
fn an_identity_for_somebody_else_gets_nothing_of_a_cloud() {
    let other = "identity_audience = \"https://somebody.else.example\"\n";
    for lines in [FakeCloud::google, FakeCloud::google_account, FakeCloud::azure] {
        let (cloud, broker) = trusted(|cloud| lines(cloud) + other);
        let told = refusal(&broker);
        assert!(told.contains("400 invalid_grant"), "{told}");
        assert!(cloud.granted().is_empty() && cloud.refusals() == ["another audience"], "{:?}", cloud.refusals());
    }
}

#[test]
fn an_answer_of_a_cloud_that_cannot_be_used_is_no_credential_and_none_of_its_words_are_repeated() {
    let (cloud, broker) = trusted(FakeCloud::google_account);
    let (good, over) = ("\"accessToken\": \"sesame\"", "\"expireTime\": \"2001-01-01T00:00:00Z\"");
    for (path, status, body, said) in [
        (":generateAccessToken", 403, "{\"error\": {\"message\": \"sesame\"}}", "may not stand for"),
        (":generateAccessToken", 404, "sesame", "no such service account"),
        (":generateAccessToken", 500, "sesame", "answered 500"),
        (":generateAccessToken", 200, "sesame", "not the JSON"),
        (":generateAccessToken", 200, &format!("{{{good}}}"), "no `expireTime`"),
        (":generateAccessToken", 200, &format!("{{{good}, {over}}}"), "clock"),
        ("/token", 200, "{\"access_token\": \"sesame\", \"token_type\": \"N_A\"}", "not Bearer"),
        ("/token", 401, "{\"error\": \"sesame\"}", "answered 401"),
    ] {
        cloud.set_broken(path, status, body);
        let told = refusal(&broker);
        assert!(told.contains(said), "{said}: {told}");
    }
}
