//! MCP over Streamable HTTP: only listed tools are seen and called, by official SDKs on both sides; what has two readings, or could
//! not be judged, does not reach the server.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Authority, Exeat, RawUpstream, Run, Upstream, node_tools, python_tools, tools, within};

const RULE: &str = "mcp = { tools = [\"search\", \"read_*\"] }";

/// The server of the official TypeScript SDK.
struct Server {
    process: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// One that answers in JSON (`json`), with event streams (`sse`), or ends these before it answers a request for the list of
    /// tools, which thus comes on one that is resumed (`resumed`).
    fn start(mode: &str) -> Self {
        let modules = node_tools();
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = Authority::trusted().identity(&["mcp.example.com"]).pem();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("cert.pem", &certificate);
        write("key.pem", &key);
        write("server.mjs", include_str!("mcp/server.mjs"));
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new("node");
        command.arg(directory.path().join("server.mjs")).arg(modules).arg(directory.path()).arg(mode);
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let process = process.unwrap_or_else(|error| panic!("node ({error}): `tests/run` installs it"));
        let mut server = Self { process, directory, port: 0 };
        within(Duration::from_secs(30), "the MCP server", || {
            let ended = server.process.try_wait().unwrap().is_some();
            assert!(!ended, "{}", server.read("log"));
            server.port = server.read("port").parse().unwrap_or(0);
            server.port > 0
        });
        server
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    fn exeat(&self) -> Exeat {
        let rule = format!("[[allow]]\nto = \"mcp.example.com\"\ndial = \"127.0.0.1:{}\"\n{RULE}\n", self.port);
        Exeat::new().sandbox(&format!("read = [\"{}\"]", tools().display())).rule(&rule)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The official Python SDK, unmodified.
const CLIENT: &str = "import asyncio, json
from mcp import ClientSession, MCPError
from mcp.client.streamable_http import streamable_http_client
async def main():
    async with streamable_http_client('https://mcp.example.com/mcp') as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            print(json.dumps({'tools': sorted(tool.name for tool in (await session.list_tools()).tools)}))
            for name in ('search', 'read_file', 'delete_all', 'search'):
                try:
                    result = await session.call_tool(name, {'what': 'it'})
                    print(json.dumps({'text': result.content[0].text}))
                except MCPError as error:
                    print(json.dumps({'error': str(error)}))
asyncio.run(main())
";

#[test]
fn official_sdks_see_and_call_the_listed_tools_and_no_other() {
    for mode in ["json", "sse", "resumed"] {
        let server = Server::start(mode);
        let run = server.exeat().run(&[&python_tools(), "-c", CLIENT]).ok();
        let printed: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(printed[0], json!({ "tools": ["read_file", "search"] }), "{mode}: {run:#?}");
        assert_eq!(printed[1], json!({ "text": "search did it" }), "{mode}: {run:#?}");
        assert_eq!(printed[2], json!({ "text": "read_file did it" }), "{mode}: {run:#?}");
        let error = printed[3]["error"].as_str().unwrap();
        assert!(error.contains("`delete_all` is not allowed: listed under `tools` is search, read_*"), "{error}");
        assert!(error.contains("ask your operator"), "{error}");
        assert_eq!(printed[4], json!({ "text": "search did it" }), "the session outlives a refusal: {run:#?}");
        assert!(!server.read("seen").contains("delete_all"), "{}", server.read("seen"));
        assert_eq!(server.read("seen").contains("GET resumed"), mode == "resumed", "{}", server.read("seen"));
        let called: Vec<&str> = run.log.calls().iter().filter_map(|call| call.tool.as_deref()).collect();
        assert_eq!(called, ["search", "read_file", "search"]);
        let refused = run.log.refusals();
        assert_eq!(refused.len(), 1, "{refused:#?}");
        assert_eq!((refused[0].kind.as_str(), refused[0].tool.as_deref()), ("tool-not-allowed", Some("delete_all")));
    }
}

#[test]
fn the_list_of_calls_names_the_tool() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, RULE);
    post(&exeat, &call("search"), &[]);
    post(&exeat, &call("delete_all"), &[]);
    let run = exeat.exeat(&["calls"]).finish().ok();
    assert!(run.stdout.contains("[tool search]") && run.stdout.contains("[tool delete_all]"), "{run:#?}");
}

#[test]
fn addresses_that_differ_at_their_end_alone_are_two_in_the_log() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "mcp = { resources = [\"file:///docs/*\"] }");
    let read = |start: &str, end: &str| {
        let uri = format!("file:///{start}/{}{end}", "x".repeat(500));
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "resources/read", "params": { "uri": uri } });
        (post(&exeat, message.to_string().as_bytes(), &[]), format!("resources/read {uri}"))
    };
    for end in ["a", "b"] {
        let (run, named) = read("docs", end);
        assert_eq!(run.log.calls().last().unwrap().tool.as_ref(), Some(&named));
        let (run, named) = read("etc", end);
        assert_eq!(run.log.refusals().last().unwrap().tool.as_ref(), Some(&named));
        assert!(run.stdout.contains("xxx…` is not allowed"), "{run:#?}");
    }
}

