//! WebSockets over HTTP/2 (RFC 8441): to an upstream that takes them so, and by translation to one that does not; watched as over
//! HTTP/1.1.

use serde_json::{Value, json};

use crate::credentials::SECRET;
use crate::harness::{Exeat, Outside, Run, Upstream};

fn server() -> Outside {
    Outside::node(include_str!("extended_connect/server.mjs"))
}

fn exeat(dial: &str, lines: &str) -> Exeat {
    Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{dial}\"\n{lines}"))
}

/// With a credential in the head of the opening.
fn with_credential(dial: &str) -> Exeat {
    let lines = "to = [\"api.example.com\"]\nin = [\"header\"]\nenv = \"API_KEY\"\n";
    exeat(dial, "credential = \"api\"").fixed("api", SECRET, lines)
}

/// Runs the body of a function after the client's; what it returns is printed as JSON.
fn run(exeat: &Exeat, program: &str) -> (Value, Run) {
    let program = format!("{}\nrun(async () => {{ {program} }});", include_str!("extended_connect/client.js"));
    let run = exeat.run(&["node", "-e", &program]).ok();
    (run.json(), run)
}

const TALK: &str = "const one = await open('/ws?a=b'), two = await open('/ws');
    return [await offered, one.status, await one.say('hello'), await two.say('there'), await one.say('world')];";

#[test]
fn it_reaches_an_upstream_that_takes_it_over_http_2() {
    let server = server();
    let (told, run) = run(&exeat(&server.dial(), "methods = [\"GET\"]\npaths = [\"/ws\"]"), TALK);
    assert_eq!(told, json!([true, 200, "hello", "there", "world"]));
    let requests: Vec<Value> =
        server.read("requests").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(requests.len(), 2);
    let first = &requests[0];
    assert_eq!((&first[":method"], &first[":protocol"]), (&json!("CONNECT"), &json!("websocket")));
    assert_eq!((&first[":path"], &first[":authority"]), (&json!("/ws?a=b"), &json!("api.example.com")));
    for gone in ["sec-websocket-key", "connection", "upgrade"] {
        assert_eq!(first.get(gone), None, "{first}");
    }
    let call = run.log.calls()[0];
    assert_eq!((&*call.method, &*call.path, &*call.http), ("GET", "/ws", "HTTP/2.0"));
}

#[test]
fn it_reaches_an_upstream_that_takes_it_over_http_1_alone() {
    for alpn in [&["http/1.1"][..], &["h2", "http/1.1"]] {
        let upstream = Upstream::with_alpn(alpn);
        let (told, run) = run(&exeat(&upstream.dial(), ""), TALK);
        assert_eq!(told, json!([true, 200, "hello", "there", "world"]), "{alpn:?}");
        let seen = &upstream.seen()[0];
        assert_eq!((&*seen.method, &*seen.version), ("GET", "HTTP/1.1"));
        assert_eq!(seen.header("upgrade"), Some("websocket"));
        assert_eq!(seen.header("sec-websocket-key").unwrap().len(), 24);
        assert_eq!(run.log.ends()[0].status, Some(101));
    }
}

#[test]
fn what_an_upstream_does_not_agree_to_is_no_websocket() {
    let (server, upstream) = (server(), Upstream::with_alpn(&["http/1.1"]));
    let status = "return (await open('/busy')).status";
    assert_eq!(run(&exeat(&server.dial(), ""), status).0, 503);
    // An ordinary 200 would say over HTTP/2 that there is one.
    let (told, run) = run(&exeat(&upstream.dial(), ""), "return (await open('/echo')).status");
    assert_eq!(told, 502);
    assert!(run.log.ends()[0].reason.as_ref().unwrap().contains("answered 200"), "{:?}", run.log.ends());
}

#[test]
fn no_rule_no_websocket_and_no_other_protocol() {
    let server = server();
    let (told, run) = run(
        &exeat(&server.dial(), "paths = [\"/ws\"]"),
        "return [(await open('/other')).status, (await open('/ws', {}, 'connect-udp')).status,
            (await open('/ws', { ':authority': 'other.example.com' })).status]",
    );
    assert_eq!(told, json!([403, 501, 421]));
    assert_eq!(run.log.refused_kinds(), ["path-not-allowed", "method-not-offered", "witnesses-disagree"]);
    assert_eq!(server.read("requests"), "");
}

#[test]
fn the_credential_is_put_into_its_messages_of_text_where_rule_and_grant_say_so() {
    let (server, upstream) = (server(), Upstream::with_alpn(&["http/1.1"]));
    let reversed: String = SECRET.chars().rev().collect();
    for dial in [server.dial(), upstream.dial()] {
        let lines = "to = [\"api.example.com\"]\nin = [\"websocket\"]\nenv = \"API_KEY\"\n";
        let exeat = exeat(&dial, "credential = \"api\"").fixed("api", SECRET, lines);
        let (told, run) = run(
            &exeat,
            "const key = process.env.API_KEY, socket = await open('/ws/reversed'), other = await open('/ws/reversed');
            return [await socket.say('login ' + key), await socket.say('no key'), await other.say('{' + key + '}')];",
        );
        assert_eq!(told, json!([format!("{reversed} nigol"), "yek on", null]), "{dial}");
        assert_eq!(run.log.calls()[0].credential.as_ref().unwrap().places, ["websocket"], "{dial}");
        assert_eq!(run.log.refused_kinds(), ["unswappable-body"], "{dial}");
    }
    assert!(!server.read("messages").contains("exeat_"), "{}", server.read("messages"));
}

#[test]
fn its_messages_are_watched_both_ways() {
    let (server, upstream) = (server(), Upstream::with_alpn(&["http/1.1"]));
    for dial in [server.dial(), upstream.dial()] {
        let (told, run) = run(
            &with_credential(&dial),
            "const key = process.env.API_KEY, fields = { authorization: 'Bearer ' + key };
            const out = await open('/ws', fields), back = await open('/ws', fields);
            return [await out.say('hello'), await out.say('here: ' + key), await back.say('hello'), await back.say('leak')];",
        );
        assert_eq!(told, json!(["hello", null, "hello", null]), "{dial}");
        assert!(run.log.refusals().iter().any(|refused| refused.alert), "{:?}", run.log.refused_kinds());
        assert!(run.log.ends().iter().all(|end| end.outcome == "broken"), "{:?}", run.log.ends());
    }
    assert!(server.read("requests").contains(SECRET), "the opening had the credential");
    assert!(!server.read("messages").contains("here: "), "{}", server.read("messages"));
}

#[test]
fn a_placeholder_is_no_protocol() {
    let server = server();
    let (told, run) =
        run(&with_credential(&server.dial()), "return (await open('/ws', {}, process.env.API_KEY)).status");
    assert_eq!((told, run.log.refused_kinds()), (json!(403), vec!["placeholder-misdirected"]));
    assert!(run.log.refusals()[0].alert && !run.log.text.contains("exeat_"), "{run:#?}");
}
