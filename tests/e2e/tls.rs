//! Upstream TLS is no weaker than the client's own, and what cannot prove its name gets not a byte of the request.

mod groups;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use crate::harness::{Authority, Exeat, Identity, RawUpstream, TokenEndpoint, Upstream, free_address, within};

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
    let version = |leg: Option<Arc<record::TlsLeg>>| leg.unwrap().version.clone();
    assert_eq!((version(start.client_tls), version(end.upstream_tls)), ("TLSv1_3".to_owned(), "TLSv1_2".to_owned()));
}

/// Answers each ClientHello with a ServerHello of TLS 1.1, and keeps the types of the records that come.
fn of_tls_1_1() -> (String, Arc<Mutex<Vec<u8>>>) {
    let (listener, kinds) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::<Mutex<Vec<u8>>>::default());
    let (dial, kept) = (listener.local_addr().unwrap().to_string(), Arc::clone(&kinds));
    let serve = move |mut stream: TcpStream| -> std::io::Result<()> {
        let next = |stream: &mut TcpStream| -> std::io::Result<()> {
            let mut head = [0; 5];
            stream.read_exact(&mut head)?;
            kept.lock().unwrap().push(head[0]);
            stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))])
        };
        next(&mut stream)?;
        // Its random number, no session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression.
        let hello = [&[2, 0, 0, 38, 3, 2][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
        stream.write_all(&[&[22, 3, 2, 0, 42], &hello[..]].concat())?;
        loop {
            next(&mut stream)?;
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = serve(stream);
        }
    });
    (dial, kinds)
}

#[test]
fn an_upstream_that_speaks_no_more_than_tls_1_1_is_told_of_and_gets_nothing() {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    let (by_hand, kinds) = of_tls_1_1();
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::trusted().identity(NAME).pem();
    let [certificate, key] = [("cert", certificate), ("key", key)].map(|(name, text)| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    });
    let address = free_address();
    let arguments = ["-cert", &certificate, "-key", &key, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-quiet"];
    let mut server = Command::new("openssl");
    server.args(["s_server", "-accept", &address]).args(arguments);
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    within(Duration::from_secs(10), "a server of TLS 1.1", || TcpStream::connect(&address).is_ok());
    // It would do for who asks for no more.
    let old = ["s_client", "-connect", &address, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let old = Command::new("openssl").args(old).stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8_lossy(&old.stdout).contains("Protocol  : TLSv1.1"), "{old:?}");
    for dial in [&by_hand, &address] {
        let exeat = Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{dial}\""));
        let run = exeat.run(&["curl", "-sS", "-d", "secret", "https://api.example.com/echo"]).ok();
        let problem = run.json();
        let told = (problem["status"].as_u64(), &problem["type"]);
        assert_eq!(told, (Some(502), &"urn:exeat:refusal:upstream-tls".into()), "{dial}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("it speaks no TLS that is safe: neither 1.3 nor 1.2"), "{problem:#}");
        assert!(problem["ask_for"].as_str().unwrap().contains("its owner has to update it"), "{problem:#}");
    }
    // Whose records are of the handshake alone.
    within(Duration::from_secs(10), "an alert", || kinds.lock().unwrap().contains(&ALERT));
    let kinds = kinds.lock().unwrap().clone();
    assert_eq!(kinds, [HANDSHAKE, ALERT]);
    server.kill().unwrap();
    let mut said = String::new();
    server.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!said.contains("secret") && !said.contains("echo"), "{said}");
    server.wait().unwrap();
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

/// Answers each connection's request, says what `look` sees of it, and closes it; where it is.
fn answering<T: Send + 'static>(
    configuration: Arc<ServerConfig>,
    look: impl Fn(&mut ServerConnection) -> T + Send + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<T>>>) {
    let (listener, seen) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::<Mutex<Vec<T>>>::default());
    let (dial, kept) = (listener.local_addr().unwrap(), Arc::clone(&seen));
    let serve = move |mut stream: TcpStream| -> std::io::Result<()> {
        let mut connection = ServerConnection::new(Arc::clone(&configuration)).unwrap();
        let (mut head, mut piece) = (Vec::new(), [0; 4096]);
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        while !head.ends_with(b"\r\n\r\n") {
            let read = tls.read(&mut piece)?;
            head.extend_from_slice(&piece[..read]);
        }
        tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
        kept.lock().unwrap().push(look(&mut connection));
        connection.send_close_notify();
        connection.complete_io(&mut stream).map(drop)
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = serve(stream);
        }
    });
    (dial, seen)
}

