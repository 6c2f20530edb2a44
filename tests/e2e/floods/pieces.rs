//! Bytes in the smallest pieces there are: chunks of `aws-chunked` and frames of a WebSocket with one byte each. To look through a read of them takes
//! a hundred turns, and a neighbour has its own in between.

use serde_json::Value;

use super::attacked_in;
use crate::credentials::SECRET;
use crate::harness::{Exeat, Upstream};

/// Two threads that attack for a while, each by `attack(end)`, while a polite client counts what its calls take.
fn slowest_call_beside(attack: &str) -> f64 {
    let (upstream, other) = (Upstream::start(), Upstream::with_alpn(&["http/1.1"]));
    let exeat = Exeat::new()
        .fixed("api", SECRET, "to = [\"hostile.example.com\"]\nin = [\"header\", \"websocket\"]\nenv = \"API_KEY\"\n")
        .allow("api.example.com", &upstream)
        .allow_with("hostile.example.com", &other, "credential = \"api\"");
    let program = format!(
        "import os
{attack}
def attack():
    before, end = len(polite), time.monotonic() + 4
    hostile = [threading.Thread(target=attacks, args=(end,)) for _ in range(2)]
    for one in hostile:
        one.start()
    for one in hostile:
        one.join()
    while len(polite) < before + 3:
        time.sleep(0.01)
    return [max(took for _, took in polite[before:]), done]
done = []"
    );
    let (told, log, _) = attacked_in(exeat, &program);
    let Value::Array(done) = &told[1] else { panic!("{told}") };
    assert!(!done.is_empty() && done.iter().all(|done| *done == "done"), "{told} {:#?}", log.ends());
    told[0].as_f64().unwrap()
}

#[test]
fn chunks_of_a_byte_each() {
    let slowest = slowest_call_beside(
        "body = b'1\\r\\nx\\r\\n' * 10922 + b'0\\r\\n\\r\\n'
def attacks(end):
    while time.monotonic() < end:
        connection = http.client.HTTPSConnection('hostile.example.com', timeout=60, context=polite_context)
        connection.request('POST', '/upload', body, {'Content-Encoding': 'aws-chunked'})
        answer = connection.getresponse()
        answer.read()
        done.append('done' if answer.status == 200 else answer.status)",
    );
    assert!(slowest < 0.5, "{slowest} s");
}

#[test]
fn frames_of_a_byte_each() {
    let slowest = slowest_call_beside(
        "frames = (b'\\x01\\x81\\0\\0\\0\\0x' + b'\\0\\x81\\0\\0\\0\\0x' * 2000 + b'\\x80\\x81\\0\\0\\0\\0x') * 4
def attacks(end):
    raw = socket.create_connection(('hostile.example.com', 443), timeout=60)
    stream = polite_context.wrap_socket(raw, server_hostname='hostile.example.com')
    head = ['GET /ws HTTP/1.1', 'Host: hostile.example.com', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Authorization: Bearer ' + os.environ['API_KEY'], '', '']
    stream.sendall('\\r\\n'.join(head).encode())
    assert b' 101 ' in stream.recv(1000)
    def reads():
        try:
            while stream.recv(1 << 16):
                pass
        except OSError:
            pass
    threading.Thread(target=reads, daemon=True).start()
    while time.monotonic() < end:
        stream.sendall(frames)
    done.append('done')",
    );
    assert!(slowest < 0.5, "{slowest} s");
}
