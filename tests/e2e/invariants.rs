//! The ten invariants of ARCHITECTURE.md: for each, one test that tries to break it. The other files go into the breadth.

mod floods;
mod secrets;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Exeat, Log, RawUpstream, Upstream, process_with, whole_requests, within};

/// The address by which other machines would reach this one.
fn own_address() -> Ipv4Addr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Connecting a UDP socket sends nothing; it makes the kernel choose a source address.
    let connected = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    match connected.map(|address| address.ip()) {
        Ok(std::net::IpAddr::V4(address)) => address,
        _ => Ipv4Addr::LOCALHOST,
    }
}

#[test]
fn invariant_1_nothing_leaves_but_through_the_proxy_nor_without_the_worker() {
    let (tcp, udp) = (TcpListener::bind("0.0.0.0:0").unwrap(), UdpSocket::bind("0.0.0.0:0").unwrap());
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let program = format!(
        "import socket
print('begun', flush=True)
while True:
    for address in ('{own}', '127.0.0.1', '0.0.0.0', '::1', '::ffff:{own}', '198.18.0.1', '255.255.255.255', '224.0.0.1'):
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        for kind, port in ((socket.SOCK_STREAM, {tcp}), (socket.SOCK_DGRAM, {udp}), (socket.SOCK_DGRAM, 53)):
            stream = socket.socket(family, kind)
            stream.settimeout(0.2)
            try:
                if kind == socket.SOCK_DGRAM:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                stream.connect((address, port))
                stream.sendall(b'anyone there?')
                stream.recv(10)
            except OSError:
                pass
            stream.close()",
        own = own_address(),
        tcp = tcp.local_addr().unwrap().port(),
        udp = udp.local_addr().unwrap().port(),
    );
    let exeat = Exeat::new();
    let mut live = exeat.start(&["python3", "-c", &program, "4701.1"]);
    live.wait_for("begun");
    std::thread::sleep(Duration::from_secs(4));
    assert!(!live.log().refusals().is_empty(), "the attempts did not even reach the proxy");
    live.signal(Signal::KILL);
    within(Duration::from_secs(3), "the sandbox gone", || !process_with("4701.1"));
    assert!(tcp.accept().is_err(), "a connection left the sandbox");
    assert!(udp.recv(&mut [0; 64]).is_err(), "a packet left the sandbox");
}

#[test]
fn invariant_2_what_is_sent_is_the_one_request_that_was_judged() {
    let upstream = RawUpstream::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let exeat = Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"", upstream.dial()));
    // Each of these has been read in two ways by some pair of a proxy and a server.
    let program = r#"
import socket, ssl
context = ssl.create_default_context()
H = b'Host: api.example.com\r\n'
smuggled = b'GET /smuggled/?? HTTP/1.1\r\nHost: api.example.com\r\n\r\n'
attempts = [
    b'POST /a1 HTTP/1.1\r\n' + H + b'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + smuggled,
    b'POST /a2 HTTP/1.1\r\n' + H + b'Content-Length: 0\r\nContent-Length: %d\r\n\r\n' % len(smuggled) + smuggled,
    b'POST /a3 HTTP/1.1\r\n' + H + b'Content-Length: +0\r\n\r\n' + smuggled,
    b'POST /a4 HTTP/1.1\r\n' + H + b'Content-Length: 0x10\r\n\r\n' + smuggled,
    b'POST /a5 HTTP/1.1\r\n' + H + b'Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n' + smuggled,
    b'POST /a6 HTTP/1.1\r\n' + H + b'Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n' + smuggled,
    b'POST /a7 HTTP/1.1\r\n' + H + b'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n' + smuggled,
    b'POST /a8 HTTP/1.1\r\n' + H + b'Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n' + smuggled,
    b'POST /a9 HTTP/1.0\r\n' + H + b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + smuggled,
    b'GET /b1 HTTP/1.1\r\n' + H + b'X: a\r\n folded: b\r\n\r\n',
    b'GET /b2 HTTP/1.1\n' + H.replace(b'\r', b'') + b'X: bare\n\n',
    b'GET /b3 HTTP/1.1\r\n' + H + b'X: a\rTransfer-Encoding: chunked\r\n\r\n',
    b'GET /b4 HTTP/1.1\r\n' + H + b'X: nul\x00\r\n\r\n',
    b'GET\t/b5 HTTP/1.1\r\n' + H + b'\r\n',
    b'GET /b6 x HTTP/1.1\r\n' + H + b'\r\n',
    b'GET /b7 HTTP/1.2\r\n' + H + b'\r\n',
    b'GET /b8\r\n\r\n',
    b'GET /c1#fragment HTTP/1.1\r\n' + H + b'\r\n',
    b'GET /c2/../c3/%2e%2e/c4 HTTP/1.1\r\n' + H + b'\r\n',
    b'GET /c5?q=%0d%0aX-Injected:1 HTTP/1.1\r\n' + H + b'\r\n',
    b'OPTIONS * HTTP/1.1\r\n' + H + b'\r\n',
    b'GET /d1 HTTP/1.1\r\n' + H + b'Connection: Host, X-Gone\r\nX-Gone: 1\r\nX-Stays: 1\r\n\r\n',
    b'GET /d2 HTTP/1.1\r\n' + H + b'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n' + smuggled,
    b'POST /d3 HTTP/1.1\r\n' + H + b'Content-Length: 2\r\n\r\nok' + b'GET /d4 HTTP/1.1\r\n' + H + b'\r\n',
    b'POST /d5 HTTP/1.1\r\n' + H + b'Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n',
    b'POST /d6 HTTP/1.1\r\n' + H + b'Transfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n' + smuggled,
    b'POST /d7 HTTP/1.1\r\n' + H + b'Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff2\r\nok\r\n0\r\n\r\n',
    b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
]
for attempt in attempts:
    # Each smuggles a request of its own.
    attempt = attempt.replace(b'??', attempt.split()[1][1:])
    with context.wrap_socket(socket.create_connection(('api.example.com', 443)), server_hostname='api.example.com') as stream:
        stream.settimeout(1)
        try:
            stream.sendall(attempt)
            while stream.recv(65536):
                pass
        except OSError:
            pass
