//! A request that has no single reading is refused as the client's own fault, with what is wrong with it, however late that shows.

use crate::credentials::SECRET;
use crate::harness::{Exeat, RawUpstream};

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
