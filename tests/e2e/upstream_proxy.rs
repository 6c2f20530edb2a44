//! Where a house has a proxy of its own, calls go by way of it, judged as ever; and what it refuses says who refused.

use std::time::Duration;

use crate::harness::{Authority, Exeat, Forward, RawUpstream, Upstream, memory_of, within};

const LOGIN: &str = "exeat:a-long-lived-password";

/// Names resolve to an address that a rule allows and nobody listens at.
fn exeat(proxy: &Forward, lines: &str) -> Exeat {
    Exeat::new()
        .hosts("127.0.0.2 api.example.com pinned.example.com mail.example.com\n10.0.0.1 inside.example.com\n")
        .upstream(&format!("proxy = \"http://{}\"\n{lines}", proxy.address()))
}

/// Waits until the log tells of such an event.
fn wait_for_log(exeat: &Exeat, event: &str) {
    within(Duration::from_secs(20), event, || exeat.log().text.contains(event));
}

fn rule(to: &str, lines: &str) -> String {
    format!("[[allow]]\nto = \"{to}\"\naddresses = [\"127.0.0.2\"]\n{lines}")
}

#[test]
fn calls_of_every_kind_go_by_way_of_it() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = exeat(&proxy, "")
        .rule(&rule("api.example.com", ""))
        .rule(&rule("pinned.example.com:8443", "tls = \"passthrough\""));
    std::fs::write(exeat.work().join("ca.pem"), Authority::trusted().pem()).unwrap();
    let script =
        "for version in --http1.1 --http2; do curl -sSf $version https://api.example.com/echo -o /dev/null; done
        curl -sSf --cacert ca.pem --capath . https://pinned.example.com:8443/echo -o /dev/null";
    let run = exeat.sh(script).ok();
    assert_eq!(upstream.seen().len(), 3, "{run:#?}");
    let asked = |name: &str| format!("CONNECT {name} HTTP/1.1\r\nhost: {name}\r\n\r\n");
    // The second call rides on the connection of the first.
    assert_eq!(proxy.heads(), [asked("api.example.com:443"), asked("pinned.example.com:8443")]);
    for end in run.log.ends() {
        assert_eq!((end.address.as_deref(), end.proxy.as_deref()), (Some(proxy.address()), Some(proxy.address())));
    }
    assert_eq!(run.log.tunnels().len(), 1);
}

#[test]
fn plain_http_and_raw_tcp_go_by_way_of_it_too() {
    let upstream = Upstream::plain();
    let proxy = Forward::to(&upstream.dial());
    let exeat =
        exeat(&proxy, "").rule(&rule("api.example.com:80", "")).rule(&rule("mail.example.com:25", "tls = \"tcp\""));
    let run = exeat.sh("curl -sSf http://api.example.com/echo; curl -sSf http://mail.example.com:25/echo").ok();
    assert_eq!(upstream.seen().len(), 2, "{run:#?}");
    let targets: Vec<_> = proxy.heads().iter().map(|head| head.lines().next().unwrap().to_owned()).collect();
    assert_eq!(targets, ["CONNECT api.example.com:80 HTTP/1.1", "CONNECT mail.example.com:25 HTTP/1.1"]);
}

#[test]
fn what_an_upstream_says_first_is_not_taken_for_the_proxys() {
    // All of it in one segment, and from a proxy of the old kind.
    let proxy = Forward::answering(b"HTTP/1.0 200 Connection established\r\n\r\n220 mail.example.com ready\r\n");
    let exeat = exeat(&proxy, "").rule(&rule("mail.example.com:25", "tls = \"tcp\""));
    let program = "
import socket
stream = socket.create_connection(('mail.example.com', 25), timeout=20)
print(b''.join(iter(lambda: stream.recv(4096), b'')))";
    let run = exeat.python(program).ok();
    assert_eq!(run.stdout.trim(), r"b'220 mail.example.com ready\r\n'", "{run:#?}");
}

