//! What an upstream says behind its answer, or without being asked, is nobody's answer: the connection is not used again.

use std::time::Duration;

use crate::credentials::SECRET;
use crate::harness::{Exeat, RawUpstream, requests};

/// After which nothing more is on its way.
const LATER: Duration = Duration::from_millis(150);

/// Two calls on one connection, the first of them by a method of one's own and without a credential; what each was answered.
const TWO: &str = "import http.client, os, sys, time
connection = http.client.HTTPSConnection('api.example.com', timeout=20)
for method, path, fields in ((sys.argv[1], '/first', {}), ('GET', '/second', {'Authorization': 'Bearer ' + os.environ['API_KEY']})):
    connection.request(method, path, headers=fields)
    answer = connection.getresponse()
    print(answer.status, answer.read().decode())
    time.sleep(float(sys.argv[2]))";

/// The second comes at once, or after so many seconds.
fn two_calls(upstream: &RawUpstream, first: &str, wait: &str) -> (String, Vec<Vec<String>>) {
    let rule = format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"\ncredential = \"api\"", upstream.dial());
    let exeat = Exeat::new().fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"header\"]\nenv = \"API_KEY\"\n");
    let run = exeat.rule(&rule).run(&["python3", "-c", TWO, first, wait]).ok();
    let paths = |bytes: &Vec<u8>| requests(bytes).unwrap().into_iter().map(|request| request.target).collect();
    (run.stdout, upstream.received().iter().map(paths).collect())
}

#[test]
fn the_next_call_never_gets_them() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    const POISON: &[u8] = b"HTTP/1.1 299 OK\r\ncontent-length: 6\r\n\r\npoison";
    let at_once = |answer: &[u8], more: &[u8]| RawUpstream::start(Vec::leak([answer, more].concat()));
    let later = |more: &'static [u8]| RawUpstream::saying(Vec::leak(vec![(Duration::ZERO, OK), (LATER, more)]));
    for (what, wait, upstream) in [
        ("a byte more", "0", at_once(OK, b"!")),
        ("a byte behind the chunks", "0", at_once(CHUNKED, b"!")),
        ("a second answer", "0", at_once(OK, POISON)),
        ("a second answer behind the chunks", "0", at_once(CHUNKED, POISON)),
        ("a byte later", "0.4", later(b"!")),
        ("a second answer later", "0.4", later(POISON)),
        ("a word of its own later", "0.4", later(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 6\r\n\r\npoison")),
        ("an interim answer later", "0.4", later(b"HTTP/1.1 100 Continue\r\n\r\n")),
    ] {
        let (told, connections) = two_calls(&upstream, "GET", wait);
        assert_eq!(told, "200 ok\n200 ok\n", "{what}");
        assert_eq!(connections, [["/first"], ["/second"]], "{what}");
    }
    // Nor what an answer has that has no body.
    let (told, connections) = two_calls(&RawUpstream::start(OK), "HEAD", "0");
    assert_eq!((&*told, connections), ("200 \n200 ok\n", vec![vec!["/first".to_owned()], vec!["/second".to_owned()]]));
    let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
    let (told, connections) = two_calls(&at_once(empty, POISON), "GET", "0");
    assert_eq!((&*told, connections.len()), ("204 \n204 \n", 2));
    // A connection on which no more is said than the answer is used again.
    assert_eq!(two_calls(&RawUpstream::start(OK), "GET", "0").1, [["/first", "/second"]]);
}
