//! The calls in the form of others: OCSF events that the published schema takes, by a validator that knows nothing of exeat.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::credentials::leased;
use crate::harness::{Exeat, TokenEndpoint, Upstream, python_tools};

/// How many events the published schema takes, or what it says against one.
fn checked(events: &str) -> Result<usize, String> {
    let program = include_str!("export/check.py");
    let mut check = Command::new(python_tools());
    check.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    let (mut input, events) = (check.stdin.take().unwrap(), events.to_owned());
    let writing = std::thread::spawn(move || input.write_all(events.as_bytes()));
    let output = check.wait_with_output().unwrap();
    let _ = writing.join().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

fn exported(exeat: &Exeat, more: &[&str]) -> (String, Vec<Value>) {
    let run = exeat.exeat(&[&["calls", "export", "--ocsf"], more].concat()).finish().ok();
    let events = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (run.stdout, events)
}

/// What has this at each of these places.
fn with<'e>(events: &'e [Value], expected: &[(&str, Value)]) -> &'e Value {
    let fits = |event: &&Value| expected.iter().all(|(place, value)| event.pointer(place) == Some(value));
    let found: Vec<_> = events.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{expected:?} in {events:#?}");
    found[0]
}

#[test]
fn every_kind_of_call_is_an_event_of_the_published_ocsf_schema() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer)
        .allow_with("mcp.example.com", &upstream, "mcp = { tools = [\"search\"] }")
        .allow_with("pinned.example.com", &upstream, "tls = \"passthrough\"");
    let message = |tool: &str| json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": {} } });
    let mcp = |tool| {
        let (fields, message) = ("-H 'Content-Type: application/json'", message(tool));
        format!("curl -sS {fields} -d '{message}' https://mcp.example.com/echo\n")
    };
    let script = [
        "curl -sSf -H \"Authorization: Bearer $API_KEY\" 'https://api.example.com/leak/plain?page=2&api_key=hide'\n",
        "curl -sS -X DELETE https://api.example.com/echo\ncurl -sS -X PUT -d x https://api.example.com/status/503\n",
        "curl -sS https://www.example.com/x\ncurl -sS -H \"X: $API_KEY\" https://pinned.example.com/ -k\n",
        "curl -sS -d \"$API_KEY\" https://api.example.com/echo\ncurl -sS -m 0.3 'https://api.example.com/slow?ms=2000'\n",
        &mcp("search"),
        &mcp("drop_tables"),
        "true",
    ];
    exeat.sh(&script.concat()).ok();
    let (text, events) = exported(&exeat, &[]);
    assert_eq!(checked(&text), Ok(events.len()));
    assert!(!text.contains(&issuer.issued()[0]), "{text}");

    let read = with(&events, &[("/http_request/url/path", json!("/leak/plain"))]);
    assert_eq!(
        (&read["class_uid"], &read["activity_id"], &read["type_uid"]),
        (&json!(6003), &json!(2), &json!(600_302))
    );
    assert_eq!((&read["status_id"], &read["disposition_id"]), (&json!(1), &json!(1)));
    assert_eq!(read["http_request"]["url"]["query_string"], "page=2&api_key=…");
    assert_eq!(
        (&read["actor"]["app_name"], &read["dst_endpoint"]["hostname"]),
        (&json!("bot"), &json!("api.example.com"))
    );
    assert_eq!(read["unmapped"]["credential"]["name"], "api");
    let start = exeat.log();
    assert_eq!(read["metadata"]["uid"], format!("{}/{}", start.start().worker, read["metadata"]["sequence"]));
    assert_eq!(
        read["time"],
        start.lines[usize::try_from(read["metadata"]["sequence"].as_u64().unwrap()).unwrap() - 1].time.as_millisecond()
    );

    with(&events, &[("/http_request/http_method", json!("DELETE")), ("/activity_id", json!(4))]);
    with(
        &events,
        &[
            ("/http_response/code", json!(503)),
            ("/activity_id", json!(3)),
            ("/status_id", json!(2)),
            ("/action_id", json!(1)),
        ],
    );
    let refused = with(&events, &[("/dst_endpoint/hostname", json!("www.example.com"))]);
    assert_eq!(
        (&refused["status_id"], &refused["disposition_id"], &refused["action_id"]),
        (&json!(2), &json!(2), &json!(2))
    );
    let tool = with(&events, &[("/message_context/ai_role_id", json!(3)), ("/action_id", json!(1))]);
    assert_eq!(tool["api"]["operation"], "search");
    let tool = with(&events, &[("/message_context/ai_role_id", json!(3)), ("/action_id", json!(2))]);
    assert_eq!(tool["api"]["operation"], "drop_tables");
    with(&events, &[("/metadata/event_code", json!("tunnel"))]);
    assert!(events.iter().any(|event| event["is_alert"] == true), "{events:#?}");
    assert!(events.iter().any(|event| event["status_code"] == "abandoned"), "{events:#?}");
}

#[test]
fn the_validator_sees_what_is_wrong() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    exeat.run(&["curl", "-sSf", "https://api.example.com/echo"]).ok();
    let (text, events) = exported(&exeat, &[]);
    assert_eq!(checked(&text), Ok(1));
    for (place, value) in [
        ("class_uid", json!("6003")),
        ("activity_id", json!(7)),
        ("time", json!("now")),
        ("made_up", json!(1)),
        ("api", json!({})),
        ("http_response", json!({ "code": "200" })),
        ("dst_endpoint", json!({ "port": 443 })),
    ] {
        let mut event = events[0].clone();
        if place == "class_uid" {
            event["class_uid"] = json!(6003);
            event["severity_id"] = value;
        } else {
            event[place] = value;
        }
        assert!(checked(&format!("{event}\n")).is_err(), "{place} was taken: {event}");
    }
}

#[test]
fn what_is_exported_can_be_bounded_by_time_and_agent() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    assert_eq!(exported(&exeat, &[]).1, [] as [Value; 0]);
    exeat.run(&["curl", "-sSf", "https://api.example.com/echo"]).ok();
    for (options, count) in [
        (&["--since", "1h"][..], 1),
        (&["--until", "1h"], 0),
        (&["--since", "2000-01-01T00:00:00Z", "--until", "2100-01-01T00:00:00Z"], 1),
        (&["--agent", "bot"], 1),
        (&["--agent", "other"], 0),
    ] {
        assert_eq!(exported(&exeat, options).1.len(), count, "{options:?}");
    }
    let run = exeat.exeat(&["calls", "export"]).finish().ended_with(2);
    assert!(run.stderr.contains("--ocsf"), "{}", run.stderr);
    exeat.exeat(&["calls", "export", "--ocsf", "--since", "soon"]).finish().ended_with(125);
}
