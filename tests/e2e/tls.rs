//! Upstream TLS is no weaker than the client's own, and what cannot prove its name gets not a byte of the request.

use std::time::{Duration, SystemTime};

use crate::harness::{Authority, Exeat, Identity, RawUpstream};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NAME: &[&str] = &["api.example.com"];

fn exeat(upstream: &RawUpstream) -> Exeat {
    Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"", upstream.dial()))
}

/// Calls an upstream that shows this certificate, and checks that the answer says why nothing was sent to it.
#[track_caller]
fn assert_refused(identity: &Identity, reason: &str, ask_for: &str) {
    let upstream = RawUpstream::with(identity.configuration(&["http/1.1"]), OK);
    let run = exeat(&upstream).run(&["curl", "-sS", "-d", "secret", "https://api.example.com/echo"]).ok();
    let problem = run.json();
    assert_eq!((problem["status"].as_u64(), &problem["type"]), (Some(502), &"urn:exeat:refusal:upstream-tls".into()));
    assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem:#}");
    assert!(problem["ask_for"].as_str().unwrap().contains(ask_for), "{problem:#}");
    assert!(upstream.received().iter().all(Vec::is_empty), "{:?}", upstream.received());
    assert!(run.log.ends()[0].reason.as_ref().unwrap().contains(reason), "{run:#?}");
}

#[test]
fn a_certificate_that_expired() {
    let day = Duration::from_secs(24 * 3600);
    let identity =
        Authority::trusted().identity_with(NAME, |params| params.not_after = (SystemTime::now() - day).into());
    assert_refused(&identity, "its certificate expired on ", "renew");
}

#[test]
fn a_certificate_that_is_not_valid_yet() {
    let day = Duration::from_secs(24 * 3600);
    let identity =
        Authority::trusted().identity_with(NAME, |params| params.not_before = (SystemTime::now() + day).into());
    assert_refused(&identity, "its certificate is valid from ", "clock");
}

#[test]
fn a_certificate_for_another_name() {
    let identity = Authority::trusted().identity(&["other.example.com"]);
    assert_refused(&identity, "for another name: DnsName(\"other.example.com\")", "check the name");
}

#[test]
fn a_certificate_that_vouches_for_itself_or_is_vouched_for_by_nobody_known() {
    let reason = "self-signed, or issued by an authority that is not trusted here";
    assert_refused(&Identity::self_signed(NAME), reason, "[upstream] roots");
    assert_refused(&Authority::new("nobody's authority").identity(NAME), reason, "[upstream] roots");
}

#[test]
fn a_certificate_that_is_for_clients() {
    let identity = Authority::trusted().identity_with(NAME, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_refused(&identity, "not for a server", "replace");
}

#[test]
fn a_certificate_with_the_name_of_a_workers_ca_whoever_vouches_for_it() {
    let identity = Authority::trusted().identity_with(NAME, |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "exeat worker CA");
    });
    assert_refused(&identity, "made by the CA of an exeat worker", "tell your operator");
    assert_refused(&Authority::new("exeat worker CA").identity(NAME), "made by the CA of an exeat worker", "operator");
}

#[test]
fn the_ca_of_a_worker_under_roots_stops_the_start() {
    let exeat = Exeat::new();
    std::fs::write(exeat.config("ca.pem"), Authority::new("exeat worker CA").pem()).unwrap();
    let run = exeat.run(&["true"]).ended_with(125);
    assert!(run.stderr.contains("CA of an exeat worker"), "{run:#?}");
}

