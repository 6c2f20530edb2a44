//! GraphQL: the operations that a rule lists pass, others and everything ambiguous do not reach the server.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Exeat, Run, Upstream};

const RULE: &str = "graphql = { operations = [\"query\"] }";

fn send(exeat: &Exeat, body: &str, options: &[&str]) -> Run {
    fs::write(exeat.work().join("body"), body).unwrap();
    let command = ["curl", "-sS", "-w", "\n%{http_code}", "--data-binary", "@body"];
    exeat.run(&[&command[..], options].concat()).ok()
}

const HERE: [&str; 3] = ["-H", "Content-Type: application/json", "https://api.example.com/graphql"];

#[test]
fn a_query_passes_as_it_is_and_is_named_in_the_log() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, RULE);
    let body = r#"{"query":"query Repo($n: String!) { repository(name: $n) { ...F } } fragment F on R { id }", "variables":{"n":"x"}}"#;
    let run = send(&exeat, body, &HERE);
    assert!(run.stdout.ends_with("200"), "{run:#?}");
    assert_eq!(upstream.only().body, body.as_bytes());
    assert_eq!(run.log.calls()[0].tool.as_deref(), Some("query Repo"));
}

#[track_caller]
fn assert_refused(body: &str, options: &[&str], kind: &str, status: &str) -> Run {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, RULE);
    let run = send(&exeat, body, options);
    let (answer, code) = run.stdout.rsplit_once('\n').unwrap();
    assert_eq!(code, status, "{body}: {run:#?}");
    let answer: Value = serde_json::from_str(answer).unwrap();
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["type"], format!("urn:exeat:refusal:{kind}"), "{body}: {answer}");
    assert!(error["message"].as_str().unwrap().contains("exeat did not let"), "{answer}");
    assert_eq!(run.log.refused_kinds(), [kind]);
    upstream.assert_untouched();
    run
}

#[test]
fn a_mutation_is_refused_in_words() {
    let body = json!({ "query": "mutation Drop { dropAll { ok } }" }).to_string();
    let run = assert_refused(&body, &HERE, "tool-not-allowed", "403");
    assert!(run.stdout.contains("`mutation Drop` is not allowed: listed under `operations` is query"), "{run:#?}");
    assert_eq!(run.log.refusals()[0].tool.as_deref(), Some("mutation Drop"));
}

#[test]
fn tricks_do_not_carry_a_mutation_through() {
    for body in [
        r#"{"query":"{ a }","query":"mutation { b }"}"#,
        r#"{"query":"{ a }","Query":"mutation { b }"}"#,
        r#"{"query":"{ a } #\rmutation { b }"}"#,
        r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}}"#,
        r#"{"query":"{ a "}"#,
        r#"{"id":"stored"}"#,
    ] {
        assert_refused(body, &HERE, "body-unreadable", "400");
    }
    let unnamed = r#"{"query":"query A { a } mutation B { b }"}"#;
    assert_refused(unnamed, &HERE, "tool-not-allowed", "403");
    let named = r#"{"query":"query A { a } mutation B { b }","operationName":"B"}"#;
    assert_refused(named, &HERE, "tool-not-allowed", "403");
    assert_refused(r#"[{"query":"{ a }"},{"query":"mutation { b }"}]"#, &HERE, "tool-not-allowed", "403");
    let query = r#"{"query":"{ a }"}"#;
    let json = "Content-Type: application/json";
    let in_target = ["-H", json, "-g", "https://api.example.com/graphql?query=mutation{b}"];
    assert_refused(query, &in_target, "body-unreadable", "400");
    let with_body = ["-X", "GET", "-H", json, "https://api.example.com/graphql?query=%7Ba%7D"];
    assert_refused(query, &with_body, "body-not-judged", "415");
    let bare = ["-H", "Content-Type: application/graphql", "https://api.example.com/graphql"];
    assert_refused("{ a }", &bare, "body-not-judged", "415");
}

#[test]
fn a_query_string_is_judged_like_a_body() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, RULE);
    let get = |query: &str| {
        let run = exeat.run(&[
            "curl",
            "-sS",
            "-w",
            "\n%{http_code}",
            "-g",
            &format!("https://api.example.com/graphql?{query}"),
        ]);
        let (answer, status) = run.ok().stdout.rsplit_once('\n').map(|(a, s)| (a.to_owned(), s.to_owned())).unwrap();
        (answer, status)
    };
    assert_eq!(get("query=query+A%7Ba%7D&variables=%7B%22n%22%3A1%7D").1, "200");
    assert_eq!(upstream.only().target, "/graphql?query=query+A%7Ba%7D&variables=%7B%22n%22%3A1%7D");
    for (query, status) in [
        ("query=mutation%7Ba%7D", "403"),
        ("query=%7Ba%7D&query=mutation%7Bb%7D", "400"),
        ("query=%7Ba%7D;query=mutation%7Bb%7D", "400"),
        ("extensions=%7B%22persistedQuery%22%3A%7B%22version%22%3A1%7D%7D", "400"),
        ("id=stored", "400"),
    ] {
        let (answer, got) = get(query);
        assert_eq!(got, status, "{query}: {answer}");
        assert!(answer.contains("exeat did not let this call out"), "{answer}");
    }
    assert_eq!(upstream.seen().len(), 1);
}
