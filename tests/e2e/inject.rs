//! `inject`: a call to a credential's destination gets it though the agent sent none; no other call does, and none goes as somebody else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::credentials::SECRET;
use crate::harness::{Exeat, RawUpstream, Upstream, WEBSOCKET};

/// `api` is put into calls to api.example.com; www.example.com and /plain are allowed without.
fn exeat(upstream: &Upstream, inject: &str) -> Exeat {
    let lines = format!("to = [\"api.example.com\"]\nenv = \"API_KEY\"\ninject = {inject}\n");
    Exeat::new()
        .fixed("api", SECRET, &lines)
        .allow_with("api.example.com", upstream, "paths = [\"/plain/**\"]")
        .allow_with("api.example.com", upstream, "credential = \"api\"")
        .allow("www.example.com", upstream)
}

#[test]
fn a_call_without_a_credential_gets_it_and_the_log_says_so() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream, "true");
    let run = exeat.sh("curl -sSf https://api.example.com/echo; curl -sSf -d x=1 https://api.example.com/echo").ok();
    for seen in upstream.seen() {
        assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {SECRET}")));
    }
    for call in run.log.calls() {
        let used = call.credential.as_ref().unwrap();
        assert!(used.name == "api" && used.injected && used.places == ["header"], "{used:?}");
    }
    assert!(!run.stdout.contains(SECRET) && run.stdout.contains("Bearer exeat_"), "{run:#?}");
    let shown = exeat.exeat(&["calls"]).finish().ok().stdout;
    assert!(shown.contains("credential api put into header"), "{shown}");
}

#[test]
fn one_that_names_its_field_in_connection_gets_it_all_the_same() {
    for (version, alpn) in [("--http1.1", "http/1.1"), ("--http1.1", "h2")] {
        let upstream = Upstream::with_alpn(&[alpn]);
        let script = format!(
            "curl -sSf {version} -H 'Connection: close, Authorization, X-Hop' -H 'X-Hop: 1' https://api.example.com/echo"
        );
        exeat(&upstream, "true").sh(&script).ok();
        let seen = upstream.only();
        assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {SECRET}")), "{alpn}");
        assert_eq!((seen.header("x-hop"), seen.header("connection")), (None, None), "{alpn}: {seen:#?}");
    }
}

#[test]
fn in_the_form_that_the_grant_names() {
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("bot:{SECRET}")));
    for (inject, header, value) in [
        ("\"X-Api-Key\"", "x-api-key", SECRET),
        ("\"Authorization: token\"", "authorization", &format!("token {SECRET}")),
        ("\"Authorization: Basic bot\"", "authorization", &basic),
    ] {
        let upstream = Upstream::start();
        exeat(&upstream, inject).sh("curl -sSf https://api.example.com/echo").ok();
        assert_eq!(upstream.only().header(header), Some(value), "{inject}");
    }
}

#[test]
fn to_no_other_destination_and_under_no_other_rule() {
    let upstream = Upstream::start();
    let run =
        exeat(&upstream, "true").sh("curl -sSf https://www.example.com/echo https://api.example.com/plain/x").ok();
    assert_eq!(upstream.seen().len(), 2);
    for seen in upstream.seen() {
        assert!(seen.header("authorization").is_none() && !seen.text().contains(SECRET), "{seen:#?}");
    }
    assert!(run.log.calls().iter().all(|call| call.credential.is_none()));
}

#[test]
fn nor_to_where_an_answer_leads() {
    let (upstream, leads) = (
        Upstream::start(),
        "HTTP/1.1 302 Found\r\nLocation: https://www.example.com/echo\r\nContent-Length: 0\r\n\r\n",
    );
    let leading = RawUpstream::start(leads.as_bytes());
    let exeat = Exeat::new()
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nenv = \"API_KEY\"\ninject = true\n")
        .rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"\ncredential = \"api\"", leading.dial()))
        .allow("www.example.com", &upstream);
    let run = exeat.sh("curl -sSfL -o /dev/null https://api.example.com/").ok();
    assert!(String::from_utf8_lossy(&leading.received()[0]).contains(SECRET), "{run:#?}");
    assert!(!upstream.only().shows(SECRET) && upstream.only().header("authorization").is_none());
    // A client that takes its own key along does not get it out.
    let script = "curl -sSL --location-trusted -o /dev/null -w '%{http_code}' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/";
    let run = exeat.sh(script).ok();
    assert_eq!((&*run.stdout, run.log.refused_kinds()), ("403", vec!["placeholder-misdirected"]), "{run:#?}");
    assert_eq!((leading.received().len(), upstream.seen().len()), (2, 1));
}

#[test]
fn one_that_the_agent_sent_the_placeholder_with_is_swapped_as_ever() {
    let upstream = Upstream::start();
    let script = "curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo
        curl -sSf -H \"X-Key: $API_KEY\" https://api.example.com/echo";
    let run = exeat(&upstream, "true").sh(script).ok();
    let seen = upstream.seen();
    assert_eq!(seen[0].header("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!((seen[1].header("x-key"), seen[1].header("authorization")), (Some(SECRET), None));
    assert!(run.log.calls().iter().all(|call| !call.credential.as_ref().unwrap().injected));
}

#[test]
fn a_call_as_somebody_else_is_refused() {
    let upstream = Upstream::start();
    for own in [
        "-H 'Authorization: Bearer of-a-stranger'",
        "-u stranger:word",
        "-H \"Authorization: Bearer $API_KEY\" -H 'Authorization: x'",
    ] {
        let script = format!("curl -sS --http1.1 -w '\\n%{{http_code}}' {own} https://api.example.com/echo");
        let run = exeat(&upstream, "true").sh(&script).ok();
        assert!(run.stdout.ends_with("403") && run.stdout.contains("urn:exeat:refusal:calls-as-itself"), "{run:#?}");
        assert!(run.stdout.contains("exeat adds it"), "{run:#?}");
        assert_eq!(run.log.refused_kinds(), ["calls-as-itself"]);
    }
    upstream.assert_no_request();
    // Another field is the agent's own to fill.
    exeat(&upstream, "\"X-Api-Key\"").sh("curl -sSf -u me:word https://api.example.com/echo").ok();
    assert_eq!(upstream.only().header("x-api-key"), Some(SECRET));
}

#[test]
fn a_placeholder_of_another_credential_there_is_still_an_alert() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream, "true").fixed("other", "x-secret", "to = [\"other.example.com\"]\nenv = \"OTHER\"\n");
    let run = exeat.sh("curl -sS -H \"Authorization: Bearer $OTHER\" https://api.example.com/echo").ok();
    assert!(run.log.refused_kinds() == ["placeholder-misdirected"] && run.log.refusals()[0].alert, "{run:#?}");
    upstream.assert_no_request();
}

#[test]
fn into_the_request_for_a_websocket() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let program = format!("{WEBSOCKET}\nopen('api.example.com')");
    exeat(&upstream, "true").run(&["/usr/bin/python3", "-c", &program]).ok();
    assert_eq!(upstream.only().header("authorization"), Some(&*format!("Bearer {SECRET}")));
}

#[test]
fn without_the_credential_to_be_had_nothing_is_sent() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream, "true");
    std::fs::remove_file(exeat.config("secrets/api")).unwrap();
    let run = exeat.sh("curl -sS -o /dev/null -w '%{http_code}' https://api.example.com/echo").ok();
    assert_eq!(run.stdout, "503", "{run:#?}");
    upstream.assert_no_request();
}
