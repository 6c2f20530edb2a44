//! What passes unread passes only where a rule says so, to the checked address, into the log, and no longer than the rule stands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use jiff::Timestamp;

use crate::credentials::SECRET;
use crate::harness::{Authority, Exeat, Upstream, within};
use crate::standing::ended_within_a_second;

/// A client that trusts the tests' authority and nobody else, as one that brings its own roots does.
const PINNED: &str = "curl -sS --cacert ca.pem --capath . -w ' %{http_code}' https://pinned.example.com";

fn exeat(upstream: &Upstream, tls: &str) -> Exeat {
    let exeat = Exeat::new().allow_with("pinned.example.com", upstream, &format!("tls = \"{tls}\""));
    std::fs::write(exeat.work().join("ca.pem"), Authority::trusted().pem()).unwrap();
    exeat
}

/// Speaks first, answers each line, and after the last says goodbye. Serves until the test ends.
pub fn speaks_first() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dial = listener.local_addr().unwrap().to_string();
    let serve = |stream: TcpStream| -> std::io::Result<()> {
        let mut out = stream.try_clone()?;
        out.write_all(b"220 mail.example.com ready\r\n")?;
        for line in BufReader::new(stream).lines() {
            out.write_all(format!("250 {}\r\n", line?.trim_end()).as_bytes())?;
        }
        out.write_all(b"221 goodbye\r\n")
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away in the middle is what some of these tests are about.
            std::thread::spawn(move || serve(stream));
        }
    });
    dial
}

/// The next connection; a test whose connection never comes fails.
fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut stream = None;
    within(Duration::from_secs(20), "a connection", || {
        stream = listener.accept().ok();
        stream.is_some()
    });
    let (stream, _) = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn raw_tcp(dial: &str) -> Exeat {
    Exeat::new().rule(&format!("[[allow]]\nto = \"mail.example.com:25\"\ndial = \"{dial}\"\ntls = \"tcp\"\n"))
}

#[test]
fn a_pinned_client_reaches_its_server_unread_where_a_rule_says_so() {
    let upstream = Upstream::start();
    let run = exeat(&upstream, "passthrough").sh(&format!("{PINNED}/echo")).ok();
    assert!(run.stdout.ends_with(" 200"), "{run:#?}");
    assert_eq!(upstream.only().target, "/echo");
    let tunnels = run.log.tunnels();
    assert_eq!(
        (tunnels.len(), tunnels[0].tls.as_str(), tunnels[0].to.as_str()),
        (1, "passthrough", "pinned.example.com:443")
    );
    assert!(run.log.calls().is_empty(), "{run:#?}");
    let end = run.log.ends()[0].clone();
    assert_eq!((&*end.outcome, end.address.as_deref()), ("done", Some(&*upstream.dial())));
    assert!(end.sent > 200 && end.received > 200, "{run:#?}");
}

#[test]
fn a_pinned_client_under_an_ordinary_rule_is_named_in_the_log_with_what_to_do() {
    let upstream = Upstream::start();
    let run = exeat(&upstream, "intercept").sh(PINNED).ended_with(60);
    let refused = run.log.refusals()[0].clone();
    assert_eq!(refused.kind, "ca-not-trusted");
    assert!(refused.reason.contains("tls = \"passthrough\""), "{refused:?}");
    upstream.assert_untouched();
}

#[test]
fn what_passes_unread_has_to_name_its_server() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream, "passthrough");
    let program = "
import socket, ssl
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for name in None, 'other.example.com':
    stream = context.wrap_socket(socket.create_connection(('pinned.example.com', 443)), server_hostname=name)
    stream.sendall(b'GET / HTTP/1.1\\r\\nHost: pinned.example.com\\r\\nConnection: close\\r\\n\\r\\n')
    print(stream.recv(12).decode())
plain = socket.create_connection(('pinned.example.com', 443))
plain.sendall(b'GET / HTTP/1.1\\r\\nHost: pinned.example.com:443\\r\\nConnection: close\\r\\n\\r\\n')
print(plain.recv(12).decode())";
    let run = exeat.python(program).ok();
    assert_eq!(run.stdout.lines().collect::<Vec<_>>(), ["HTTP/1.1 421", "HTTP/1.1 421", "HTTP/1.1 403"], "{run:#?}");
    // A client that trusts nobody but its server cannot read that; what was wrong is in the log all the same.
    let run = exeat
        .sh("curl -sS --cacert ca.pem --capath . --connect-to ::pinned.example.com https://other.example.com")
        .ended_with(60);
    assert_eq!(run.log.refused_kinds()[3..], ["witnesses-disagree"]);
    assert_eq!(run.log.refused_kinds()[..3], ["no-server-name", "witnesses-disagree", "passes-unread"]);
    upstream.assert_untouched();
}

