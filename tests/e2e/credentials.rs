//! The sandbox has placeholders; the credential is put in on the way, where both files say so, and given back at the end.

use std::fs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Signal;
use std::time::Duration;

use crate::harness::{Exeat, TokenEndpoint, Upstream, within};

/// A secret that no encoding leaves as it is.
pub const SECRET: &str = "real+secret/4c2f=b71&e0%09";

/// The credential `api` for api.example.com, in `API_KEY`, and a rule that names it.
fn fixed(upstream: &Upstream, places: &str) -> Exeat {
    Exeat::new()
        .fixed("api", SECRET, &format!("to = [\"api.example.com\"]\nin = [{places}]\nenv = \"API_KEY\"\n"))
        .allow_with("api.example.com", upstream, "credential = \"api\"")
}

/// The same from a token endpoint.
pub fn leased(upstream: &Upstream, issuer: &TokenEndpoint) -> Exeat {
    let lines = format!("{}to = [\"api.example.com\"]\nenv = \"API_KEY\"\n", issuer.lines());
    let exeat = Exeat::new().secret("client", TokenEndpoint::SECRET).credential("api", &lines);
    exeat.allow_with("api.example.com", upstream, "credential = \"api\"")
}

#[test]
fn the_environment_has_a_placeholder_of_the_granted_shape() {
    let upstream = Upstream::start();
    let run = fixed(&upstream, "\"header\"").sh("echo $API_KEY").ok();
    let placeholder = run.stdout.trim_end();
    assert!(placeholder.starts_with("exeat_") && placeholder.len() == 38, "{placeholder}");
    let shaped = Exeat::new()
        .fixed("github", SECRET, "to = [\"api.example.com\"]\nenv = \"GH\"\nshape = \"ghs_[A-Za-z0-9]{36}\"\n")
        .allow_with("api.example.com", &upstream, "credential = \"github\"");
    let one = shaped.sh("echo $GH").ok().stdout;
    assert!(one.starts_with("ghs_") && one.trim_end().len() == 40, "{one}");
    assert_ne!(one, shaped.sh("echo $GH").ok().stdout, "each worker has its own");
}

#[test]
fn it_is_swapped_in_any_header_that_is_granted() {
    let upstream = Upstream::start();
    let exeat = fixed(&upstream, "\"header\"");
    exeat
        .sh("curl -sSf -H \"Authorization: Bearer $API_KEY\" -H \"X-Api-Key: $API_KEY\" https://api.example.com/echo")
        .ok();
    let seen = upstream.only();
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!(seen.header("x-api-key"), Some(SECRET));
    let log = exeat.log();
    assert_eq!(log.calls()[0].credential.as_ref().unwrap().name, "api");
}

#[test]
fn it_is_swapped_inside_the_base64_of_basic() {
    let upstream = Upstream::start();
    let exeat = fixed(&upstream, "\"basic\"");
    exeat.sh("curl -sSf -u user:$API_KEY https://api.example.com/echo && curl -sSf -u $API_KEY: https://api.example.com/echo").ok();
    let sent = upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect::<Vec<_>>();
    let basic = |pair: String| format!("Basic {}", BASE64_STANDARD.encode(pair));
    assert_eq!(sent, [basic(format!("user:{SECRET}")), basic(format!("{SECRET}:"))]);
}

#[test]
fn it_is_swapped_in_the_query_and_encoded_for_it() {
    let upstream = Upstream::start();
    fixed(&upstream, "\"query\"").sh("curl -sSf \"https://api.example.com/echo?a=1&key=$API_KEY&b=2\"").ok();
    let target = upstream.only().target;
    let key = target.split('&').find_map(|pair| pair.strip_prefix("key=")).unwrap();
    assert_eq!(percent_encoding::percent_decode_str(key).decode_utf8().unwrap(), SECRET, "{target}");
    assert!(target.starts_with("/echo?a=1&") && target.ends_with("&b=2"), "{target}");
}

#[test]
fn a_call_without_the_placeholder_gets_no_credential() {
    let upstream = Upstream::start();
    let exeat = fixed(&upstream, "\"header\"");
    exeat.run(&["curl", "-sSf", "https://api.example.com/echo"]).ok();
    assert!(!upstream.only().text().contains(SECRET));
    assert!(exeat.log().calls()[0].credential.is_none());
}