"#;
    let run = exeat.limit(Duration::from_secs(120)).python(program).ok();
    let (mut sent, mut begun) = (Vec::new(), Vec::new());
    for bytes in upstream.received() {
        // A call whose body turns out to be broken ends the connection within its request, which nobody acts on.
        let (found, length) =
            whole_requests(&bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)));
        let rest = String::from_utf8_lossy(&bytes[length..]).into_owned();
        if !rest.is_empty() {
            let head =
                ["POST /d6", "POST /d7"].into_iter().find(|head| rest.starts_with(&format!("{head} HTTP/1.1\r\n")));
            begun.push(head.unwrap_or_else(|| panic!("it ends within a request: {rest}")));
        }
        sent.extend(
            found
                .into_iter()
                .map(|request| format!("{} {}", request.method, request.target.split('?').next().unwrap())),
        );
    }
    // What was judged and is not among what was sent broke off on the way, and its record says so.
    let whole =
        run.log.ends().into_iter().filter(|end| end.outcome == "done").map(|end| end.call).collect::<BTreeSet<_>>();
    for head in begun {
        let of_it = |call: &record::CallStart| format!("{} {}", call.method, call.path) == head;
        assert!(run.log.calls().iter().any(|call| of_it(call) && !whole.contains(&call.call)), "{head} is not told");
    }
    let calls = run.log.calls().into_iter().filter(|call| whole.contains(&call.call));
    let mut logged: Vec<String> = calls.map(|call| format!("{} {}", call.method, call.path)).collect();
    sent.sort();
    logged.sort();
    assert_eq!(sent, logged);
    for proper in ["GET /c4", "POST /d3", "GET /d4", "POST /d5"] {
        assert!(sent.iter().any(|request| request == proper), "{proper} did not arrive: {sent:?}");
    }
    // After d2 a second request follows for whoever reads it as RFC 9112 says: judged, logged and sent as its own.
    let smuggled: Vec<_> = sent.iter().filter(|request| request.contains("smuggled")).collect();
    assert_eq!(smuggled, ["GET /smuggled/d2"], "{sent:?}");
}

#[test]
fn invariant_2_what_has_a_length_too_many_is_read_in_one_way_and_framed_anew_and_what_follows_two_framings_is_not_read()
{
    let upstream = RawUpstream::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let exeat = Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"", upstream.dial()));
    let program = r#"
import socket, ssl
context = ssl.create_default_context()
chunks = b'5\r\nhello\r\n0\r\n\r\n'
for number, (fields, body) in enumerate((
    (b'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n', chunks),
    (b'Transfer-Encoding: chunked\r\nContent-Length: 3\r\n', chunks),
    (b'Content-Length: 5\r\nContent-Length: 5\r\n', b'hello'),
    (b'Content-Length: 5\r\nContent-Length: 4\r\n', b'hello'),
)):
    stream = context.wrap_socket(socket.create_connection(('api.example.com', 443)), server_hostname='api.example.com')
    behind = b'GET /behind HTTP/1.1\r\nHost: api.example.com\r\n\r\n' if number < 2 else b''
    stream.sendall(b'POST /%d HTTP/1.1\r\nHost: api.example.com\r\n' % number + fields + b'\r\n' + body + behind)
    answer = b''
    stream.settimeout(5)
    while behind and (piece := stream.recv(65536)):
        answer += piece
    print((answer or stream.recv(12))[9:12].decode(), answer.count(b'HTTP/1.1 '))"#;
    let run = exeat.python(program).ok();
    // RFC 9112 section 6.1: whatever a length beside chunks leads to, the connection ends with it.
    assert_eq!(run.stdout, "200 1\n200 1\n200 0\n400 0\n", "{run:#?}");
    let arrived: Vec<_> = upstream
        .received()
        .iter()
        .flat_map(|bytes| {
            let (whole, length) = whole_requests(bytes).unwrap();
            assert_eq!(length, bytes.len(), "{}", String::from_utf8_lossy(bytes));
            whole
        })
        .collect();
    assert_eq!(arrived.len(), 3);
    for request in arrived {
        let framed = ["content-length", "transfer-encoding"];
        let framings = request.headers.iter().filter(|(name, _)| framed.contains(&&**name)).count();
        assert_eq!((&*request.body, framings), (&b"hello"[..], 1), "{request:#?}");
    }
}

