//! In a JSON or form body that rule and grant name, the placeholder becomes the credential as it streams; every other body goes out
//! byte for byte, or not at all.

use std::time::Duration;

use crate::credentials::SECRET;
use crate::harness::{Exeat, RawUpstream, Run, TokenEndpoint, Upstream, requests};

/// `api` for api.example.com in bodies only; www.example.com and below /plain there is no credential.
fn exeat(dial: &str) -> Exeat {
    let rule = |to: &str, lines: &str| format!("[[allow]]\nto = \"{to}\"\ndial = \"{dial}\"\n{lines}\n");
    Exeat::new()
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"body\"]\nenv = \"API_KEY\"\n")
        .rule(&rule("api.example.com", "paths = [\"/plain/**\"]"))
        .rule(&rule("api.example.com", "credential = \"api\""))
        .rule(&rule("www.example.com", ""))
}

const JSON: &str = "-H 'Content-Type: application/json'";

#[test]
fn the_credential_is_put_into_json_and_the_length_is_right() {
    let upstream = RawUpstream::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let escaped = "$(printf %s $API_KEY | sed 's/x/\\\\u0078/; s/_/\\\\u005F/')";
    let script = format!(
        "curl -sSf {JSON} -d \"{{\\\"a\\\": [\\\"Bearer $API_KEY\\\", \\\"{escaped}\\\"]}}\" https://api.example.com/a"
    );
    let run = exeat(&upstream.dial()).sh(&script).ok();
    let received = requests(&upstream.received()[0]).unwrap();
    let body = format!("{{\"a\": [\"Bearer {SECRET}\", \"{SECRET}\"]}}");
    assert_eq!(String::from_utf8_lossy(&received[0].body), body);
    let length = received[0].headers.iter().find(|(name, _)| name == "content-length").unwrap();
    assert_eq!(length.1, body.len().to_string());
    let credential = run.log.calls()[0].credential.clone().unwrap();
    assert_eq!((&*credential.name, &credential.places[..]), ("api", &["body".into()][..]));
    assert_eq!((run.log.ends()[0].swapped, run.log.ends()[0].sent), (2, body.len() as u64));
}

#[test]
fn the_credential_is_put_into_a_form_and_encoded_for_it() {
    let upstream = Upstream::start();
    let percent = "$(printf %s $API_KEY | od -An -v -tx1 | tr -d '\\n' | tr ' ' '%')";
    let curl = "curl -sSf https://api.example.com/echo -d grant_type=x";
    exeat(&upstream.dial()).sh(&format!("{curl} -d client_secret=$API_KEY -d 'scope=a+b%20c' -d again={percent}")).ok();
    let body = String::from_utf8(upstream.only().body).unwrap();
    let pairs: Vec<_> = body.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    assert_eq!((pairs[0], pairs[2]), (("grant_type", "x"), ("scope", "a+b%20c")));
    for (name, value) in [pairs[1], pairs[3]] {
        assert_eq!(percent_encoding::percent_decode_str(value).decode_utf8().unwrap(), SECRET, "{name}");
    }
}

/// Sends a document of 400,000 characters with placeholders in it, in pieces that cut them, and prints what the upstream counted.
const LONG: &str = "import http.client, json, os, sys
key = os.environ['API_KEY']
text = json.dumps({'a': ['x' * 199_993 + key, 'y' * 200_000, key]}).encode()
at = text.index(key.encode()) + 5
pieces = [text[:at], text[at:at + 1], text[at + 1:-20], text[-20:]]
length = {'Content-Length': str(len(text))} if 'length' in sys.argv else {'Transfer-Encoding': 'chunked'}
connection = http.client.HTTPSConnection('api.example.com')
connection.request('POST', '/upload', iter(pieces), {'Content-Type': 'application/vnd.x+json', **length}, encode_chunked='length' not in sys.argv)
answer = connection.getresponse()
print(answer.status, answer.read().decode())";

#[test]
fn a_long_body_is_swapped_as_it_streams() {
    for (alpn, length) in [("http/1.1", ""), ("http/1.1", "length"), ("h2", ""), ("h2", "length")] {
        let upstream = Upstream::with_alpn(&[alpn]);
        let run = exeat(&upstream.dial()).run(&["python3", "-c", LONG, length]).ok();
        let expected = 11 + 199_993 + 200_000 + 2 * SECRET.len() + 8;
        assert_eq!(run.stdout, format!("200 {{\"bytes\":{expected}}}\n"), "{alpn} {length}");
        let seen = upstream.only();
        assert!(
            seen.text().contains(&format!("x{SECRET}\", \"y")) && !seen.text().contains("exeat_"),
            "{alpn} {length}"
        );
        assert_eq!(seen.header("content-length"), None);
        assert_eq!((run.log.ends()[0].swapped, run.log.ends()[0].sent), (2, expected as u64));
    }
}

