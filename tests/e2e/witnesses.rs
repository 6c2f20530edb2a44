//! The name that was looked up, the server name and the authority of each request agree, or the call is misdirected (421).

use crate::harness::{Exeat, Run, Upstream, python_tools, tools};

/// Two hosts that the policy allows, so that nothing but their disagreement can be what is refused.
fn exeat(upstream: &Upstream) -> Exeat {
    Exeat::new().allow("api.example.com", upstream).allow("other.example.com", upstream).allow("192.0.2.7", upstream)
}

#[track_caller]
fn assert_misdirected(run: Run, upstream: &Upstream, kind: &str) {
    let run = run.ok();
    assert!(run.stdout.contains("421"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), [kind], "{run:#?}");
    upstream.assert_no_request();
}

/// Sends bytes over TLS from Python and prints the answer.
fn raw(connect_to: &str, server_name: &str, request: &str) -> String {
    format!(
        "import socket, ssl
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
stream = context.wrap_socket(socket.create_connection(('{connect_to}', 443)), server_hostname={server_name})
stream.sendall(b'{request}')
answer = b''
while piece := stream.recv(65536):
    answer += piece
print(answer.decode())"
    )
}

#[test]
fn a_host_field_that_is_not_the_server_name() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let script =
            format!("curl -sS {version} -w '%{{http_code}}' -H 'Host: other.example.com' https://api.example.com/");
        assert_misdirected(exeat(&upstream).sh(&script), &upstream, "witnesses-disagree");
    }
}

#[test]
fn a_field_by_which_others_know_the_host() {
    for version in ["--http1.1", "--http2"] {
        for field in [
            "X-Forwarded-Host: other.example.com",
            "X-Host: other.example.com",
            "X_Original_Host: other.example.com",
            "X-HTTP-Host-Override: other.example.com",
            "Forwarded: for=192.0.2.1;host=\"other.example.com\"",
        ] {
            let upstream = Upstream::start();
            let script = format!("curl -sS {version} -w '%{{http_code}}' -H '{field}' https://api.example.com/");
            let run = exeat(&upstream).sh(&script);
            assert!(run.stdout.contains("says other.example.com; all have to agree"), "{run:#?}");
            assert_misdirected(run, &upstream, "witnesses-disagree");
        }
        let upstream = Upstream::start();
        let fields = "-H 'X-Forwarded-Host: api.example.com' -H 'Forwarded: for=192.0.2.1;host=api.example.com'";
        exeat(&upstream).sh(&format!("curl -sSf {version} {fields} https://api.example.com/echo")).ok();
        assert_eq!(upstream.only().header("x-forwarded-host"), Some("api.example.com"));
    }
}

#[test]
fn a_server_name_that_is_not_the_name_looked_up() {
    let upstream = Upstream::start();
    let script =
        "curl -sS -w '%{http_code}' --connect-to other.example.com:443:api.example.com:443 https://other.example.com/";
    assert_misdirected(exeat(&upstream).sh(script), &upstream, "witnesses-disagree");
}

#[test]
fn a_server_name_on_a_connection_to_an_address() {
    let upstream = Upstream::start();
    let script = "curl -sS -w '%{http_code}' --resolve api.example.com:443:192.0.2.7 https://api.example.com/";
    assert_misdirected(exeat(&upstream).sh(script), &upstream, "witnesses-disagree");
}

#[test]
fn no_server_name_at_all() {
    let upstream = Upstream::start();
    let request = "GET / HTTP/1.1\\r\\nHost: api.example.com\\r\\nConnection: close\\r\\n\\r\\n";
    assert_misdirected(exeat(&upstream).python(&raw("api.example.com", "None", request)), &upstream, "no-server-name");
}

#[test]
fn an_absolute_target_that_names_another_host() {
    let upstream = Upstream::start();
    let request =
        "GET https://other.example.com/ HTTP/1.1\\r\\nHost: api.example.com\\r\\nConnection: close\\r\\n\\r\\n";
    let run = exeat(&upstream).python(&raw("api.example.com", "'api.example.com'", request));
    assert_misdirected(run, &upstream, "witnesses-disagree");
}

#[test]
fn an_absolute_target_that_names_another_scheme() {
    let upstream = Upstream::start();
    let request =
        "GET http://api.example.com:443/ HTTP/1.1\\r\\nHost: api.example.com\\r\\nConnection: close\\r\\n\\r\\n";
    let run = exeat(&upstream).python(&raw("api.example.com", "'api.example.com'", request));
    assert_misdirected(run, &upstream, "witnesses-disagree");
}

#[test]
fn an_absolute_target_that_agrees_goes_out_in_origin_form() {
    let upstream = Upstream::start();
    let request =
        "GET https://api.example.com/echo HTTP/1.1\\r\\nHost: api.example.com\\r\\nConnection: close\\r\\n\\r\\n";
    let run = exeat(&upstream).python(&raw("api.example.com", "'api.example.com'", request)).ok();
    assert!(run.stdout.starts_with("HTTP/1.1 200"), "{run:#?}");
    assert_eq!(upstream.only().target, "/echo");
}