#[test]
fn a_session_that_an_upstream_takes_early_data_for_is_resumed_without_any() {
    let mut configuration = Arc::unwrap_or_clone(
        Authority::trusted().identity(NAME).configuration_of(&["http/1.1"], &[&rustls::version::TLS13]),
    );
    configuration.max_early_data_size = 16 * 1024;
    let (dial, seen) = answering(configuration.into(), |connection| {
        let early = connection.early_data().is_some();
        (connection.handshake_kind() == Some(HandshakeKind::Resumed), early)
    });
    let exeat = Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{dial}\""));
    let run = exeat.sh("for n in 1 2 3; do curl -sSf https://api.example.com/; done").ok();
    assert_eq!(run.stdout, "okokok", "{run:#?}");
    // Without a session that was resumed, none could have come.
    let seen = seen.lock().unwrap().clone();
    assert!(seen.len() == 3 && seen.iter().any(|(resumed, _)| *resumed), "{seen:?}");
    assert!(seen.iter().all(|(_, early)| !early), "early data was offered: {seen:?}");
}

#[test]
fn two_names_at_one_address_share_no_connection_and_no_credential() {
    let (upstream, issuer) = (Upstream::with_alpn(&["h2"]), TokenEndpoint::start(300));
    let raw = RawUpstream::start(OK);
    let lines = format!("{}to = [\"api.example.com\"]\nenv = \"API_KEY\"\ninject = true\n", issuer.lines());
    for dial in [upstream.dial(), raw.dial()] {
        let exeat = Exeat::new()
            .secret("client", TokenEndpoint::SECRET)
            .credential("api", &lines)
            .rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{dial}\"\ncredential = \"api\""))
            .rule(&format!("[[allow]]\nto = \"www.example.com\"\ndial = \"{dial}\""));
        let run = exeat
            .sh("for n in 1 2 3; do curl -sSf https://api.example.com/api/$n https://www.example.com/www/$n; done")
            .ok();
        let lent: Vec<bool> = run.log.calls().iter().map(|call| call.credential.is_some()).collect();
        assert_eq!(lent, [true, false].repeat(3), "{run:#?}");
    }
    assert_eq!(upstream.connections(), 2, "each name has one of its own");
    for seen in upstream.seen() {
        let shown = issuer.issued().iter().any(|issued| seen.shows(issued));
        assert_eq!(shown, seen.target.starts_with("/api/"), "{seen:#?}");
    }
    let received = raw.received();
    assert_eq!(received.len(), 2, "each name has one of its own");
    for bytes in received.iter().map(|bytes| String::from_utf8_lossy(bytes)) {
        let with = ["api.example.com", "authorization: Bearer"].map(|part| bytes.matches(part).count());
        assert!(with == [3, 3] || with == [0, 0], "{bytes}");
    }
}

/// Every file below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

#[test]
fn the_key_of_a_workers_ca_is_in_no_file() {
    let upstream = RawUpstream::start(OK);
    let exeat = exeat(&upstream);
    let script = "curl -sSf https://api.example.com/ && cat /etc/ssl/certs/ca-certificates.crt > bundle && ls -A /tmp && echo done; read -r end";
    let mut live = exeat.start_with_input(&["sh", "-c", script]);
    live.wait_for("done");
    let mut found = Vec::new();
    files(&exeat.path(""), &mut found);
    for process in std::iter::once(live.pid()).chain(live.children()) {
        let open = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        found.extend(open.map(|entry| entry.path()).filter(|path| path.metadata().is_ok_and(|file| file.is_file())));
    }
    // The bundle that the sandbox trusts is among them, and the log.
    assert!(found.iter().any(|path| path.ends_with("bundle")), "{found:?}");
    assert!(found.iter().any(|path| path.extension().is_some_and(|end| end == "jsonl")), "{found:?}");
    // PEM, and how a P-256 key begins in PKCS #8 and in SEC 1.
    let needles =
        [&b"PRIVATE KEY"[..], b"\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", b"\x02\x01\x01\x04\x20"];
    for path in found {
        let bytes = std::fs::read(&path).unwrap_or_default();
        for needle in needles {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{needle:?} in {}", path.display());
        }
    }
    live.write("\n");
    live.finish().ok();
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