#[test]
fn what_streams_is_not_held_until_its_end() {
    let upstream = Upstream::start();
    let program = "import http.client, os, time
def pieces():
    for number in range(4):
        yield b'%s\"%s\",\\n' % (b'[' if number == 0 else b'', os.environ['API_KEY'].encode())
        time.sleep(0.4)
    yield b'0]'
connection = http.client.HTTPSConnection('api.example.com')
connection.request('POST', '/upload', pieces(), {'Transfer-Encoding': 'chunked', 'Content-Type': 'application/json'}, encode_chunked=True)
print(connection.getresponse().status)";
    exeat(&upstream.dial()).python(program).ok();
    let seen = upstream.only();
    assert_eq!(seen.text().matches(SECRET).count(), 4);
    let spread = *seen.pieces.last().unwrap() - seen.pieces[0];
    assert!(spread > Duration::from_millis(900), "the upload was collected first: {spread:?}");
}

#[test]
fn a_client_that_waits_to_be_told_to_go_on_is_told() {
    let upstream = Upstream::start();
    let curl = format!(
        "curl -sSv --http1.1 {JSON} -H 'Expect: 100-continue' --expect100-timeout 30 --data-binary @body https://api.example.com/upload"
    );
    for fill in [100, 100_000] {
        let script = format!(
            "(printf '\"'; head -c {fill} /dev/zero | tr '\\0' x; printf '%s\"' $API_KEY) > body; {curl} 2>trace && grep 'HTTP/1.1 100' trace"
        );
        let run = exeat(&upstream.dial()).limit(Duration::from_secs(20)).sh(&script).ok();
        assert!(run.stdout.contains(&format!("{{\"bytes\":{}}}", fill + 2 + SECRET.len())), "{run:#?}");
    }
}

#[test]
fn an_answer_that_echoes_the_body_shows_the_placeholder() {
    let upstream = Upstream::start();
    let script =
        format!("curl -sSf {JSON} -d \"[\\\"$API_KEY\\\"]\" https://api.example.com/echo; echo; echo $API_KEY");
    let run = exeat(&upstream.dial()).sh(&script).ok();
    assert!(upstream.only().text().contains(SECRET));
    let (answer, placeholder) = run.stdout.trim().split_once('\n').unwrap();
    assert!(answer.contains(placeholder) && !answer.contains(SECRET), "{run:#?}");
}

#[test]
fn a_body_without_a_placeholder_gets_no_credential_and_passes_byte_for_byte() {
    let upstream = RawUpstream::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let script =
        "python3 -c \"import os; open('body','wb').write(b'{\\\"a\\\\\\\\u0062\\\": exe\\0' + os.urandom(3000))\"
for type in application/json application/x-www-form-urlencoded application/octet-stream; do
    curl -sSf -H \"Content-Type: $type\" --data-binary @body https://api.example.com/a
done
for type in application/json application/x-www-form-urlencoded; do
    curl -sSf -H \"Content-Type: $type\" -T - https://api.example.com/a < body
done; base64 -w0 body";
    let run = exeat(&upstream.dial()).sh(script).ok();
    let body = run.stdout.trim_start_matches("ok");
    let received: Vec<_> = upstream.received().iter().flat_map(|bytes| requests(bytes).unwrap()).collect();
    assert_eq!(received.len(), 5);
    for request in received {
        assert_eq!(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, request.body), body);
    }
    assert!(run.log.calls()[..3].iter().all(|call| call.credential.is_none()));
    assert!(run.log.ends().iter().all(|end| end.swapped == 0));
}

/// Sends a body and checks that it was refused as a `kind`, with nothing at the upstream.
#[track_caller]
fn assert_refused(kind: &str, alert: bool, curl: &str) -> Run {
    let upstream = Upstream::start();
    let script = format!("printf '{{\"a\":\"%s\"}}' $API_KEY > body; curl -sS -w '%{{http_code}}' {curl}");
    let run = exeat(&upstream.dial()).sh(&script).ok();
    assert!(run.stdout.ends_with(if alert { "403" } else { "415" }), "{curl}: {run:#?}");
    assert_eq!(run.log.refused_kinds(), [kind], "{curl}");
    assert_eq!(run.log.refusals()[0].alert, alert, "{curl}");
    upstream.assert_no_request();
    run
}

#[test]
fn a_placeholder_where_it_cannot_be_swapped_is_refused_with_the_reason() {
    let to = "https://api.example.com/echo";
    for (curl, reason) in [
        (format!("-F 'file=@body' {to}"), "neither"),
        (format!("-H 'Content-Type: text/plain' -d @body {to}"), "neither"),
        (
            format!("{JSON} -H 'Content-Encoding: gzip' --data-binary \"@$(gzip -k body; echo body.gz)\" {to}"),
            "Content-Encoding",
        ),
        (format!("{JSON} -H 'Content-Digest: sha-256=:eA==:' -d @body {to}"), "digest"),
        (format!("{JSON} -d $API_KEY {to}"), "within strings"),
    ] {
        let run = assert_refused("unswappable-body", false, &curl);
        assert!(run.stdout.contains(reason), "{curl}: {run:#?}");
    }
}