fn call(tool: &str) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": tool } }).to_string().into_bytes()
}

/// Posts a body by curl; prints the answer and behind it the status.
fn post(exeat: &Exeat, body: &[u8], options: &[&str]) -> Run {
    fs::write(exeat.work().join("body"), body).unwrap();
    let json = ["-H", "Content-Type: application/json"];
    let options = if options.is_empty() { &json[..] } else { options };
    let command = ["curl", "-sS", "-w", "\n%{http_code}", "--data-binary", "@body", "https://api.example.com/mcp"];
    exeat.run(&[&command[..], options].concat()).ok()
}

/// Nothing reaches the upstream, and the client reads a JSON-RPC error.
#[track_caller]
fn assert_refused(body: &[u8], options: &[&str], kind: &str, status: &str) -> Value {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, RULE);
    let run = post(&exeat, body, options);
    let (answer, code) = run.stdout.rsplit_once('\n').unwrap();
    assert_eq!(code, status, "{run:#?}");
    let answer: Value = serde_json::from_str(answer).unwrap();
    let error = answer.get(0).unwrap_or(&answer)["error"].clone();
    assert_eq!(error["data"]["type"], format!("urn:exeat:refusal:{kind}"), "{answer}");
    assert!(error["message"].as_str().unwrap().contains("exeat did not let this call out"), "{answer}");
    assert_eq!(run.log.refused_kinds(), [kind]);
    upstream.assert_untouched();
    answer
}

#[test]
fn what_is_allowed_goes_upstream_byte_for_byte() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, RULE);
    let body = br#" {"jsonrpc":"2.0", "id":1,"method":"tools/call","params":{"name":"read_x","arguments":{"n":1.10,"s":"\u00e9"}}}"#;
    let run = post(&exeat, body, &[]);
    let seen = upstream.only();
    assert_eq!(seen.body, body);
    assert_eq!(seen.header("content-length").map(str::to_owned), Some(body.len().to_string()));
    assert_eq!(run.log.calls()[0].tool.as_deref(), Some("read_x"));
}

#[test]
fn keys_that_two_readers_read_differently() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","name":"delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"a":1,"a":2}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call","params":{"name":"delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","Name":"delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"},"PARAMS":{"name":"delete_all"}}"#,
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\ud800"}}"#,
    ] {
        assert_eq!(assert_refused(body.as_bytes(), &[], "body-unreadable", "400")["id"], Value::Null);
    }
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","param":1,"params":{"name":"delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","n\u00e4me":"delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"},"result":{}}"#,
    ] {
        assert_eq!(assert_refused(body.as_bytes(), &[], "body-unreadable", "200")["id"], 1);
    }
}

#[test]
fn a_batch_with_anything_unlisted() {
    let body = br#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}},
        {"jsonrpc":"2.0","id":"b","method":"tools/call","params":{"name":"delete_all"}}]"#;
    let answer = assert_refused(body, &[], "tool-not-allowed", "200");
    assert_eq!((&answer[0]["id"], &answer[1]["id"]), (&json!(1), &json!("b")));
}

#[test]
fn what_is_not_judged_is_not_let_through() {
    let plain = call("search");
    for options in [
        &["-H", "Content-Type: text/plain"][..],
        &["-H", "Content-Type: application/json; charset=utf-16"],
        &["-H", "Content-Type: application/json", "-H", "Content-Encoding: identity"],
        &["-H", "Content-Type: application/json", "-X", "PUT"],
        &["-H", "Content-Type: application/json", "-X", "GET"],
    ] {
        assert_refused(&plain, options, "body-not-judged", "415");
    }
    let mut large = call("search");
    large.extend(vec![b' '; 1 << 20]);
    assert_refused(&large, &[], "body-too-large", "413");
    let chunked = ["-H", "Content-Type: application/json", "-H", "Transfer-Encoding: chunked", "--http1.1"];
    assert_refused(&large, &chunked, "body-too-large", "413");
    let mirrored = ["-H", "Content-Type: application/json", "-H", "Mcp-Name: delete_all"];
    assert_refused(&plain, &mirrored, "body-unreadable", "200");
}

