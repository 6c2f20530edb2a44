//! TLS towards the client: what it says against the leaf is told, and what one worker's CA has made is worth nothing to another's sandbox;
//! without a leaf nothing passes.

use crate::credentials::SECRET;
use crate::harness::{Exeat, RawUpstream, Run, Upstream, sabotaged};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn exeat(upstream: &RawUpstream) -> Exeat {
    Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"", upstream.dial()))
}

/// What a client that cannot make anything of the leaf ends its handshake with, by the alert's name in RFC 8446.
#[test]
fn whatever_a_client_says_against_the_leaf_is_in_the_log_with_what_to_do() {
    let upstream = RawUpstream::start(OK);
    let program = "
import socket, ssl
context = ssl.create_default_context()
context.maximum_version = ssl.TLSVersion.TLSv1_2
for alert in 42, 43, 46, 45, 40:
    outgoing = ssl.MemoryBIO()
    hello = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname='api.example.com')
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        pass
    stream = socket.create_connection(('api.example.com', 443), timeout=20)
    stream.sendall(outgoing.read())
    # With the server's last word, the certificate has come.
    flight = b''
    while not flight.endswith(b'\\x0e\\0\\0\\0'):
        flight += stream.recv(4096)
    stream.sendall(bytes([21, 3, 3, 0, 2, 2, alert]))
    while stream.recv(4096):
        pass";
    let run = exeat(&upstream).python(program).ok();
    let refusals = run.log.refusals();
    let not_trusted = ["bad_certificate", "unsupported_certificate", "certificate_unknown"];
    assert_eq!(
        run.log.refused_kinds(),
        ["ca-not-trusted", "ca-not-trusted", "ca-not-trusted", "client-tls", "client-tls"]
    );
    for (refused, alert) in refusals.iter().zip(not_trusted) {
        assert!(refused.reason.contains(alert) && refused.reason.contains("SSL_CERT_FILE"), "{refused:#?}");
    }
    assert!(refusals[3].reason.contains("look at its clock"), "{:#?}", refusals[3]);
    assert!(refusals[4].reason.contains("the alert HandshakeFailure"), "{:#?}", refusals[4]);
    assert!(upstream.received().is_empty());
}

#[test]
fn each_worker_has_a_ca_of_its_own_which_vouches_for_no_other_workers_leaf() {
    let upstream = RawUpstream::start(OK);
    let exeat = exeat(&upstream);
    // The worker's root is what the bundle has beside the machine's; the key is read off the certificate.
    let script = "
python3 - <<'END'
import re
pem = '-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----'
certificates = re.findall(pem, open('/etc/ssl/certs/ca-certificates.crt').read(), re.S)
open('last.pem', 'w').write(certificates[-1] + '\\n')
open('first.pem', 'w').write(certificates[0] + '\\n')
END
for own in first.pem last.pem; do
    openssl x509 -in $own -noout -subject | grep -q 'exeat worker CA' && cp $own own.$1.pem
done
openssl x509 -in own.$1.pem -noout -pubkey
for roots in own.1.pem own.$1.pem; do
    curl -sS -o answer -w '%{http_code}\\n' --cacert $roots --capath . https://api.example.com/ || echo $?
done";
    let runs = ["1", "2"].map(|number| exeat.run(&["sh", "-c", script, "sh", number]).ok());
    assert!(runs[0].stdout.ends_with("200\n200\n"), "{runs:#?}");
    assert!(runs[1].stdout.ends_with("000\n60\n200\n"), "{runs:#?}");
    let key = |run: &Run| run.stdout.split("-----END").next().unwrap().to_owned();
    assert!(key(&runs[0]).len() > 100 && key(&runs[0]) != key(&runs[1]), "{runs:#?}");
}

/// An exeat of which this can be taken away, with a credential for two names.
fn without(part: &str, upstream: &Upstream) -> Exeat {
    let names = "[\"first.example.com\", \"second.example.com\"]";
    let credential = format!("to = {names}\nin = [\"header\"]\nenv = \"API_KEY\"\n");
    let exeat = Exeat::new().program(&sabotaged()).environment("EXEAT_SABOTAGE", part);
    let exeat = exeat.fixed("api", SECRET, &credential);
    let lines = "credential = \"api\"";
    exeat.allow_with("first.example.com", upstream, lines).allow_with("second.example.com", upstream, lines)
}

#[test]
fn where_a_leaf_cannot_be_made_nothing_goes_upstream_and_the_log_says_whose_fault_it_is() {
    let upstream = Upstream::start();
    let exeat = without("mint", &upstream);
    // Of the leaves that are made, that is for the first, the second, the second again and other.example.com, every second fails.
    let script = "call() {
    n=$((n + 1))
    curl -sS -o answer -w \"$n %{http_code} %{exitcode}\\n\" -H \"Authorization: Bearer $API_KEY\" https://$1.example.com/echo?$n $2 || :
}
for name in first second first second; do
    call $name
done
call other \"--connect-to ::first.example.com:\"";
    let run = exeat.sh(script).ok();
    assert_eq!(run.stdout, "1 200 0\n2 000 35\n3 200 0\n4 200 0\n5 000 35\n", "{run:#?}");
    let told = ["alert internal error", "alert access denied"].map(|alert| run.stderr.matches(alert).count());
    assert_eq!(told, [1, 1], "{run:#?}");
    let seen: Vec<_> = upstream.seen().iter().map(|seen| (seen.target.clone(), seen.shows(SECRET))).collect();
    assert_eq!(seen, [1, 3, 4].map(|call| (format!("/echo?{call}"), true)));
    // What would have been refused anyhow is that.
    assert_eq!(run.log.refused_kinds(), ["leaf-unavailable", "witnesses-disagree"], "{run:#?}");
    let refused = run.log.refusals()[0];
    assert_eq!((&*refused.to, refused.status, refused.alert), ("second.example.com:443", None, false));
    assert!(refused.reason.starts_with("exeat's own part of the TLS handshake for second.example.com:443 failed: "));
    assert!(refused.hint.as_ref().unwrap().contains("tell your operator"), "{refused:#?}");
    let calls = exeat.exeat(&["calls"]).finish().ok().stdout;
    assert!(
        calls.lines().any(|line| line.contains("leaf-unavailable") && line.contains("second.example.com")),
        "{calls}"
    );
}

#[test]
fn without_a_ca_nothing_starts() {
    let exeat = without("ca", &Upstream::start());
    let run = exeat.sh("touch begun").ended_with(125);
    assert!(run.stderr.contains("cannot make a certificate for the worker's authority"), "{run:#?}");
    assert!(!exeat.work().join("begun").exists());
}