#[test]
fn a_placeholder_that_does_not_go_there_is_refused_and_an_alert() {
    for curl in [
        format!("{JSON} -d @body https://www.example.com/echo"),
        format!("{JSON} -d @body https://api.example.com/plain/echo"),
        format!("{JSON} -d \"[\\\"$(printf %s $API_KEY | base64 -w0)\\\"]\" https://api.example.com/echo"),
        "-H \"X-Key: $API_KEY\" https://api.example.com/echo".to_owned(),
        "\"https://api.example.com/echo?key=$API_KEY\"".to_owned(),
    ] {
        assert_refused("placeholder-misdirected", true, &curl);
    }
}

#[test]
fn a_body_that_streams_breaks_off_before_a_placeholder_that_cannot_be_swapped() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let script = format!(
            "(printf '[\"'; head -c 300000 /dev/zero | tr '\\0' x; printf '\", %s]' $API_KEY) | \
             curl -sS {version} {JSON} -w '%{{http_code}}' -X POST -T - https://api.example.com/upload"
        );
        let run = exeat(&upstream.dial()).sh(&script).ok();
        assert!(run.stdout.ends_with("415"), "{version}: {run:#?}");
        assert_eq!(run.log.ends()[0].outcome, "refused", "{version}");
        assert!(upstream.seen().iter().all(|seen| !seen.text().contains("exeat_")), "part of it went upstream");
    }
}

#[test]
fn without_a_credential_to_be_had_nothing_of_the_body_is_sent() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    issuer.set_down(true);
    let lines = format!("{}to = [\"api.example.com\"]\nin = [\"body\"]\nenv = \"API_KEY\"\n", issuer.lines());
    let exeat = Exeat::new().secret("client", TokenEndpoint::SECRET).credential("api", &lines);
    let exeat = exeat.allow_with("api.example.com", &upstream, "credential = \"api\"");
    for fill in [10, 100_000] {
        let script = format!(
            "(printf '[\"'; head -c {fill} /dev/zero | tr '\\0' x; printf '%s\"]' $API_KEY) > body
             curl -sS --http1.1 {JSON} -w '%{{http_code}}\\n' --data-binary @body https://api.example.com/upload
             curl -sS --http1.1 {JSON} -w '%{{http_code}}\\n' -X POST -T - https://api.example.com/upload < body"
        );
        let run = exeat.sh(&script).ok();
        assert_eq!(run.stdout.matches("503\n").count(), 2, "{run:#?}");
        assert!(run.log.refused_kinds().iter().all(|kind| *kind == "credential-unavailable"), "{run:#?}");
    }
    upstream.assert_no_request();
}

#[test]
fn a_call_of_a_tool_is_judged_before_the_credential_is_in_it() {
    let upstream = Upstream::start();
    let lines = "credential = \"api\"\npaths = [\"/mcp\"]\nmethods = [\"POST\"]\nmcp = { tools = [\"search\"] }";
    let exeat = Exeat::new()
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"body\"]\nenv = \"API_KEY\"\n")
        .allow_with("api.example.com", &upstream, lines);
    let call = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"NAME\",\"arguments\":{\"key\":\"'$API_KEY'\"}}}";
    let curl = |name: &str| format!("curl -sS {JSON} -d '{}' https://api.example.com/mcp", call.replace("NAME", name));
    let run = exeat.sh(&format!("{}; {}", curl("search"), curl("delete"))).ok();
    let body = call.replace("NAME", "search").replace("'$API_KEY'", SECRET);
    assert_eq!(String::from_utf8_lossy(&upstream.only().body), body);
    assert!(!run.stdout.contains(SECRET), "{run:#?}");
    assert_eq!(run.log.refusals().len(), 1, "{run:#?}");
}

#[test]
fn a_body_of_unknown_length_comes_whole_to_an_upstream_that_speaks_an_older_version() {
    let upstream = RawUpstream::start(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok");
    let to = "https://www.example.com";
    let script = format!("curl -sSf {to}/first; printf %s 'all of it' | curl -sSf -m 10 -T - {to}/second");
    let run = exeat(&upstream.dial()).sh(&script).ok();
    let received = upstream.received();
    let second = &requests(received.last().unwrap()).unwrap()[0];
    assert_eq!((received.len(), run.stdout.as_str(), &second.body[..]), (2, "okok", &b"all of it"[..]));
}