#[test]
fn tls_upstream_is_never_below_what_the_client_offered() {
    let identity = Authority::trusted().identity(NAME);
    let upstream = RawUpstream::with(identity.configuration_of(&["http/1.1"], &[&rustls::version::TLS12]), OK);
    // The connection that the second call leaves behind is not one for the third.
    let program = "
import ssl, urllib.request, urllib.error
for lowest in ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    context = ssl.create_default_context()
    context.minimum_version = lowest
    try:
        print(urllib.request.urlopen('https://api.example.com/', context=context).status)
    except urllib.error.HTTPError as error:
        print(error.code, 'TLS 1.3, and the client offered nothing below' in error.read().decode())";
    let run = exeat(&upstream).python(program).ok();
    assert_eq!(run.stdout, "502 True\n200\n502 True\n", "{run:#?}");
    assert_eq!(upstream.received().iter().filter(|bytes| !bytes.is_empty()).count(), 1);
    let (start, end) = (run.log.calls()[1].clone(), run.log.ends()[1].clone());
    let version = |leg: Option<std::sync::Arc<record::TlsLeg>>| leg.unwrap().version.clone();
    assert_eq!((version(start.client_tls), version(end.upstream_tls)), ("TLSv1_3".to_owned(), "TLSv1_2".to_owned()));
}

#[test]
fn a_session_is_not_resumed_and_early_data_is_not_offered() {
    let upstream = RawUpstream::start(OK);
    let program = "
import socket, ssl
context, session = ssl.create_default_context(), None
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    context.maximum_version = version
    for n in range(2):
        stream = context.wrap_socket(socket.create_connection(('api.example.com', 443)), server_hostname='api.example.com', session=session)
        stream.sendall(b'GET / HTTP/1.1\\r\\nHost: api.example.com\\r\\n\\r\\n')
        stream.recv(100)
        print(stream.session_reused, bool(stream.session and stream.session.has_ticket))
        session = stream.session
    session = None";
    let run = exeat(&upstream).python(program).ok();
    assert_eq!(run.stdout, "False False\n".repeat(4), "{run:#?}");
}

#[test]
fn no_session_is_given_out_that_could_be_offered_to_another_worker() {
    let upstream = RawUpstream::start(OK);
    let exeat = exeat(&upstream);
    // OpenSSL keeps what it was given as a session, and offers it again.
    let script = "
for version in tls1_2 tls1_3; do
    kept=$([ ! -e $version ] || echo -sess_in $version)
    printf 'GET / HTTP/1.1\\r\\nHost: api.example.com\\r\\nConnection: close\\r\\n\\r\\n' |
    openssl s_client -connect api.example.com:443 -$version -ign_eof -sess_out $version $kept 2>&1 |
    grep -oE '^(New|Reused)|^HTTP/1.1 200'
done";
    for _worker in 0..2 {
        let run = exeat.sh(script).ok();
        for told in ["New", "HTTP/1.1 200"] {
            assert_eq!(run.stdout.lines().filter(|line| *line == told).count(), 2, "{told}: {run:#?}");
        }
        assert!(!run.stdout.contains("Reused"), "{run:#?}");
        let kept = ["tls1_2", "tls1_3"].map(|version| exeat.work().join(version).exists());
        assert_eq!(kept, [false, false], "{run:#?}");
    }
}

#[test]
fn a_client_with_roots_of_its_own_is_named_in_the_log_with_what_to_do() {
    let upstream = RawUpstream::start(OK);
    let exeat = exeat(&upstream);
    let program = "
import socket, ssl
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    try:
        context.wrap_socket(socket.create_connection(('api.example.com', 443)), server_hostname='api.example.com')
    except ssl.SSLCertVerificationError as error:
        print(error.verify_message)";
    let run = exeat.python(program).ok();
    assert_eq!(run.stdout.lines().count(), 2, "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["ca-not-trusted"; 2]);
    let told = exeat.exeat(&["calls"]).finish().ok().stdout;
    let rows: Vec<_> = told.lines().filter(|line| line.contains("refused")).collect();
    assert_eq!(rows.len(), 2, "{told}");
    for part in
        ["api.example.com:443", "ca-not-trusted", "unknown_ca", "/etc/ssl/certs/ca-certificates.crt", "SSL_CERT_FILE"]
    {
        assert!(rows.iter().all(|row| row.contains(part)), "{part}: {told}");
    }
    assert!(upstream.received().is_empty());
}