#[test]
fn a_long_lived_secret_comes_from_a_file_the_environment_or_a_command() {
    let upstream = Upstream::start();
    let sources =
        ["{ file = \"secrets/it\" }", "{ env = \"THE_SECRET\" }", "{ command = [\"echo\", \"from-somewhere\"] }"];
    for source in sources {
        let lines = format!("issuer = \"fixed\"\nvalue = {source}\nto = [\"api.example.com\"]\nenv = \"API_KEY\"\n");
        let exeat = Exeat::new().secret("it", "from-somewhere\n").environment("THE_SECRET", "from-somewhere");
        let exeat = exeat.credential("api", &lines).allow_with("api.example.com", &upstream, "credential = \"api\"");
        let run = exeat.sh("env; curl -sSf -H \"X-Key: $API_KEY\" https://api.example.com/echo").ok();
        assert_eq!(upstream.seen().last().unwrap().header("x-key"), Some("from-somewhere"));
        assert!(!run.stdout.contains("from-somewhere"), "{run:#?}");
    }
}

#[test]
fn a_short_lived_credential_is_leased_once_and_refreshed_before_it_ends() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(5));
    let exeat = leased(&upstream, &issuer);
    let script = "n=0; while [ $n -lt 14 ]; do n=$((n + 1)); \
        curl -sSf -o /dev/null -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo || exit 1; sleep 0.5; done";
    exeat.sh(script).ok();
    let issued = issuer.issued();
    assert!((2..=4).contains(&issued.len()), "{issued:?}");
    let used: Vec<_> =
        upstream.seen().iter().map(|seen| seen.header("authorization").unwrap()[7..].to_owned()).collect();
    assert!(used.iter().all(|used| issued.contains(used)), "{used:?} {issued:?}");
    assert_ne!(used.first(), used.last());
}

#[test]
fn many_calls_at_once_ask_the_issuer_once() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do \
        curl -sSf -o /dev/null -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo & done; wait";
    leased(&upstream, &issuer).sh(script).ok();
    assert_eq!((upstream.seen().len(), issuer.asked()), (12, 1));
}

#[test]
fn without_a_credential_to_be_had_the_call_fails_and_nothing_is_sent() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    issuer.set_down(true);
    let exeat = leased(&upstream, &issuer);
    let call = "curl -sS -w '%{http_code}' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo";
    let run = exeat.sh(call).ok();
    assert!(run.stdout.ends_with("503"), "{run:#?}");
    assert!(run.stdout.contains("urn:exeat:refusal:credential-unavailable"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["credential-unavailable"]);
    upstream.assert_untouched();
    issuer.set_down(false);
    exeat.sh(call).ok();
    upstream.only();
}

#[test]
fn a_secret_that_is_not_there_fails_the_call_and_says_so() {
    let upstream = Upstream::start();
    let exeat = fixed(&upstream, "\"header\"");
    fs::remove_file(exeat.config("secrets/api")).unwrap();
    let run = exeat.sh("curl -sS -w '%{http_code}' -H \"X-Key: $API_KEY\" https://api.example.com/echo").ok();
    assert!(run.stdout.ends_with("503"), "{run:#?}");
    let told = exeat.config("secrets").display().to_string();
    assert!(run.stdout.contains("secret file `api`") && !run.stdout.contains(&told), "{run:#?}");
    upstream.assert_untouched();
}

#[test]
fn a_variable_that_is_no_text_does_not_stop_the_broker() {
    let upstream = Upstream::start();
    let exeat =
        fixed(&upstream, "\"header\"").through(&["sh", "-c", "ODD=$(printf '\\377'); export ODD; exec \"$@\"", "sh"]);
    exeat.sh("curl -sSf -H \"X-Key: $API_KEY\" https://api.example.com/echo").ok();
    assert_eq!(upstream.only().header("x-key"), Some(SECRET));
}

#[test]
fn leases_are_revoked_when_the_command_ends() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let run = exeat.sh("curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo").ok();
    assert_eq!(issuer.revoked(), issuer.issued());
    assert_eq!((run.log.end().revoked, run.log.end().kept), (1, 0));
}

#[test]
fn leases_are_revoked_when_exeat_is_told_to_stop() {
    for signal in [Signal::TERM, Signal::QUIT, Signal::INT] {
        let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
        let exeat = leased(&upstream, &issuer);
        // Without a trap, a shell that is about to execute its last command drops a SIGINT.
        let script = "trap 'exit 3' INT; curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; \
            echo called; while :; do sleep 0.1; done";
        let mut live = exeat.start(&["sh", "-c", script]);
        live.wait_for("called");
        live.signal(signal);
        let run = live.finish();
        assert_ne!(run.code, Some(0), "{run:#?}");
        within(Duration::from_secs(10), "the leases revoked", || issuer.all_revoked());
    }
}

#[test]
fn a_secret_never_reaches_an_upstream_that_cannot_prove_who_it_is() {
    let upstream = Upstream::untrusted();
    let run = fixed(&upstream, "\"header\"")
        .sh("curl -sS -w '%{http_code}' -H \"X-Key: $API_KEY\" https://api.example.com/echo");
    assert!(run.ok().stdout.ends_with("502"));
    upstream.assert_no_request();
}
