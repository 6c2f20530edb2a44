//! An upstream that no longer takes a credential gets a fresh one, once, where the call can be sent again.

use std::fs;
use std::time::Duration;

use broker::ledger::State;
use record::{CallRetried, Event, Retried};

use crate::credentials::{SECRET, leased};
use crate::harness::{Exeat, Hold, Live, TokenEndpoint, Upstream, within};

const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::ZERO;
const CALL: &str =
    "curl -sS -w ' %{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/upload";

/// Runs a script in two halves, the second once the upstream no longer takes what the first has leased.
fn refused_in_between(exeat: &Exeat, upstream: &Upstream, issuer: &TokenEndpoint, after: Duration, then: &str) -> Live {
    let mut live = exeat.start_with_input(&["sh", "-c", &format!("{CALL}; echo first; read x; {then}")]);
    live.wait_for("first");
    upstream.refuse(issuer.issued().last().unwrap(), after);
    live.write("\n");
    live
}

#[test]
fn a_call_is_sent_once_more_with_a_fresh_credential_over_either_version() {
    for (alpn, client) in [("h2", "--http2"), ("h2", "--http1.1"), ("http/1.1", "--http2"), ("http/1.1", "--http1.1")] {
        let (upstream, issuer) = (Upstream::with_alpn(&[alpn]), TokenEndpoint::start(300));
        let exeat = leased(&upstream, &issuer);
        let then = format!("{CALL} {client}; sleep 60");
        let mut live = refused_in_between(&exeat, &upstream, &issuer, AT_ONCE, &then);
        live.wait_for("first\n{\"bytes\":0} 200");
        let [old, new] = &issuer.issued()[..] else { panic!("{:?}", issuer.issued()) };
        let seen = upstream.seen();
        let shown: Vec<_> = seen.iter().map(|seen| seen.header("authorization").unwrap()[7..].to_owned()).collect();
        assert_eq!(shown.iter().collect::<Vec<_>>(), [old, old, new], "{alpn} {client}");
        within(SOON, "the old one revoked", || issuer.revoked() == [old.clone()]);
        within(SOON, "the ledger", || exeat.leases()[0].state == State::Revoked);
        let leases = exeat.leases();
        assert_eq!(leases[0].reason.as_deref(), Some("its upstream answered 401"));
        let (refused, lease) = (leases[0].lease.to_string(), leases[1].lease.to_string());
        let retried = Retried { refused: refused.clone(), lease };
        within(SOON, "the end of the call", || live.log().ends().len() == 2);
        let log = live.log();
        let kinds: Vec<_> = log.lines.iter().map(|line| &line.event).collect();
        let written = kinds.iter().position(|event| matches!(event, Event::CallRetried(_))).unwrap();
        let Event::CallRetried(CallRetried { call: 2, retried: told }) = kinds[written] else { panic!("{kinds:?}") };
        assert_eq!(told, &retried);
        assert!(matches!(kinds[written - 1], Event::CallStart(start) if start.call == 2));
        assert_eq!(log.calls()[1].credential.as_ref().unwrap().lease, refused);
        assert_eq!((log.ends()[1].status, log.ends()[1].retried.as_ref()), (Some(200), Some(&retried)));
        assert!(log.ends()[0].retried.is_none());
        assert!(exeat.exeat(&["calls"]).finish().ok().stdout.contains("sent once more after a 401"));
    }
}

#[test]
fn twenty_calls_that_are_refused_at_once_share_one_fresh_credential() {
    for client in ["--http2", "--http1.1"] {
        let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
        let exeat = leased(&upstream, &issuer);
        // All are on their way before the first is refused.
        let many = "curl -sS -Z --parallel-immediate --parallel-max 20 -o /dev/null -w '%{http_code}\\n'";
        let then =
            format!("{many} {client} -H \"Authorization: Bearer $API_KEY\" 'https://api.example.com/echo?n=[1-20]'");
        let run = refused_in_between(&exeat, &upstream, &issuer, Duration::from_secs(2), &then).finish().ok();
        assert_eq!(run.stdout.matches("200").count(), 21, "{run:#?}");
        assert_eq!((issuer.asked(), upstream.seen().len()), (2, 41), "{client}");
        assert_eq!(run.log.ends().iter().filter(|end| end.retried.is_some()).count(), 20);
        within(SOON, "all revoked", || issuer.all_revoked());
    }
}