#[test]
fn a_compressed_body_is_not_judged_and_not_let_through() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, RULE);
    fs::write(exeat.work().join("body"), call("delete_all")).unwrap();
    let run = exeat
        .sh("gzip body && curl -sS -w '%{http_code}' --data-binary @body.gz -H 'Content-Type: application/json' \
        -H 'Content-Encoding: gzip' https://api.example.com/mcp")
        .ok();
    assert!(run.stdout.ends_with("415") && run.stdout.contains("body-not-judged"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["body-not-judged"]);
    upstream.assert_untouched();
}

#[test]
fn a_placeholder_in_a_judged_body_is_an_alert() {
    let upstream = Upstream::start();
    let rule = format!("{RULE}\ncredential = \"key\"");
    let lines = "to = [\"api.example.com\"]\nin = [\"header\"]\nenv = \"KEY\"\n";
    let exeat =
        Exeat::new().allow_with("api.example.com", &upstream, &rule).fixed("key", "the-real-secret-4711", lines);
    for padding in ["", &" ".repeat(100_000)] {
        let run = exeat.sh(&format!(
            "printf '%s{padding}' '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"search\",\"arguments\":\
             {{\"q\":\"'\"$KEY\"'\"}}}}}}' | curl -sS -w '%{{http_code}}' --data-binary @- -H 'Content-Type: application/json' \
             https://api.example.com/mcp"
        ));
        let run = run.ok();
        assert!(run.stdout.ends_with("403"), "{run:#?}");
        assert_eq!(run.log.refused_kinds().last(), Some(&"placeholder-misdirected"), "{run:#?}");
        assert!(run.log.refusals().last().unwrap().alert);
    }
    upstream.assert_untouched();
}

#[test]
fn a_call_in_the_query_string_or_by_another_method() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, RULE);
    for (options, kind) in [
        ("'https://api.example.com/mcp?jsonrpc=2.0&method=tools/call&id=1'", "body-unreadable"),
        ("'https://api.example.com/mcp?%6Dethod=tools/call'", "body-unreadable"),
        ("'https://api.example.com/mcp?a=1;method=tools/call'", "body-unreadable"),
        ("-X PUT https://api.example.com/mcp", "body-not-judged"),
        ("-I --http1.1 https://api.example.com/mcp", "body-not-judged"),
        ("-H 'Upgrade: websocket' -H 'Connection: Upgrade' --http1.1 https://api.example.com/mcp", "body-not-judged"),
    ] {
        let run = exeat.sh(&format!("curl -sS {options}")).ok();
        assert_eq!(run.log.refused_kinds().last(), Some(&kind), "{options}: {run:#?}");
    }
    upstream.assert_untouched();
}

#[test]
fn a_credential_goes_into_an_argument_and_into_no_name() {
    let upstream = Upstream::start();
    let rule = format!("{RULE}\ncredential = \"key\"");
    let lines = "to = [\"api.example.com\"]\nin = [\"body\", \"header\"]\nenv = \"KEY\"\n";
    let exeat =
        Exeat::new().allow_with("api.example.com", &upstream, &rule).fixed("key", "the-real-secret-4711", lines);
    let post = |params: &str| {
        exeat.sh(&format!(
            "printf '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{params}}}' $KEY | curl -sS --data-binary @- \
             -H 'Content-Type: application/json' -H \"Authorization: Bearer $KEY\" https://api.example.com/mcp"
        ))
    };
    let refused = post(r#"{"name":"read_%s"}"#).ok();
    assert!(refused.stdout.contains("a placeholder stands in what says which call it is"), "{refused:#?}");
    upstream.assert_untouched();
    let run = post(r#"{"name":"search","arguments":{"key":"%s"}}"#).ok();
    let seen = upstream.only();
    assert!(String::from_utf8_lossy(&seen.body).contains(r#""key":"the-real-secret-4711""#), "{seen:#?}");
    assert_eq!(seen.header("authorization"), Some("Bearer the-real-secret-4711"));
    assert_eq!(run.log.calls()[0].tool.as_deref(), Some("search"));
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"search"},{"name":"delete_all"}]}}"#;

/// An upstream that gives one answer to everything, byte for byte.
fn answering(head: &str, body: &str) -> RawUpstream {
    let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    RawUpstream::start(answer.leak().as_bytes())
}

/// What a client prints that asks for the list of tools (`POST`), or opens the session's stream (`GET`).
fn listed(upstream: &RawUpstream, method: &str) -> Run {
    let rule = format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"\n{RULE}\n", upstream.dial());
    let exeat = Exeat::new().rule(&rule);
    let body = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
    let options = match method {
        "POST" => format!("-H 'Content-Type: application/json' -d '{body}'"),
        _ => "-H 'Accept: text/event-stream' -H 'Last-Event-ID: 3'".to_owned(),
    };
    exeat.sh(&format!("curl -sS -H 'Range: bytes=70-' -H 'Accept-Encoding: gzip' -v -w '\n%{{http_code}}' {options} https://api.example.com/mcp"))
}