#[test]
fn authorities_that_only_look_alike() {
    let others = [
        "api.example.com:8443",
        "api.example.com@other.example.com",
        "other.example.com#api.example.com",
        "[api.example.com]",
        "api.example.com.other.example.com",
        "api.example.com%00.other.example.com",
        "198.18.0.2",
    ];
    for host in others {
        let upstream = Upstream::start();
        let request = format!("GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n");
        let run = exeat(&upstream).python(&raw("api.example.com", "'api.example.com'", &request)).ok();
        assert!(run.stdout.starts_with("HTTP/1.1 4"), "{host}: {run:#?}");
        upstream.assert_no_request();
    }
}

#[test]
fn two_host_fields_or_none() {
    for fields in ["Host: api.example.com\\r\\nHost: api.example.com\\r\\n", "X-Host: api.example.com\\r\\n"] {
        let upstream = Upstream::start();
        let request = format!("GET / HTTP/1.1\\r\\n{fields}Connection: close\\r\\n\\r\\n");
        let run = exeat(&upstream).python(&raw("api.example.com", "'api.example.com'", &request)).ok();
        assert!(run.stdout.starts_with("HTTP/1.1 400"), "{run:#?}");
        upstream.assert_no_request();
    }
}

#[test]
fn letter_case_makes_no_difference() {
    let upstream = Upstream::start();
    exeat(&upstream).run(&["curl", "-sSf", "-H", "Host: API.Example.COM:443", "https://Api.eXample.com/echo"]).ok();
    assert_eq!(upstream.only().target, "/echo");
}

#[test]
fn the_witnesses_are_heard_for_each_request_of_a_connection() {
    let upstream = Upstream::start();
    let first = "GET /echo HTTP/1.1\\r\\nHost: api.example.com\\r\\n\\r\\n";
    let second = "GET /echo HTTP/1.1\\r\\nHost: other.example.com\\r\\nConnection: close\\r\\n\\r\\n";
    let run = exeat(&upstream).python(&raw("api.example.com", "'api.example.com'", &format!("{first}{second}"))).ok();
    assert!(run.stdout.contains("HTTP/1.1 200") && run.stdout.contains("HTTP/1.1 421"), "{run:#?}");
    upstream.only();
}

#[test]
fn they_are_heard_for_each_stream_of_http_2_in_the_clear() {
    let upstream = Upstream::plain();
    let exeat = Exeat::new().sandbox(&format!("read = [\"{}\"]", tools().display()));
    let exeat = exeat.allow_with("api.example.com:80", &upstream, "plain = true");
    let exeat = exeat.allow_with("other.example.com:80", &upstream, "plain = true");
    let program = "import hpack, json, socket
def frame(kind, flags, stream, payload=b''):
    return len(payload).to_bytes(3, 'big') + bytes([kind, flags]) + stream.to_bytes(4, 'big') + payload
encoder, decoder, statuses, data, ended = hpack.Encoder(), hpack.Decoder(), {}, b'', set()
def request(stream, authority, path):
    return frame(1, 5, stream, encoder.encode([(':method', 'GET'), (':scheme', 'http'), (':authority', authority), (':path', path)]))
stream = socket.create_connection(('api.example.com', 80), timeout=20)
stream.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + frame(4, 0, 0) + request(1, 'api.example.com', '/echo?1')
    + request(3, 'other.example.com', '/echo?3') + request(5, 'api.example.com:80', '/echo?5'))
while ended != {1, 3, 5}:
    data += stream.recv(65536)
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], 'big'):
        end = 9 + int.from_bytes(data[:3], 'big')
        kind, flags, number, payload, data = data[3], data[4], int.from_bytes(data[5:9], 'big'), data[9:end], data[end:]
        if kind == 1:
            statuses[number] = int(dict(decoder.decode(payload))[':status'])
        if kind in (0, 1) and flags & 1:
            ended.add(number)
print(json.dumps([statuses[number] for number in (1, 3, 5)]))";
    let run = exeat.run(&[&python_tools(), "-c", program]).ok();
    assert_eq!(run.json(), serde_json::json!([200, 421, 200]));
    let mut arrived: Vec<String> = upstream.seen().iter().map(|seen| seen.target.clone()).collect();
    let mut logged: Vec<String> =
        run.log.calls().iter().map(|call| format!("{}?{}", call.path, call.query.as_ref().unwrap())).collect();
    arrived.sort();
    logged.sort();
    assert_eq!((&arrived, &logged), (&vec!["/echo?1".to_owned(), "/echo?5".to_owned()], &arrived));
    let seen = run.log.calls();
    assert!(
        seen.iter().all(|call| call.http == "HTTP/2.0" && call.scheme == "http" && call.to == "api.example.com:80")
    );
    assert!(
        upstream.seen().iter().all(|seen| seen.header("host") == Some("api.example.com")),
        "{:#?}",
        upstream.seen()
    );
    assert_eq!(run.log.refused_kinds(), ["witnesses-disagree"]);
    assert_eq!(run.log.refusals()[0].path.as_deref(), Some("/echo"));
}
