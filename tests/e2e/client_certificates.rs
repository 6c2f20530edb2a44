//! An upstream that asks who calls is shown the certificate of the rule that lets the call out, and of no other.

use std::fs;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::harness::{Authority, Exeat, Identity, RawUpstream, within};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SHOWN: &str =
    "client_certificate = { certificate = \"../secrets/client.pem\", key = \"../secrets/client-key.pem\" }";

fn client(authority: &Authority) -> Identity {
    authority.identity_with(&["client.example.com"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    })
}

fn upstream(clients: &Authority, versions: &[&'static SupportedProtocolVersion], also_without: bool) -> RawUpstream {
    let identity = Authority::trusted().identity(&["api.example.com"]);
    RawUpstream::with(identity.configuration_for_clients(clients, versions, also_without), OK)
}

/// An agent that may call the upstream, with this identity in its files.
fn exeat(upstream: &RawUpstream, shown: &Identity, lines: &str) -> Exeat {
    let (certificate, key) = shown.pem();
    Exeat::new()
        .secret("client.pem", &certificate)
        .secret("client-key.pem", &key)
        .rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"\n{lines}", upstream.dial()))
}

const CALL: &[&str] = &["curl", "-sS", "-w", "%{stderr}%{http_code}", "https://api.example.com/"];

#[test]
fn an_upstream_that_asks_is_shown_the_rules_certificate() {
    let clients = Authority::new("clients");
    for versions in [&[&TLS12], &[&TLS13]] {
        let upstream = upstream(&clients, versions, false);
        let run = exeat(&upstream, &client(&clients), SHOWN).run(CALL).ok();
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("ok", "200"), "{run:#?}");
        assert!(run.log.calls()[0].client_certificate.as_ref().unwrap().starts_with("sha256:"), "{run:#?}");
    }
}

#[test]
fn without_one_or_with_a_wrong_one_the_answer_says_what_is_missing() {
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    for versions in [&[&TLS12], &[&TLS13]] {
        for (lines, told, ask_for) in [
            ("", "client certificate", "client_certificate"),
            (SHOWN, "does not take the client certificate", "look at `client_certificate`"),
        ] {
            let upstream = upstream(&clients, versions, false);
            let run = exeat(&upstream, &client(&others), lines).run(CALL).ok();
            let problem = run.json();
            assert_eq!(
                (run.stderr.as_str(), &problem["type"]),
                ("502", &"urn:exeat:refusal:upstream-tls".into()),
                "{run:#?}"
            );
            assert!(problem["detail"].as_str().unwrap().contains(told), "{problem:#}");
            assert!(problem["ask_for"].as_str().unwrap().contains(ask_for), "{problem:#}");
        }
    }
}

#[test]
fn a_connection_that_showed_one_carries_no_other_rules_call() {
    let clients = Authority::new("clients");
    let upstream = upstream(&clients, &[&TLS13], true);
    let dial = upstream.dial();
    let exeat = exeat(&upstream, &client(&clients), &format!("paths = [\"/shown\"]\n{SHOWN}"))
        .rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{dial}\""));
    let script = "for path in shown other shown other; do curl -sSf https://api.example.com/$path; done";
    exeat.sh(script).ok();
    let paths = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.matches("GET /").count().to_string()
            + if text.contains("/shown") { "s" } else { "" }
            + if text.contains("/other") { "o" } else { "" }
    };
    assert_eq!(upstream.received().into_iter().map(paths).collect::<Vec<_>>(), ["2s", "2o"]);
}

#[test]
fn a_renewed_one_is_shown_from_the_next_call_on() {
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let upstream = upstream(&clients, &[&TLS13], false);
    let exeat = exeat(&upstream, &client(&others), SHOWN);
    let call = "curl -sS -o /dev/null -w '%{http_code} ' https://api.example.com/";
    let mut live = exeat.start_with_input(&["sh", "-c", &format!("{call}; echo first; read line; {call}")]);
    live.wait_for("first");
    // Between the two the pair does not match: the last good one stays.
    let (certificate, key) = client(&clients).pem();
    fs::write(exeat.config("secrets/client-key.pem"), key).unwrap();
    within(Duration::from_secs(20), "a rejected policy", || exeat.log().text.contains("not that of the certificate"));
    fs::write(exeat.config("secrets/client.pem"), certificate).unwrap();
    within(Duration::from_secs(20), "a reloaded policy", || exeat.log().text.contains("policy-reloaded"));
    live.write("go on\n");
    assert_eq!(live.finish().ok().stdout, "502 first\n200 ");
}

#[test]
fn a_key_that_the_sandbox_could_see_stops_the_start() {
    let clients = Authority::new("clients");
    let upstream = upstream(&clients, &[&TLS13], false);
    let exeat = exeat(&upstream, &client(&clients), &SHOWN.replace("secrets/client-key.pem", "../work/client-key.pem"));
    fs::copy(exeat.config("secrets/client-key.pem"), exeat.work().join("client-key.pem")).unwrap();
    let run = exeat.run(&["true"]).ended_with(125);
    assert!(run.stderr.contains("client-key.pem` holds a secret and would be seen"), "{run:#?}");
}

#[test]
fn the_rule_that_refused_is_shown_to_whoever_cannot_read_the_key_beside_it() {
    let clients = Authority::new("clients");
    let upstream = upstream(&clients, &[&TLS13], false);
    let exeat = exeat(&upstream, &client(&clients), SHOWN);
    let exeat = exeat.rule("[[deny]]\nto = \"api.example.com\"\npaths = [\"/payroll/**\"]\n");
    exeat.sh("curl -sS https://api.example.com/payroll/x").ok();
    let listed = exeat.exeat(&["calls", "--refused"]).finish().ok().stdout;
    let id = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    // Root reads whatever is there.
    fs::remove_file(exeat.config("secrets/client-key.pem")).unwrap();
    let story = exeat.exeat(&["calls", "show", id]).finish().ok().stdout;
    for part in ["| [[deny]]", "| paths = [\"/payroll/**\"]", "policy      sha256:"] {
        assert!(story.contains(part), "{part}: {story}");
    }
}
