//! Clients that read, but slowly: each of them, and all of them together.

use super::{STATED, attacked_within};
use crate::harness::Upstream;

#[test]
fn many_who_read_slowly_over_http_1_1_take_no_more_than_others() {
    let slow = "def attack():
    # Each has room for little, and reads a little of a large answer every tenth of a second.
    slow, plain = [], ssl.create_default_context()
    for _ in range(60):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        raw.connect((socket.gethostbyname(NAME) if not slow else slow[0].getpeername()[0], 443))
        slow.append(plain.wrap_socket(raw, server_hostname=NAME))
        slow[-1].sendall(b'GET /big?bytes=100000000 HTTP/1.1\\r\\nHost: ' + NAME.encode() + b'\\r\\n\\r\\n')
    answered, read, end = set(), 0, time.monotonic() + 6
    while time.monotonic() < end:
        for number, stream in enumerate(slow):
            try:
                stream.setblocking(False)
                piece = stream.recv(1024)
                read += len(piece)
                if piece.startswith(b'HTTP/1.1 200'):
                    answered.add(number)
            except OSError:
                pass
        time.sleep(0.2)
    return [len(answered), read]";
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let (told, _) = attacked_within(&upstream, slow, STATED);
    assert!(told[0].as_u64().unwrap() > 30 && told[1].as_u64().unwrap() > 100_000, "{told}");
}
