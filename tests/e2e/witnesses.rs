//! The name that was looked up, the server name and the authority of each request agree, or the call is misdirected (421).

use crate::harness::{Exeat, Run, Upstream};

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