/// The ClientHello of Python's TLS library, with an encrypted one (RFC 9849) added to its extensions.
const ECH: &str = "
import socket, ssl
outgoing = ssl.MemoryBIO()
hello = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname='pinned.example.com')
try:
    hello.do_handshake()
except ssl.SSLWantReadError:
    pass
record = outgoing.read()
more = b'\\xfe\\x0d\\x00\\x10' + bytes(16)
body = record[9:]
at = 34
at += 1 + body[at]
at += 2 + int.from_bytes(body[at:at + 2])
at += 1 + body[at]
extensions = body[at + 2:] + more
body = body[:at] + len(extensions).to_bytes(2) + extensions
stream = socket.create_connection(('pinned.example.com', 443))
stream.sendall(b'\\x16\\x03\\x01' + (len(body) + 4).to_bytes(2) + b'\\x01' + len(body).to_bytes(3) + body)
stream.recv(1)";

#[test]
fn a_server_name_that_nobody_can_see_does_not_pass_unread() {
    let upstream = Upstream::start();
    let run = exeat(&upstream, "passthrough").python(ECH).ok();
    assert_eq!(run.log.refused_kinds(), ["encrypted-hello"], "{run:#?}");
    upstream.assert_untouched();
}

#[test]
fn a_pinned_client_is_told_by_an_alert_that_it_may_not_pass_or_could_not() {
    let upstream = Upstream::start();
    let run =
        exeat(&upstream, "passthrough\"\nrate = \"1/h").sh(&format!("{PINNED}/echo; {PINNED}/echo")).ended_with(35);
    assert!(run.stderr.to_lowercase().contains("access denied"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["rate-limited"]);
    let exeat =
        Exeat::new().rule("[[allow]]\nto = \"pinned.example.com\"\ntls = \"passthrough\"\ndial = \"127.0.0.1:1\"");
    std::fs::write(exeat.work().join("ca.pem"), Authority::trusted().pem()).unwrap();
    let run = exeat.sh(PINNED).ended_with(35);
    assert!(run.stderr.to_lowercase().contains("internal error"), "{run:#?}");
    assert!(run.log.ends()[0].reason.as_ref().unwrap().contains("cannot be reached"), "{run:#?}");
}

#[test]
fn a_deny_rule_wins_over_one_that_lets_connections_pass() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream, "passthrough")
        .rule("[[allow]]\nto = \"*.example.com:25\"\ntls = \"tcp\"\n[[deny]]\nto = \"mail.example.com\"");
    let program = "
import socket
stream = socket.create_connection(('mail.example.com', 25))
stream.sendall(b'GET / HTTP/1.1\\r\\nHost: mail.example.com:25\\r\\nConnection: close\\r\\n\\r\\n')
print(stream.recv(12).decode())";
    let run = exeat.python(program).ok();
    assert_eq!((run.stdout.trim(), run.log.refused_kinds()), ("HTTP/1.1 403", vec!["denied-by-rule"]), "{run:#?}");
    assert!(run.log.tunnels().is_empty());
}

#[test]
fn a_placeholder_does_not_pass_where_it_can_be_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let exeat = raw_tcp(&listener.local_addr().unwrap().to_string())
        .rule("[[allow]]\nto = \"*.mail.example.com:25\"\ntls = \"tcp\"")
        .fixed(
            "pets",
            "a-real-secret",
            "to = [\"api.example.com\"]\nin = [\"header\"]\nenv = \"PETS\"\nshape = \"pets[a-z0-9]{30}\"",
        );
    let program = "
import os, socket
stream = socket.create_connection(('mail.example.com', 25))
stream.sendall(b'AUTH PLAIN ')
stream.sendall(os.environ['PETS'].encode() + b' and more')
print(stream.recv(1))
stream = socket.create_connection((os.environ['PETS'] + '.mail.example.com', 25))
print(stream.recv(1))";
    let live = exeat.start(&["python3", "-c", program]);
    let mut arrived = Vec::new();
    accepted(&listener).read_to_end(&mut arrived).unwrap();
    let run = live.finish().ok();
    assert!(!String::from_utf8_lossy(&arrived).contains("and more"), "{arrived:?}");
    assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"; 2], "{run:#?}");
    assert!(run.log.refusals().iter().all(|refused| refused.alert));
}