#[test]
fn a_call_that_waits_for_a_fresh_one_ends_nobody_elses_on_the_connection_that_it_had() {
    let (upstream, issuer) = (Upstream::with_alpn(&["http/1.1"]), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    // The 401 is short, and its connection free for the next call while nobody has read it.
    let slow = "curl -sS -o /dev/null -w 'slow %{http_code}\\n' 'https://api.example.com/slow?ms=2000'";
    let mut live =
        exeat.start_with_input(&["sh", "-c", &format!("{CALL}; echo first; read x; {CALL} & read x; {slow}; wait")]);
    live.wait_for("first");
    upstream.refuse(issuer.issued().last().unwrap(), AT_ONCE);
    issuer.hold(Hold::Before("/token"));
    live.write("\n");
    within(SOON, "a fresh one is asked for", || issuer.held() == 1);
    live.write("\n");
    upstream.wait_for(3);
    issuer.let_go();
    live.wait_for("slow 200");
    live.finish().ok();
    assert_eq!((upstream.connections(), upstream.seen().len()), (2, 4));
}

#[test]
fn a_short_body_is_sent_once_more_byte_for_byte_and_a_long_one_is_not() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let short: Vec<u8> = (0..10 * 1024_u32).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    fs::write(exeat.work().join("short"), &short).unwrap();
    fs::write(exeat.work().join("long"), vec![b'x'; 1 << 20]).unwrap();
    let post = |more: &str| format!("{CALL} {more} --data-binary");
    let streamed = "-H 'Transfer-Encoding: chunked' --http1.1";
    for more in ["", streamed] {
        let before = upstream.seen().len();
        let then = format!("{} @short", post(more));
        let run = refused_in_between(&exeat, &upstream, &issuer, AT_ONCE, &then).finish().ok();
        assert!(run.stdout.ends_with("{\"bytes\":10240} 200\n"), "{run:#?}");
        let seen = &upstream.seen()[before + 1..];
        assert!(seen.len() == 2 && seen.iter().all(|seen| seen.body == short), "{more}: {}", seen.len());
        assert_eq!(run.log.ends().last().unwrap().sent, 20 * 1024, "both are counted");
    }
    for more in ["", streamed] {
        let before = upstream.seen().len();
        let then = format!("{} @long; {CALL}", post(more));
        let run = refused_in_between(&exeat, &upstream, &issuer, AT_ONCE, &then).finish().ok();
        assert!(run.stdout.ends_with("who?\n 401\n{\"bytes\":0} 200\n"), "the next one passes: {run:#?}");
        assert_eq!(upstream.seen().len(), before + 3, "{more}");
        assert!(run.log.ends().iter().rev().take(2).all(|end| end.retried.is_none()));
    }
}

#[test]
fn a_server_that_always_says_401_is_asked_once_more_and_the_issuer_hardly_at_all() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    upstream.refuse("at+", AT_ONCE);
    let exeat = leased(&upstream, &issuer);
    let run = exeat.sh(CALL).ok();
    assert_eq!(run.stdout, "who?\n 401\n");
    assert_eq!((upstream.seen().len(), issuer.asked()), (2, 2), "{run:#?}");
    assert_eq!((run.log.ends()[0].status, run.log.ends()[0].retried.is_some()), (Some(401), true));
    let before = (issuer.asked(), upstream.seen().len());
    let run = exeat.sh(&format!("for n in 1 2 3 4 5 6 7 8 9 10; do {CALL}; done")).ok();
    assert_eq!(run.stdout, "who?\n 401\n".repeat(10));
    // One to begin with, and one in five seconds.
    let bound = 2 + usize::try_from(run.took.as_secs() / 5).unwrap();
    let asked = issuer.asked() - before.0;
    assert!((2..=bound).contains(&asked), "{asked} in {:?}", run.took);
    assert_eq!(upstream.seen().len() - before.1, 10 + asked - 1, "one retry for each fresh one");
    within(SOON, "all revoked", || issuer.all_revoked());
}

#[test]
fn the_fresh_credential_is_put_wherever_the_old_one_was() {
    let json = "-H 'Content-Type: application/json' -d \"{\\\"a\\\": \\\"\\\\u0065${API_KEY#e}\\\", \\\"b\\\": \\\"$API_KEY\\\"}\"";
    let cases = [
        ("basic", "-u user:$API_KEY https://api.example.com/echo"),
        ("query", "\"https://api.example.com/echo?key=$API_KEY&b=2\""),
        ("body", "--data-urlencode key=$API_KEY https://api.example.com/echo"),
        ("body", &format!("{json} https://api.example.com/echo")),
        ("body", &format!("-H 'Transfer-Encoding: chunked' --http1.1 {json} https://api.example.com/echo")),
        ("header", "-H \"X-Api-Key: $API_KEY\" https://api.example.com/echo"),
    ];
    for (place, call) in cases {
        let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
        let lines = format!(
            "{}to = [\"api.example.com\"]\nin = [\"header\", \"{place}\"]\nenv = \"API_KEY\"\n",
            issuer.lines()
        )
        .replace("\"header\", \"header\"", "\"header\"");
        let exeat = Exeat::new().secret("client", TokenEndpoint::SECRET).credential("api", &lines);
        let exeat = exeat.allow_with("api.example.com", &upstream, "credential = \"api\"");
        let then = format!("curl -sS -w '\\n%{{http_code}}\\n' {call}");
        let run = refused_in_between(&exeat, &upstream, &issuer, AT_ONCE, &then).finish().ok();
        assert!(run.stdout.ends_with("\n200\n"), "{call}: {run:#?}");
        let ([old, new], [_, refused, taken]) = (&issuer.issued()[..], &upstream.seen()[..]) else {
            panic!("{call}: {:#?}", upstream.seen())
        };
        assert!(refused.shows(old) && taken.shows(new) && !taken.shows(old), "{call}: {taken:#?}");
        assert!(
            !taken.text().contains("exeat_") && !run.stdout.contains(&new[3..]),
            "{call}: the answer, which echoes it"
        );
        if place == "body" {
            assert_eq!(run.log.ends()[1].swapped % 2, 0, "both are counted");
        }
    }
}