#[test]
fn a_login_goes_to_the_proxy_and_nowhere_else() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = exeat(&proxy, "proxy_login = { file = \"../secrets/proxy\" }").secret("proxy", &format!("{LOGIN}\n"));
    let exeat = exeat.rule(&rule("api.example.com", ""));
    let script =
        "env; curl -sSf https://api.example.com/echo; cat ../config/secrets/proxy; echo kept; read line || true";
    let mut live = exeat.start_with_input(&["sh", "-c", script, "4703.7"]);
    live.wait_for("kept");
    let memory = memory_of("4703.7");
    let has = |text: &str| memory.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("4703.7"), "the memory could not be read");
    // Whole, or its rarer part: the rest of it may have been written over.
    assert!(!has(LOGIN) && !has("long-lived-password"), "the login is in the sandbox's memory");
    live.write("go on\n");
    let run = live.finish().ok();
    // Base64 of LOGIN.
    let field = "proxy-authorization: Basic ZXhlYXQ6YS1sb25nLWxpdmVkLXBhc3N3b3Jk\r\n";
    assert!(proxy.heads()[0].contains(field), "{:?}", proxy.heads());
    let seen = format!("{run:?}{:?}", upstream.seen());
    assert!(!seen.contains("ZXhlYXQ6") && !seen.contains("a-long-lived-password"), "{seen}");
}

#[test]
fn a_login_that_the_sandbox_could_see_stops_the_start_and_is_not_taken_later() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let line = |file: &str| format!("proxy_login = {{ file = \"{file}\" }}");
    let exeat = exeat(&proxy, &line("../../work/login")).rule(&rule("api.example.com", ""));
    std::fs::write(exeat.work().join("login"), LOGIN).unwrap();
    let run = exeat.run(&["true"]).ended_with(125);
    assert!(run.stderr.contains("work/login") && run.stderr.contains("would be seen"), "{run:#?}");
    let text = std::fs::read_to_string(exeat.policy_file()).unwrap();
    std::fs::write(exeat.policy_file(), text.replace(&line("../../work/login"), "")).unwrap();
    let mut live = exeat.start_with_input(&["sh", "-c", "echo up; read line; curl -sSf https://api.example.com/echo"]);
    live.wait_for("up");
    std::fs::write(exeat.policy_file(), text).unwrap();
    wait_for_log(&exeat, "policy-rejected");
    live.write("go on\n");
    live.finish().ok();
    assert!(!proxy.heads()[0].contains("proxy-authorization"), "{:?}", proxy.heads());
}

#[test]
fn what_the_proxy_refuses_says_who_refused_and_why() {
    for (answer, told, ask_for) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno"
                [..],
            "407",
            "proxy_login",
        ),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403", "ask whoever runs it"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", "502", "try again later"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://portal.example.com/\r\n\r\n", "302", "operator"),
        (b"220 not a proxy\r\n", "did not answer as an HTTP proxy does", "operator"),
        (b"HTTP/1.1 200 OK", "did not answer as an HTTP proxy does", "operator"),
        (b"", "did not answer as an HTTP proxy does", "operator"),
    ] {
        let proxy = Forward::answering(answer);
        let exeat = exeat(&proxy, "").rule(&rule("api.example.com", ""));
        let run = exeat.run(&["curl", "-sS", "-w", "%{stderr}%{http_code}", "https://api.example.com/"]).ok();
        let problem = run.json();
        assert_eq!(
            (run.stderr.as_str(), &problem["type"]),
            ("502", &"urn:exeat:refusal:upstream-proxy".into()),
            "{run:#?}"
        );
        for part in [told, proxy.address()] {
            assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem:#}");
        }
        assert!(problem["ask_for"].as_str().unwrap().contains(ask_for), "{problem:#}");
        assert_eq!(run.log.ends()[0].outcome, "refused");
    }
}

#[test]
fn an_answer_without_an_end_is_cut_off() {
    static LONG: [u8; 256 * 1024] = [b'x'; 256 * 1024];
    static ENDLESS: std::sync::LazyLock<Vec<u8>> =
        std::sync::LazyLock::new(|| [b"HTTP/1.1 200 OK\r\nX-Long: ", &LONG[..]].concat());
    let proxy = Forward::answering(&ENDLESS);
    let exeat = exeat(&proxy, "").rule(&rule("api.example.com", ""));
    let run = exeat.run(&["curl", "-sS", "https://api.example.com/"]).ok();
    assert_eq!(run.json()["type"], "urn:exeat:refusal:upstream-proxy", "{run:#?}");
    assert!(run.json()["detail"].as_str().unwrap().contains("head is too large"), "{run:#?}");
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let proxy = Forward::answering(b"");
    let exeat = exeat(&proxy, "").rule(&rule("api.example.com", ""));
    let address = proxy.address().to_owned();
    drop(proxy);
    let run = exeat.run(&["curl", "-sS", "https://api.example.com/"]).ok();
    let detail = run.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&address) && detail.contains("cannot be reached"), "{detail}");
}