#[test]
fn a_protocol_whose_server_speaks_first_passes_unread() {
    let run = raw_tcp(&speaks_first())
        .python("import smtplib\nmail = smtplib.SMTP('mail.example.com', 25, timeout=20)\nprint(mail.noop())\nprint(mail.quit())")
        .ok();
    assert_eq!(run.stdout, "(250, b'noop')\n(250, b'quit')\n", "{run:#?}");
    assert_eq!(run.log.tunnels()[0].tls, "tcp");
    let end = run.log.ends()[0];
    let heard = "220 mail.example.com ready 250 noop 250 quit 221 goodbye \n\n\n\n";
    assert_eq!((end.sent, end.received), ("noop \nquit \n".len() as u64, heard.len() as u64), "{end:?}");
}

#[test]
fn one_side_may_end_before_the_other() {
    let program = "
import socket
stream = socket.create_connection(('mail.example.com', 25), timeout=20)
stream.sendall(b'one')
stream.shutdown(socket.SHUT_WR)
print(b''.join(iter(lambda: stream.recv(4096), b'')))";
    let run = raw_tcp(&speaks_first()).python(program).ok();
    assert_eq!(run.stdout.trim(), r"b'220 mail.example.com ready\r\n250 one\r\n221 goodbye\r\n'", "{run:#?}");
}

#[test]
fn addresses_are_checked_for_what_passes_unread_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let exeat = Exeat::new()
        .hosts("127.0.0.1 inside.example.com\n")
        .rule(&format!("[[allow]]\nto = \"inside.example.com:{port}\"\ntls = \"tcp\"\n"));
    let program = format!("import socket\nprint(socket.create_connection(('inside.example.com', {port})).recv(9))");
    let run = exeat.python(&program).ok();
    assert_eq!(run.stdout.trim(), "b''", "{run:#?}");
    let end = run.log.ends()[0];
    assert_eq!(end.outcome, "refused");
    assert!(end.reason.as_ref().unwrap().contains("loopback"), "{end:?}");
    assert!(listener.accept().is_err(), "it was dialled");
}

#[test]
fn when_the_log_cannot_be_written_nothing_passes_unread() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let upstream = Upstream::start();
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh"];
    let exeat =
        raw_tcp(&listener.local_addr().unwrap().to_string()).allow("api.example.com", &upstream).through(&limited);
    let program = "
import http.client, socket
connection, status = http.client.HTTPSConnection('api.example.com'), 200
while status == 200:
    connection.request('GET', '/echo?fill=' + 'x' * 4000)
    answer = connection.getresponse()
    answer.read()
    status = answer.status
print(status, socket.create_connection(('mail.example.com', 25)).recv(1))";
    let run = exeat.python(program).ok();
    assert_eq!(run.stdout, "503 b''\n", "{run:#?}");
    assert!(listener.accept().is_err(), "it was dialled");
}

#[test]
fn the_start_is_in_the_log_while_the_connection_stands() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let exeat = raw_tcp(&listener.local_addr().unwrap().to_string());
    let live =
        exeat.start(&["python3", "-c", "import socket\nsocket.create_connection(('mail.example.com', 25)).recv(1)"]);
    let mut stream = accepted(&listener);
    assert_eq!(exeat.log().tunnels().len(), 1);
    stream.write_all(b"x").unwrap();
    live.finish().ok();
}

#[test]
fn a_rule_that_is_gone_ends_what_passes_unread_within_a_second() {
    let exeat = raw_tcp(&speaks_first());
    let program = "
import socket
stream = socket.create_connection(('mail.example.com', 25), timeout=30)
print(stream.recv(4096), flush=True)
print(stream.recv(4096))";
    let mut live = exeat.start(&["python3", "-c", program]);
    live.wait_for("220");
    let edited = Timestamp::now();
    std::fs::write(exeat.policy_file(), "[sandbox]\nwrite = [\".\"]\n").unwrap();
    within(Duration::from_secs(10), "the end of the tunnel", || live.stdout().contains("b''"));
    let run = live.finish().ok();
    let end = ended_within_a_second(&run.log.lines, edited);
    assert_eq!(end.outcome, "cut", "{end:?}");
    assert!(end.reason.as_ref().unwrap().contains("no rule lists this host"), "{end:?}");
}

