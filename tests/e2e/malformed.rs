//! A request that has no single reading is refused as the client's own fault, with what is wrong with it, however late that shows.

use crate::credentials::SECRET;
use crate::harness::{Exeat, RawUpstream, Upstream};

/// Sends each body as it is, behind a head that says it comes in chunks, and prints what was answered.
const CHUNKS: &str = r"
import socket, ssl, sys, time
context = ssl.create_default_context()
for chunks in (b'zz\r\nhello\r\n0\r\n\r\n', b'5\r\nhello!!\r\n0\r\n\r\n', b'5\r\nhello\r\n-1\r\n', b'fffffffffffffffff2\r\nok\r\n0\r\n\r\n', b'4\r\nhalf'):
    stream = context.wrap_socket(socket.create_connection(('api.example.com', 443)), server_hostname='api.example.com')
    stream.settimeout(5)
    stream.sendall(b'POST /a HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n')
    time.sleep(0.2)
    stream.sendall(chunks)
    if chunks.endswith(b'half'):
        stream.shutdown(socket.SHUT_WR)
    answer = b''
    try:
        while piece := stream.recv(65536):
            answer += piece
    except OSError:
        pass
    print(answer.decode(errors='replace'))
    print('----')";

#[test]
fn chunks_that_are_none_are_the_clients_fault_and_end_the_call() {
    for credential in [false, true] {
        let upstream = RawUpstream::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let rule = format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"", upstream.dial());
        let exeat = match credential {
            false => Exeat::new().rule(&rule),
            true => Exeat::new()
                .fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"body\"]\nenv = \"API_KEY\"\n")
                .rule(&format!("{rule}\ncredential = \"api\"")),
        };
        let run = exeat.python(CHUNKS).ok();
        let answers: Vec<&str> = run.stdout.split("----\n").filter(|answer| !answer.trim().is_empty()).collect();
        for answer in &answers[..4] {
            assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("the body broke off"), "{run:#?}");
            assert!(answer.contains("mend the request") && !answer.contains("gave no usable answer"), "{answer}");
        }
        let ends = run.log.ends();
        assert_eq!(ends.len(), 5, "{ends:#?}");
        for end in &ends[..4] {
            assert_eq!((end.status, &*end.outcome), (Some(400), "refused"), "{end:#?}");
            assert!(end.reason.as_ref().unwrap().contains("the body broke off"), "{end:#?}");
        }
        assert!(ends.iter().all(|end| !end.reason.as_deref().unwrap_or("").contains("no usable answer")), "{ends:#?}");
        // What had begun upstream was cut off: nobody there has read a whole request.
        for bytes in upstream.received() {
            assert!(!String::from_utf8_lossy(&bytes).ends_with("0\r\n\r\n"), "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn a_name_that_some_servers_read_as_another_is_not_passed_on() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let names =
        ["Transfer_Encoding: chunked", "Content_Length: 0", "X_Forwarded_For: 127.0.0.1", "Proxy.Authorization: x"];
    for version in ["--http1.1", "--http2"] {
        for field in names {
            let curl = format!("curl -sS -w '%{{http_code}}' {version} -H '{field}' https://api.example.com/echo");
            let run = exeat.sh(&curl).ok();
            assert!(run.stdout.ends_with("400") && run.stdout.contains("which some servers read as"), "{run:#?}");
            assert_eq!(run.log.refused_kinds().last(), Some(&"malformed"));
        }
        upstream.assert_no_request();
    }
    for version in ["--http1.1", "--http2"] {
        let twice = format!(
            "curl -sS -w '%{{http_code}}' {version} -H 'X-Api-Key: a' -H 'x_api_key: b' https://api.example.com/echo"
        );
        assert!(exeat.sh(&twice).ok().stdout.ends_with("400"));
        upstream.assert_no_request();
    }
    exeat.sh("curl -sSf -H 'api_key: a' https://api.example.com/echo").ok();
    assert_eq!(upstream.only().header("api_key"), Some("a"));
}

#[test]
fn nor_is_one_behind_the_body() {
    for alpn in ["http/1.1", "h2"] {
        let upstream = Upstream::with_alpn(&[alpn]);
        let exeat = Exeat::new()
            .fixed("other", SECRET, "to = [\"other.example.com\"]\nenv = \"API_KEY\"\ninject = \"X-Api-Key\"\n")
            .allow("api.example.com", &upstream);
        let program = r"
import socket, ssl
context = ssl.create_default_context()
for trailer in (b'Content_Length: 5', b'X_Forwarded_For: 127.0.0.1', b'Authorization: Bearer x', b'X_Api_Key: x', b'X-Tenant: b', b'X_Tenant: b', b'Range: bytes=0-3'):
    stream = context.wrap_socket(socket.create_connection(('api.example.com', 443)), server_hostname='api.example.com')
    stream.settimeout(5)
    name = trailer.split(b':')[0]
    stream.sendall(b'POST /echo HTTP/1.1\r\nHost: api.example.com\r\nX-Tenant: a\r\nTrailer: ' + name + b'\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n' + trailer + b'\r\n\r\n')
    print(stream.recv(65536).split(b'\r\n')[0].decode())";
        let run = exeat.python(program).ok();
        assert_eq!(run.stdout.matches("HTTP/1.1 400").count(), 7, "{alpn}: {run:#?}");
        assert_eq!(run.log.ends().iter().filter(|end| end.outcome == "refused").count(), 7, "{alpn}: {run:#?}");
    }
}

#[test]
fn nor_one_that_could_stand_for_the_credentials_own() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nenv = \"API_KEY\"\ninject = \"X-Api-Key\"\n")
        .allow_with("api.example.com", &upstream, "credential = \"api\"");
    let run = exeat.sh("curl -sS -w '%{http_code}' -H 'X_Api_Key: of-a-stranger' https://api.example.com/echo").ok();
    assert!(run.stdout.ends_with("403"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["calls-as-itself"], "{run:#?}");
    upstream.assert_no_request();
    exeat.sh("curl -sSf https://api.example.com/echo").ok();
    assert!(upstream.only().shows(SECRET));
}

#[test]
fn nor_such_a_one_behind_a_body_whoever_merges_the_two() {
    for (alpn, name) in [("http/1.1", "X-Api-Key"), ("http/1.1", "X_Api_Key"), ("h2", "X-Api-Key"), ("h2", "X_Api_Key")]
    {
        let upstream = Upstream::with_alpn(&[alpn]);
        let exeat = Exeat::new()
            .fixed("api", SECRET, "to = [\"api.example.com\"]\nenv = \"API_KEY\"\ninject = \"X-Api-Key\"\n")
            .allow_with("api.example.com", &upstream, "credential = \"api\"");
        // Where exeat puts its credential in, and where the agent says who it is elsewhere, so that exeat does not.
        let program = format!(
            r"
import os, socket, ssl
context = ssl.create_default_context()
for own in (b'', b'X-Other: ' + os.environb[b'API_KEY'] + b'\r\n'):
    stream = context.wrap_socket(socket.create_connection(('api.example.com', 443)), server_hostname='api.example.com')
    stream.settimeout(5)
    stream.sendall(b'POST /echo HTTP/1.1\r\nHost: api.example.com\r\n' + own + b'Trailer: {name}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{name}: of-a-stranger\r\n\r\n')
    print(stream.recv(65536).split(b'\r\n')[0].decode())"
        );
        let run = exeat.python(&program).ok();
        assert_eq!(run.stdout, "HTTP/1.1 400 Bad Request (exeat: malformed)\n".repeat(2), "{alpn} {name}: {run:#?}");
    }
}