#[test]
fn an_upstream_behind_it_has_to_prove_its_name_all_the_same() {
    let identity = Authority::trusted().identity(&["other.example.com"]);
    let upstream =
        RawUpstream::with(identity.configuration(&["http/1.1"]), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let proxy = Forward::to(&upstream.dial());
    let exeat = exeat(&proxy, "").rule(&rule("api.example.com", ""));
    let run = exeat.run(&["curl", "-sS", "https://api.example.com/"]).ok();
    assert_eq!(run.json()["type"], "urn:exeat:refusal:upstream-tls", "{run:#?}");
    assert!(upstream.received().iter().all(Vec::is_empty));
}

#[test]
fn a_name_is_not_handed_to_it_whose_addresses_may_not_all_be_dialled() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = Exeat::new()
        .hosts("10.0.0.1 inside.example.com\n127.0.0.2 mixed.example.com\n10.0.0.1 mixed.example.com\n")
        .upstream(&format!("proxy = \"http://{}\"", proxy.address()))
        .rule(&rule("*.example.com", ""));
    for (name, kind) in [("inside", "forbidden-address"), ("mixed", "forbidden-address"), ("unknown", "unresolved")] {
        let run = exeat.run(&["curl", "-sS", &format!("https://{name}.example.com/")]).ok();
        assert_eq!(run.json()["type"], format!("urn:exeat:refusal:{kind}"), "{run:#?}");
        if name == "unknown" {
            assert!(run.json()["detail"].as_str().unwrap().contains("proxy_resolves = true"), "{run:#?}");
        }
    }
    assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
}

#[test]
fn a_proxy_that_resolves_is_handed_names_that_this_machine_cannot_look_up() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = exeat(&proxy, "proxy_resolves = true").rule("[[allow]]\nto = \"unknown.example.com\"");
    exeat.run(&["curl", "-sSf", "https://unknown.example.com/echo"]).ok();
    assert_eq!(proxy.heads().len(), 1);
    upstream.only();
}

#[test]
fn what_is_excepted_is_dialled_from_here() {
    let upstream = Upstream::start();
    let proxy = Forward::answering(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    let port = upstream.dial().rsplit_once(':').unwrap().1.to_owned();
    let exeat = Exeat::new()
        .hosts("127.0.0.1 in.house.example.com\n")
        .upstream(&format!("proxy = \"http://{}\"\nno_proxy = [\"*.house.example.com\"]", proxy.address()))
        .rule(&format!("[[allow]]\nto = \"in.house.example.com:{port}\"\naddresses = [\"127.0.0.1\"]"))
        .allow("api.example.com", &upstream);
    // The certificate is for names one label below; what counts here is who was dialled.
    let run = exeat
        .sh(&format!("curl -sS https://in.house.example.com:{port}/; curl -sSf https://api.example.com/echo"))
        .ok();
    assert!(proxy.heads().is_empty(), "{run:#?}");
    assert_eq!(upstream.connections(), 2, "{run:#?}");
}

#[test]
fn a_changed_proxy_counts_from_the_next_call_on() {
    let upstream = Upstream::start();
    let (first, second) = (Forward::to(&upstream.dial()), Forward::to(&upstream.dial()));
    let exeat = exeat(&first, "").rule(&rule("api.example.com", ""));
    let call = "curl -sSf -o /dev/null https://api.example.com/echo";
    let mut live = exeat.start_with_input(&["sh", "-c", &format!("{call}; echo first; read line; {call}")]);
    live.wait_for("first");
    let text = std::fs::read_to_string(exeat.policy_file()).unwrap();
    std::fs::write(exeat.policy_file(), text.replace(first.address(), second.address())).unwrap();
    wait_for_log(&exeat, "policy-reloaded");
    live.write("go on\n");
    live.finish().ok();
    assert_eq!((first.heads().len(), second.heads().len()), (1, 1));
}