#[test]
fn invariant_6_the_log_has_every_call_and_is_out_of_the_sandboxs_reach() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let script = "find / -name 000001.jsonl -not -path '/proc/*' 2>/dev/null; \
        for fd in /proc/[0-9]*/fd/*; do readlink $fd; done 2>/dev/null | grep -c jsonl; \
        n=0; while :; do n=$((n + 1)); curl -s https://api.example.com/echo/$n https://www.example.com/$n; done";
    let mut live = exeat.start(&["sh", "-c", script]);
    live.wait_for("0\n");
    upstream.wait_for(30);
    live.signal(Signal::KILL);
    let run = live.finish();
    assert!(!run.stdout.contains("000001.jsonl"), "{}", &run.stdout[..200]);
    std::thread::sleep(Duration::from_millis(300));
    let log = Log::read(&exeat.state());
    let logged: BTreeSet<String> = log.calls().iter().map(|call| call.path.clone()).collect();
    assert!(upstream.seen().iter().all(|seen| logged.contains(&seen.target)));
    assert!(log.refusals().len() + 1 >= logged.len() - 1, "the refusals are there as well");
}

#[test]
fn invariant_7_addresses_that_are_nobodys_business_are_never_dialled() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001::1",
        "::7f00:1",
    ];
    let own = own_address().to_string();
    let hosts: String =
        addresses.iter().enumerate().map(|(n, address)| format!("{address} n{n}.example.com\n")).collect();
    // A name with several addresses of which the first would do is judged by each of them.
    let mixed = "10.0.0.1 mixed.example.com\n127.0.0.1 mixed.example.com\n";
    let exeat = Exeat::new()
        .hosts(&format!("{hosts}{mixed}"))
        .rule(&format!("[[allow]]\nto = \"*.example.com:{port}\"\nplain = true"));
    let script = format!(
        "for name in $(seq 0 {last}) mixed; do [ $name = mixed ] || name=n$name; \
         curl -s -m 10 -o answer -w \"$name %{{http_code}} \" http://$name.example.com:{port}/ && grep -o 'refusal:[a-z-]*' answer; done",
        last = addresses.len() - 1
    );
    let run = exeat.sh(&script).ok();
    for line in run.stdout.lines() {
        assert!(line.ends_with("403 refusal:forbidden-address"), "{line}: {run:#?}");
    }
    assert_eq!(run.stdout.lines().count(), addresses.len() + 1);
    assert!(listener.accept().is_err(), "{own}:{port} was dialled");
    // What a rule lists is dialled.
    let listed = Exeat::new()
        .hosts("127.0.0.1 in.example.com\n")
        .rule(&format!("[[allow]]\nto = \"in.example.com:{port}\"\nplain = true\naddresses = [\"127.0.0.0/8\"]"));
    listed.sh(&format!("curl -s -m 2 http://in.example.com:{port}/"));
    assert!(listener.accept().is_ok());
}

#[test]
fn invariant_9_what_cannot_be_enforced_stops_everything_and_a_weaker_mode_is_in_the_log() {
    for kind in ["user", "net", "mnt", "pid"] {
        // exeat starts as an ordinary user in a namespace whose parent allows one user namespace, or none of another kind.
        let most = if kind == "user" { 1 } else { 0 };
        let script = format!(
            "echo {most} > /proc/sys/user/max_{kind}_namespaces && exec unshare --user --map-user=1 --map-group=1 \"$@\""
        );
        let exeat = Exeat::new().through(&["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"]);
        let run = exeat.run(&["touch", "it-ran"]).ended_with(125);
        assert!(run.stderr.contains("namespace") && run.stderr.contains("hint:"), "{kind}: {run:#?}");
        assert!(!exeat.work().join("it-ran").exists(), "{kind}");
    }
    let run = Exeat::new().option(&["--capture-ports-only"]).run(&["true"]).ok();
    assert!(run.log.start().sandbox["capture"].get("ports").is_some(), "{run:#?}");
}
