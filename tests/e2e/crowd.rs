//! More connections than there are places: who has something to do keeps theirs, who comes gets one.

use std::time::Duration;

use crate::harness::{Exeat, Upstream};

/// The worker's memory under an attack, in MiB (bench/README.md, Budgets).
const MOST: u64 = 128;

/// Opens half again as many connections as there are places, says on each what `says` and no more, and then asks one thing on a
/// new connection, while a stream that began before all of them goes on.
fn crowded(says: &str) -> String {
    format!(
        "import socket, ssl, time, urllib.request
stream = urllib.request.urlopen('https://api.example.com/sse?n=30&ms=100')
assert stream.readline().startswith(b'data:')
to, crowd = (socket.gethostbyname('api.example.com'), 443), []
for _ in range(3840):
    crowd.append(socket.create_connection(to))
    crowd[-1].sendall({says})
begun = time.monotonic()
answer = urllib.request.urlopen('https://api.example.com/echo')
answer.read()
print(answer.status)
assert time.monotonic() - begun < 5, 'waited for a place'
print(sum(line.startswith(b'data:') for line in stream), flush=True)
input()"
    )
}

#[test]
fn half_open_handshakes_make_room_for_who_has_something_to_ask() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().sandbox("files = 8192").allow("api.example.com", &upstream).limit(Duration::from_secs(50));
    for says in ["b''", "b'\\x16\\x03\\x01\\x02\\x00\\x01'"] {
        let mut live = exeat.start_with_input(&["python3", "-c", &crowded(says)]);
        live.wait_for("200\n29\n");
        let peak = live.peak_memory();
        live.write("\n");
        live.finish().ok();
        assert!(peak < MOST, "{says}: the worker took {peak} MiB");
    }
    let log = exeat.log();
    assert!(
        log.refused_kinds().iter().filter(|kind| **kind == "crowded").count() >= 2 * 1280,
        "{:?}",
        log.refused_kinds().len()
    );
    assert!(log.ends().iter().all(|end| end.outcome == "done"), "{:#?}", log.ends());
}

#[test]
fn connections_that_were_used_and_are_idle_make_room_too() {
    // Half a minute is how long an idle connection is kept otherwise.
    let exeat = Exeat::new().sandbox("files = 8192").limit(Duration::from_secs(25));
    let program = "import http.client, socket
to, crowd = socket.gethostbyname('denied.example.com'), []
for _ in range(2700):
    crowd.append(http.client.HTTPConnection(to))
    crowd[-1].request('GET', '/', headers={'Host': 'denied.example.com'})
    assert crowd[-1].getresponse().read()
print('all answered')";
    let run = exeat.python(program).ok();
    assert_eq!(run.stdout, "all answered\n");
}

#[test]
fn connections_that_ended_take_no_ports_from_those_that_come() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream).limit(Duration::from_secs(100));
    // More than there are ports to come from, of which one that ended is free again after a second, not after a minute.
    let program = "import socket, time, urllib.request
to = (socket.gethostbyname('api.example.com'), 443)
first, last = map(int, open('/proc/sys/net/ipv4/ip_local_port_range').read().split())
for number in range(last - first + 2000):
    # Whoever comes first closes: the port is taken at this end.
    socket.create_connection(to).close()
    if number % 1000 == 0:
        time.sleep(0.1)
print(urllib.request.urlopen('https://api.example.com/echo').status)";
    let run = exeat.python(program).ok();
    assert_eq!(run.stdout, "200\n");
}
