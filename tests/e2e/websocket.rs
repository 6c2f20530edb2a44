//! On a WebSocket that rule and grant name, placeholders in messages of text become the credential; any other ends the connection.

use std::time::Duration;

use crate::credentials::SECRET;
use crate::harness::{Exeat, RawUpstream, Run, TokenEndpoint, Upstream, python_tools, tools, within};

fn exeat(upstream: &Upstream) -> Exeat {
    let read = format!("read = [\"{}\"]", tools().display());
    Exeat::new()
        .sandbox(&read)
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"websocket\"]\nenv = \"API_KEY\"\n")
        .allow_with("api.example.com", upstream, "credential = \"api\"")
        .allow("www.example.com", upstream)
}

/// Runs a program that has a `socket` to the host, whose messages come back reversed, and a `key`.
fn talk(exeat: &Exeat, host: &str, program: &str) -> Run {
    let program = program.replace('\n', "\n            ");
    let program = format!(
        "import asyncio, os, websockets
async def main():
    key = os.environ['API_KEY']
    try:
        async with websockets.connect('wss://{host}/ws/reversed', proxy=None) as socket:
            {program}
    except websockets.ConnectionClosed as closed:
        print('closed', closed.rcvd and closed.rcvd.code)
asyncio.run(main())"
    );
    exeat.run(&[&python_tools(), "-c", &program]).ok()
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

#[test]
fn the_credential_is_put_into_messages_of_text() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let program = "for text in ('login ' + key, '{\"key\": \"' + key + '\"}', '[\"' + key.replace('x', '\\\\u0078') + '\"]', 'w' * 300 + key, 'no key'):
    await socket.send(text)
    print((await socket.recv())[::-1])";
    let run = talk(&exeat(&upstream), "api.example.com", program);
    let wide = "w".repeat(300);
    let expected = format!("login {SECRET}\n{{\"key\": \"{SECRET}\"}}\n[\"{SECRET}\"]\n{wide}{SECRET}\nno key\n")
        .replace('\n', "\n");
    assert_eq!(run.stdout, expected);
    let credential = run.log.calls()[0].credential.clone().unwrap();
    assert_eq!(credential.places, ["websocket"]);
    assert_eq!(run.log.ends()[0].swapped, 4);
}

#[test]
fn it_is_found_in_fragments_with_control_frames_between() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let program = "async def pieces():
    for piece in ('a ' + key[:9], key[9:20], key[20:] + ' z'):
        yield piece
        await (await socket.ping('between'))
await socket.send(pieces())
print(await socket.recv())";
    let run = talk(&exeat(&upstream), "api.example.com", program);
    assert_eq!(run.stdout, reversed(&format!("a {SECRET} z")) + "\n");
}

#[test]
fn a_message_that_is_too_long_to_hold_goes_on_in_fragments() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    // The upstream turns each fragment round by itself.
    let program = "await socket.send('w' * 150_000 + key)
back = await socket.recv()
print(len(back), back.replace('w', '')[::-1], back.count('w'))";
    let run = talk(&exeat(&upstream), "api.example.com", program);
    assert_eq!(run.stdout, format!("{} {SECRET} 150000\n", 150_000 + SECRET.len()));
}

#[test]
fn binary_messages_of_every_length_pass_as_they_came() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let program = "for size in (0, 1, 125, 126, 65_535, 65_536, 300_000):
    sent = os.urandom(size)
    await socket.send(sent)
    back = await socket.recv()
    assert type(back) is bytes and back[::-1] == sent, size
    # Text between them is still looked into.
    await socket.send('say ' + str(size))
    assert await socket.recv() == ('say ' + str(size))[::-1], size
print('as they came')";
    let exeat = exeat(&upstream);
    for host in ["api.example.com", "www.example.com"] {
        let run = talk(&exeat, host, program);
        assert_eq!(run.stdout, "as they came\n", "{host}: {run:#?}");
    }
    let sizes = 1 + 125 + 126 + 65_535 + 65_536 + 300_000;
    let ends = exeat
        .log()
        .ends()
        .iter()
        .map(|end| (end.sent >= sizes, end.received >= sizes, end.swapped))
        .collect::<Vec<_>>();
    assert_eq!(ends, [(true, true, 0); 2]);
}

#[test]
fn any_other_placeholder_closes_the_socket_and_is_an_alert() {
    for (host, kind, program) in [
        ("www.example.com", "placeholder-misdirected", "await socket.send('login ' + key)"),
        ("api.example.com", "placeholder-misdirected", "await socket.send('login ' + key.upper())"),
        ("api.example.com", "unswappable-body", "await socket.send(('login ' + key).encode())"),
        ("api.example.com", "unswappable-body", "await socket.send('{' + key + '}')"),
        ("api.example.com", "unswappable-body", "await socket.ping(key)"),
        (
            "www.example.com",
            "placeholder-misdirected",
            "async def pieces():
    for piece in (key[:9], key[9:]):
        yield piece
        await (await socket.ping('between'))
await socket.send(pieces())",
        ),
    ] {
        let upstream = Upstream::with_alpn(&["http/1.1"]);
        let run = talk(&exeat(&upstream), host, &format!("{program}\nprint(await socket.recv())"));
        assert_eq!(run.stdout, "closed 1008\n", "{program}");
        assert_eq!(run.log.refused_kinds(), [kind], "{program}");
        assert_eq!(run.log.refusals()[0].alert, kind == "placeholder-misdirected", "{program}");
    }
}