#[test]
fn a_call_without_a_credential_is_not_sent_once_more() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    upstream.refuse("/upload", AT_ONCE);
    let run = leased(&upstream, &issuer).sh("curl -sS -w ' %{http_code}' https://api.example.com/upload").ok();
    assert_eq!(run.stdout, "who?\n 401");
    upstream.only();
    assert_eq!(issuer.asked(), 0);
    // Leased for a body in which its placeholder might have come, and did not.
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    upstream.refuse("/upload", AT_ONCE);
    let lines = format!("{}to = [\"api.example.com\"]\nin = [\"body\"]\nenv = \"API_KEY\"\n", issuer.lines());
    let exeat = Exeat::new().secret("client", TokenEndpoint::SECRET).credential("api", &lines);
    let exeat = exeat.allow_with("api.example.com", &upstream, "credential = \"api\"");
    let call = "curl -sS -w ' %{http_code}' -H 'Content-Type: application/json' -H 'Transfer-Encoding: chunked' --http1.1 \
        -d '{}' https://api.example.com/upload";
    assert_eq!(exeat.sh(call).ok().stdout, "who?\n 401");
    upstream.only();
    assert_eq!(issuer.asked(), 1);
}

#[test]
fn a_fixed_secret_is_read_again_and_used_where_it_was_rotated() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().fixed("api", SECRET, "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n").allow_with(
        "api.example.com",
        &upstream,
        "credential = \"api\"",
    );
    upstream.refuse(SECRET, AT_ONCE);
    let mut live = exeat.start_with_input(&["sh", "-c", &format!("{CALL}; echo first; sleep 5; read x; {CALL}")]);
    live.wait_for("who?\n 401\nfirst");
    upstream.only();
    let exeat = exeat.secret("api", "another-one");
    live.write("\n");
    let run = live.finish().ok();
    assert!(run.stdout.ends_with("{\"bytes\":0} 200\n"), "{run:#?}");
    let seen = upstream.seen();
    assert!(seen.len() == 3 && seen[1].shows(SECRET) && seen[2].shows("another-one"), "{seen:#?}");
    let leases = exeat.leases();
    assert!(leases.len() == 2 && leases[0].reason.as_deref() == Some("it was rotated"), "{leases:#?}");
}

#[test]
fn where_no_fresh_one_is_to_be_had_the_upstreams_answer_is_the_answer() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let mut live = exeat.start_with_input(&["sh", "-c", &format!("{CALL}; echo first; read x; {CALL}")]);
    live.wait_for("first");
    upstream.refuse("at+", AT_ONCE);
    issuer.set_down(true);
    live.write("\n");
    within(SOON, "the answer", || live.stdout().ends_with("who?\n 401\n"));
    issuer.set_down(false);
    let run = live.finish().ok();
    assert_eq!((upstream.seen().len(), issuer.issued().len()), (2, 1), "{run:#?}");
}

#[test]
fn a_second_sending_counts_against_the_rate() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    upstream.refuse("at+", AT_ONCE);
    let lines = format!("{}to = [\"api.example.com\"]\nenv = \"API_KEY\"\n", issuer.lines());
    let exeat = Exeat::new().secret("client", TokenEndpoint::SECRET).credential("api", &lines);
    let exeat = exeat.allow_with("api.example.com", &upstream, "credential = \"api\"\nrate = \"1/h\"");
    assert_eq!(exeat.sh(CALL).ok().stdout, "who?\n 401\n");
    upstream.only();
}

#[test]
fn a_websocket_opens_with_the_fresh_one() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let then = "curl -sS -o /dev/null -w '%{http_code}\\n' --http1.1 -m 2 -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
        -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' \
        -H \"Authorization: Bearer $API_KEY\" https://api.example.com/ws; true";
    let run = refused_in_between(&exeat, &upstream, &issuer, AT_ONCE, then).finish().ok();
    assert!(run.stdout.ends_with("first\n101\n"), "{run:#?}");
    let (seen, issued) = (upstream.seen(), issuer.issued());
    assert!(seen.len() == 3 && seen[1].shows(&issued[0]) && seen[2].shows(&issued[1]), "{seen:#?}");
}