#[test]
fn what_is_to_be_read_from_now_on_passes_unread_no_longer_and_gets_its_credential() {
    let upstream = Upstream::start();
    let lines = "to = [\"pinned.example.com\", \"api.example.com\"]\nenv = \"API_KEY\"\n";
    let exeat = exeat(&upstream, "passthrough").fixed("api", SECRET, lines);
    let exeat = exeat.allow_with("api.example.com", &upstream, "credential = \"api\"");
    let program = "
import os, socket, ssl, sys, urllib.request
pinned = ssl.create_default_context(cafile='ca.pem')
stream = pinned.wrap_socket(socket.create_connection(('pinned.example.com', 443), 30), server_hostname='pinned.example.com')
ask = b'GET /before HTTP/1.1\\r\\nHost: pinned.example.com\\r\\n\\r\\n'
stream.sendall(ask)
print(stream.recv(15), flush=True)
try:
    while stream.recv(65536):
        pass
except OSError:
    pass
print('over', flush=True)
sys.stdin.readline()
key = {'Authorization': 'Bearer ' + os.environ['API_KEY']}
print(urllib.request.urlopen(urllib.request.Request('https://pinned.example.com/after', headers=key)).status)";
    let mut live = exeat.start_with_input(&["python3", "-c", program]);
    live.wait_for("HTTP/1.1 200");
    let edited = Timestamp::now();
    let before = std::fs::read_to_string(exeat.policy_file()).unwrap();
    std::fs::write(exeat.policy_file(), before.replace("tls = \"passthrough\"", "credential = \"api\"")).unwrap();
    within(Duration::from_secs(10), "the end of the tunnel", || live.stdout().contains("over"));
    live.write("\n");
    let run = live.finish().ok();
    assert!(run.stdout.ends_with("200\n"), "{run:#?}");
    assert_eq!(ended_within_a_second(&run.log.lines, edited).outcome, "cut");
    let after = upstream.seen().pop().unwrap();
    assert_eq!((&*after.target, after.header("authorization")), ("/after", Some(&*format!("Bearer {SECRET}"))));
    assert_eq!((run.log.tunnels().len(), run.log.calls().len()), (1, 1), "{run:#?}");
}

#[test]
fn a_command_that_ends_takes_its_tunnels_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let exeat = raw_tcp(&listener.local_addr().unwrap().to_string());
    let live = exeat.start(&[
        "python3",
        "-c",
        // It ends once it has been heard: a worker that is stopped before takes up nothing more.
        "import socket\nto = socket.create_connection(('mail.example.com', 25))\nto.sendall(b'x')\nto.recv(1)",
    ]);
    let mut stream = accepted(&listener);
    stream.write_all(b"y").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"x");
    // The other side has not ended.
    let run = live.finish().ok();
    let reason = run.log.ends()[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("the worker was stopped: no call of it goes on, and none begins"), "{run:#?}");
    drop(stream);
}

#[test]
fn a_rate_counts_connections_that_pass_unread() {
    let dial = speaks_first();
    let exeat = Exeat::new()
        .rule(&format!("[[allow]]\nto = \"mail.example.com:25\"\ndial = \"{dial}\"\ntls = \"tcp\"\nrate = \"2/h\"\n"));
    let program = "
import socket
for n in range(3):
    print(socket.create_connection(('mail.example.com', 25), timeout=20).recv(3))";
    let run = exeat.python(program).ok();
    assert_eq!(run.stdout, "b'220'\nb'220'\nb''\n", "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["rate-limited"]);
}

#[test]
fn who_waits_for_the_server_to_speak_first_is_told_of_in_the_log_with_what_to_ask_for() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("ftp.example.com:21", &upstream);
    let program = "import socket, time
for port, patience in ((21, 20), (3306, 1), (25, 0)):
    began = time.monotonic()
    stream = socket.create_connection(('ftp.example.com', port))
    stream.settimeout(patience or 0.001)
    try:
        print(port, stream.recv(10), 2 <= time.monotonic() - began < 8)
    except TimeoutError:
        print(port, 'gave up')
    stream.close()";
    let run = exeat.python(program).ok();
    assert_eq!(run.stdout, "21 b'' True\n3306 gave up\n25 gave up\n", "{run:#?}");
    let refused = run.log.refusals();
    assert_eq!(refused.len(), 2, "who only asks whether a port is open calls nothing: {refused:#?}");
    for (refused, to) in refused.iter().zip(["ftp.example.com:21", "ftp.example.com:3306"]) {
        assert_eq!((&*refused.kind, &*refused.to), ("not-http", to));
        assert!(refused.reason.contains("the server's first word"), "{refused:#?}");
        let hint = refused.hint.as_deref().unwrap();
        assert!(hint.contains(&format!("[[allow]]\nto = \"{to}\"\ntls = \"tcp\"")), "{hint}");
    }
    let listed = exeat.exeat(&["calls", "--refused"]).finish().ok().stdout;
    assert!(listed.contains("to = \"ftp.example.com:21\"") && listed.contains("tls = \"tcp\""), "{listed}");
}