#[test]
fn a_credential_that_comes_back_ends_it() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    // The upstream turns messages round, which of this secret makes no difference.
    let lines = "to = [\"api.example.com\"]\nin = [\"websocket\"]\nenv = \"API_KEY\"\n";
    let palindrome = "abcdefgh-ijkl-hgfedcba";
    let palindrome = format!("{palindrome}{}", reversed(palindrome));
    let read = format!("read = [\"{}\"]", tools().display());
    let exeat = Exeat::new().sandbox(&read).fixed("api", &palindrome, lines);
    let exeat = exeat.allow_with("api.example.com", &upstream, "credential = \"api\"");
    let run = talk(&exeat, "api.example.com", "await socket.send('a ' + key + ' z')\nprint(await socket.recv())");
    assert_eq!(run.stdout, "closed None\n");
    assert_eq!(run.log.ends()[0].outcome, "broken");
}

#[test]
fn without_a_credential_to_be_had_no_socket_opens() {
    let (upstream, issuer) = (Upstream::with_alpn(&["http/1.1"]), TokenEndpoint::start(300));
    issuer.set_down(true);
    let lines = format!("{}to = [\"api.example.com\"]\nin = [\"websocket\"]\nenv = \"API_KEY\"\n", issuer.lines());
    let exeat = Exeat::new().secret("client", TokenEndpoint::SECRET).credential("api", &lines);
    let exeat = exeat.allow_with("api.example.com", &upstream, "credential = \"api\"");
    let script = "curl -sS --http1.1 -w '\\n%{http_code}' -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
        -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' https://api.example.com/ws";
    let run = exeat.sh(script).ok();
    assert!(run.stdout.ends_with("\n503"), "{run:#?}");
    upstream.assert_no_request();
}

#[test]
fn a_request_that_opens_one_has_no_body_that_could_be_read_as_its_first_messages() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let program = "import http.client
for fields in ({'Content-Length': '5'}, {'Transfer-Encoding': 'chunked'}, {'Content-Length': '0'}):
    connection = http.client.HTTPSConnection('www.example.com', timeout=20)
    connection.putrequest('GET', '/ws')
    upgrade = {'Connection': 'Upgrade', 'Upgrade': 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ=='}
    for name, value in {**upgrade, **fields}.items():
        connection.putheader(name, value)
    connection.endheaders()
    if fields.get('Content-Length') == '5':
        connection.send(b'\\x81\\x83abc')
    print(connection.getresponse().status)";
    let run = exeat(&upstream).python(program).ok();
    assert_eq!(run.stdout, "400\n400\n101\n", "{run:#?}");
    assert_eq!((run.log.refused_kinds(), upstream.seen().len()), (vec!["malformed"; 2], 1), "{run:#?}");
    assert!(run.log.refusals()[0].reason.contains("opens a WebSocket"), "{run:#?}");
}

#[test]
fn nothing_is_agreed_to_or_sent_before_the_upstream_agrees() {
    const AGREED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    const REFUSED: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    // A frame in the segment of the request, and one a moment later.
    let program = "import socket, ssl, time
stream = ssl.create_default_context().wrap_socket(socket.create_connection(('www.example.com', 443)), server_hostname='www.example.com')
stream.sendall(b'GET /ws HTTP/1.1\\r\\nHost: www.example.com\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n'
    b'Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n\\x81\\x85\\0\\0\\0\\0early')
time.sleep(0.3)
stream.sendall(b'\\x81\\x84\\0\\0\\0\\0late')
print('sent', flush=True)
print(stream.recv(65536).split(b'\\r\\n')[0].decode(), flush=True)
time.sleep(1)";
    let frames = b"\x81\x85\0\0\0\0early\x81\x84\0\0\0\0late";
    for (said, status, passed) in [(AGREED, "HTTP/1.1 101", &frames[..]), (REFUSED, "HTTP/1.1 403", b"")] {
        let upstream = RawUpstream::saying(Vec::leak(vec![(Duration::from_millis(2500), said)]));
        let rule = format!("[[allow]]\nto = \"www.example.com\"\ndial = \"{}\"", upstream.dial());
        let exeat = Exeat::new().rule(&rule);
        let mut live = exeat.start(&["python3", "-c", program]);
        live.wait_for("sent");
        let came = || upstream.received().concat();
        within(Duration::from_secs(2), "the request", || came().ends_with(b"\r\n\r\n"));
        std::thread::sleep(Duration::from_millis(1000));
        assert!(came().ends_with(b"\r\n\r\n"), "{}", String::from_utf8_lossy(&came()));
        assert_eq!(live.stdout(), "sent\n");
        live.wait_for(status);
        let run = live.finish().ok();
        let came = came();
        let head = came.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(&came[head..], passed, "{status}");
        assert_eq!(run.log.calls().len(), 1);
    }
}