#[test]
fn a_list_is_cut_down_in_each_form_of_answer_also_on_a_resumed_stream() {
    let json = "200 OK\r\nContent-Type: application/json";
    let events = "200 OK\r\nContent-Type: text/event-stream";
    let half = LIST.find("\"result").unwrap();
    let pieces = format!("\u{feff}: hello\r\nid: 4\rdata:{}\r\ndata: {}\r\r", &LIST[..half], &LIST[half..]);
    for (method, head, body) in [
        ("POST", json, LIST.to_owned()),
        ("POST", "200 OK\r\nContent-Type: application/json; charset=utf-8", LIST.replace("\"id\":7", "\"id\":\"7\"")),
        ("POST", "400 Bad Request\r\nContent-Type: application/json", LIST.to_owned()),
        ("POST", events, format!("data: {LIST}\n\n")),
        ("POST", events, pieces.clone()),
        ("GET", events, pieces),
        ("GET", events, format!("event: message\ndata: [{LIST}]\n\n")),
    ] {
        let upstream = answering(&format!("{head}\r\nAlt-Svc: h3=\":443\""), &body);
        let run = listed(&upstream, method).ok();
        assert!(run.stdout.contains("search") && !run.stdout.contains("delete_all"), "{method} {body}: {run:#?}");
        let head = run.stderr.to_lowercase();
        assert!(head.contains("< content-type") && !head.contains("alt-svc"), "{method} {body}: {run:#?}");
        let sent = String::from_utf8(upstream.received().concat()).unwrap().to_lowercase();
        assert!(sent.contains("accept-encoding: identity\r\n") && !sent.contains("range:"), "{sent}");
    }
}

#[test]
fn a_list_that_cannot_be_read_is_not_shown() {
    let json = "200 OK\r\nContent-Type: application/json";
    let events = "200 OK\r\nContent-Type: text/event-stream";
    let twice = r#"{"jsonrpc":"2.0","id":7,"result":{},"result":{"tools":[{"name":"delete_all"}]}}"#;
    let folded = r#"{"jsonrpc":"2.0","id":7,"result":{"Tools":[{"name":"delete_all"}]}}"#;
    let padded = LIST.replace("search", &"x".repeat(2 << 20));
    for (head, body) in [
        (json, twice.to_owned()),
        (json, folded.to_owned()),
        (json, format!("\u{feff}{LIST}")),
        (json, padded.clone()),
        ("200 OK\r\nContent-Type: application/json\r\nContent-Encoding: br", LIST.to_owned()),
        ("200 OK\r\nContent-Type: application/json; charset=utf-7", LIST.to_owned()),
        ("200 OK\r\nContent-Type: application/json-seq", LIST.to_owned()),
        ("200 OK\r\nContent-Type: text/plain", LIST.to_owned()),
        ("200 OK", LIST.to_owned()),
        (events, format!("data: {twice}\n\n")),
        (events, format!("data: {folded}\n\n")),
        (events, format!("id: \u{2028}data: {LIST}\n\n")),
        (events, format!("data: {padded}\n\n")),
    ] {
        let upstream = answering(head, &body);
        let run = listed(&upstream, "POST");
        let shown = &body[..body.len().min(200)];
        assert!(!run.stdout.contains("delete_all"), "{head} {shown}: {run:#?}");
        let answer =
            run.stdout.lines().find(|line| line.contains("jsonrpc")).unwrap_or_else(|| panic!("{shown}: {run:#?}"));
        let answer: Value = serde_json::from_str(answer.trim_start_matches("data: ")).unwrap();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32603)), "{answer}");
        assert_eq!(answer["error"]["data"]["type"], "urn:exeat:refusal:listing-unreadable", "{answer}");
        let reason = run.log.ends()[0].reason.clone().unwrap();
        assert!(reason.contains("the answer may list tools"), "{reason}");
    }
    for (head, body) in
        [(json, LIST.to_owned() + LIST), (events, format!("data: {twice}\n\n")), ("200 OK", LIST.to_owned())]
    {
        let upstream = answering(head, &body);
        let run = listed(&upstream, "GET");
        assert!(!run.stdout.contains("delete_all"), "{head} {body}: {run:#?}");
        assert!(run.log.ends()[0].reason.as_ref().unwrap().contains("the answer may list tools"), "{run:#?}");
    }
}
