//! The address that was checked is the one that is dialled, at each call anew.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::thread;

use crate::credentials::SECRET;
use crate::harness::{Exeat, RawUpstream, Upstream};

const HOUSE: &str = include_str!("addresses/house.py");

/// A listener on the same port of another address of this machine.
fn beside(dial: &str) -> (TcpListener, u16) {
    let port = dial.rsplit_once(':').unwrap().1.parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.2", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    (listener, port)
}

#[test]
fn of_a_mixed_answer_only_the_addresses_that_may_be_dialled_are() {
    // Of the two, the resolver puts this machine's usual one first.
    let forbidden = TcpListener::bind("127.0.0.1:0").unwrap();
    let (listed, port) = beside(&forbidden.local_addr().unwrap().to_string());
    forbidden.set_nonblocking(true).unwrap();
    // The client stays until its connection was taken up, and led there.
    listed.set_nonblocking(false).unwrap();
    let greeted = thread::spawn(move || listed.accept().unwrap().0.write_all(b"hello").unwrap());
    let exeat = Exeat::new()
        .hosts("127.0.0.1 mixed.example.com\n127.0.0.2 mixed.example.com\n")
        .rule(&format!("[[allow]]\nto = \"mixed.example.com:{port}\"\ntls = \"tcp\"\naddresses = [\"127.0.0.2\"]"));
    let run = exeat
        .python(&format!("import socket\nprint(socket.create_connection(('mixed.example.com', {port})).recv(5))"))
        .ok();
    assert_eq!(run.log.ends()[0].address.as_deref(), Some(&*format!("127.0.0.2:{port}")), "{run:#?}");
    greeted.join().unwrap();
    assert_eq!(run.stdout, "b'hello'\n");
    assert!(forbidden.accept().is_err(), "the other address was dialled");
}

#[test]
fn a_name_that_is_rebound_between_two_calls_is_judged_anew() {
    // The upstream closes after each answer, so that no connection is left whose address was checked before.
    let upstream = RawUpstream::start(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    let (listener, port) = beside(&upstream.dial());
    let exeat = Exeat::new()
        .hosts("127.0.0.1 rebound.example.com\n")
        .rule(&format!("[[allow]]\nto = \"rebound.example.com:{port}\"\naddresses = [\"127.0.0.1\"]"));
    let call = format!("curl -sS -o /dev/null -w '%{{http_code}} ' https://rebound.example.com:{port}/");
    let mut live = exeat.start_with_input(&["sh", "-c", &format!("{call}; echo first; read line; {call}")]);
    live.wait_for("first");
    fs::write(exeat.path("hosts"), "127.0.0.1 localhost\n127.0.0.2 rebound.example.com\n").unwrap();
    live.write("go on\n");
    let run = live.finish().ok();
    assert_eq!(run.stdout, "200 first\n403 ", "{run:#?}");
    assert!(run.log.ends()[1].reason.as_ref().unwrap().contains("127.0.0.2 (loopback)"), "{run:#?}");
    assert!(listener.accept().is_err(), "the address that nobody allowed was dialled");
}

#[test]
fn a_name_that_is_rebound_is_judged_anew_beside_a_connection_that_stands_to_the_old_address() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let (listener, port) = beside(&upstream.dial());
    let exeat = Exeat::new()
        .hosts("127.0.0.1 rebound.example.com\n")
        .rule(&format!("[[allow]]\nto = \"rebound.example.com:{port}\"\naddresses = [\"127.0.0.1\"]"));
    // The stream takes the connection that is left of the first call; the last one needs another.
    let at = format!("https://rebound.example.com:{port}");
    let call = format!("curl -sS -o /dev/null -w '%{{http_code}} ' {at}/echo");
    let script = format!(
        "{call}; echo first; read line; curl -sSN '{at}/sse?n=600&ms=50' > events & until [ -s events ]; do sleep 0.05; done; {call}; kill $!"
    );
    let mut live = exeat.start_with_input(&["sh", "-c", &script]);
    live.wait_for("first");
    fs::write(exeat.path("hosts"), "127.0.0.1 localhost\n127.0.0.2 rebound.example.com\n").unwrap();
    live.write("go on\n");
    let run = live.finish().ok();
    assert_eq!(run.stdout, "200 first\n403 ", "{run:#?}");
    assert!(listener.accept().is_err(), "the address that nobody allowed was dialled");
    assert_eq!((upstream.connections(), upstream.seen().len()), (1, 2), "{run:#?}");
    let refused = run.log.ends().into_iter().find(|end| end.outcome == "refused").unwrap();
    assert!(refused.reason.as_ref().unwrap().contains("127.0.0.2 (loopback)"), "{run:#?}");
}

#[test]
fn no_name_is_looked_up_but_the_one_that_was_permitted_or_that_of_the_houses_proxy_as_it_is_written() {
    for (name, lines, kind, ask_for) in [
        ("api.example.com", "", "unresolved", ""),
        (
            "proxy.example.net",
            "proxy = \"http://proxy.example.net:3128\"\nproxy_resolves = true",
            "upstream-proxy",
            "operator",
        ),
        ("proxy", "proxy = \"http://proxy:3128\"\nproxy_resolves = true", "upstream-proxy", "the whole name"),
    ] {
        let exeat = Exeat::new().upstream(lines).rule("[[allow]]\nto = \"api.example.com\"").in_a_house(HOUSE);
        let run = exeat.run(&["curl", "-sS", "https://api.example.com/"]).ok();
        let problem = run.json();
        assert_eq!(problem["type"], format!("urn:exeat:refusal:{kind}"), "{problem:#}");
        assert!(problem["ask_for"].as_str().unwrap().contains(ask_for), "{problem:#}");
        let (house, wanted) = (exeat.house(), format!("asked {name} "));
        assert!(!house.is_empty() && house.iter().all(|said| said.starts_with(&wanted)), "{house:?}");
    }
}

#[test]
fn a_call_with_a_credential_to_a_name_that_nobody_knows_goes_nowhere() {
    let exeat = Exeat::new()
        .fixed("api", SECRET, "to = [\"api.example.com:8443\"]\nenv = \"API_KEY\"\n")
        .rule("[[allow]]\nto = \"api.example.com:8443\"\ncredential = \"api\"")
        .in_a_house(HOUSE);
    let run = exeat
        .sh("curl -sS -H \"Authorization: Bearer $API_KEY\" -d $API_KEY https://api.example.com:8443/$API_KEY; \
        curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com:8443/")
        .ok();
    let kinds: Vec<_> =
        ["placeholder-misdirected", "unresolved"].map(|kind| format!("urn:exeat:refusal:{kind}")).into();
    assert!(kinds.iter().all(|kind| run.stdout.contains(kind)), "{run:#?}");
    let end = run.log.ends()[0];
    assert_eq!((&*end.outcome, end.address.as_deref(), end.sent), ("refused", None, 0), "{run:#?}");
    let house = exeat.house();
    assert!(!house.is_empty() && house.iter().all(|said| said.starts_with("asked api.example.com ")), "{house:?}");
}

#[test]
fn a_name_is_looked_up_once_for_a_call_and_what_was_judged_is_dialled_however_it_is_answered_next() {
    // Twice the address that is allowed and twice the other one: the house turns them round each time it is asked.
    for (calls, dialled) in [(1, &["dialled 127.0.0.2"][..]), (4, &["dialled 127.0.0.2"; 2])] {
        let exeat = Exeat::new()
            .rule("[[allow]]\nto = \"rebound.example.com:8443\"\ntls = \"tcp\"\naddresses = [\"127.0.0.2\"]")
            .in_a_house(HOUSE);
        let program = format!(
            "import socket\nfor _ in range({calls}): print(socket.create_connection(('rebound.example.com', 8443)).recv(1))"
        );
        let run = exeat.python(&program).ok();
        let house = exeat.house();
        let found: Vec<&str> = house.iter().map(String::as_str).filter(|said| said.starts_with("dialled")).collect();
        assert_eq!(found, dialled, "{house:?} {run:#?}");
        let asked = house.iter().filter(|said| *said == "asked rebound.example.com 1").count();
        assert_eq!((asked, run.log.ends().len()), (calls, calls), "{house:?} {run:#?}");
    }
}

#[test]
fn no_spelling_of_an_address_is_a_way_to_it() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let spellings = [
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "0.0.0.0",
        "0",
        "127.0.0.1.nip.example.com",
        "localhost.example.com",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "fe80::1%lo",
        "10.0.0.1",
        "169.254.169.254",
    ];
    // Everything that resolves here resolves to this machine, whatever the rule's author thought of.
    let hosts: String = spellings.iter().map(|name| format!("127.0.0.1 {name}\n")).collect();
    let exeat = Exeat::new().hosts(&hosts).rule(&format!("[[allow]]\nto = \"*.example.com:{port}\"\nplain = true"));
    // As the address of a connection, and as the authority of a request on a connection that is allowed.
    let program = format!(
        "
import http.client
for host in {spellings:?}:
    for connect, named in (host, host), ('api.example.com', host), ('api.example.com', '[' + host + ']'), ('api.example.com', 'api.example.com@' + host):
        connection = http.client.HTTPConnection(connect, {port}, timeout=10)
        try:
            connection.request('GET', '/', headers={{'Host': named + ':{port}'}})
            print(connection.getresponse().status // 100, connect, named)
        except OSError as error:
            print('-', connect, named, error)"
    );
    let run = exeat.python(&program).ok();
    assert_eq!(run.stdout.lines().count(), 4 * spellings.len(), "{run:#?}");
    for line in run.stdout.lines() {
        assert!(line.starts_with(['4', '-']), "{line}: {run:#?}");
        assert!(line.starts_with('4') || !line.contains(" api.example.com "), "{line}: {run:#?}");
    }
    assert!(run.log.calls().iter().all(|call| !call.to.starts_with("api.")), "{run:#?}");
    assert!(listener.accept().is_err(), "this machine was dialled");
}

#[test]
fn exeat_listens_nowhere_that_it_could_dial() {
    let upstream = Upstream::start();
    let mut exeat = Exeat::new().allow("api.example.com", &upstream);
    // A worker's descriptors are root's to look at; an ordinary user gives it a network in which nobody else is.
    let alone = !rustix::process::geteuid().is_root();
    if alone {
        exeat = exeat.through(&["unshare", "--user", "--map-current-user", "--net"]);
    }
    let mut live = exeat.start_with_input(&["sh", "-c", "echo up; read line"]);
    live.wait_for("up");
    let process = format!("/proc/{}", live.pid().as_raw_nonzero());
    let held: Vec<String> = fs::read_dir(format!("{process}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    assert_eq!(held.is_empty(), alone);
    // State 0A is LISTEN; the tenth column is the socket's number. These are the sockets of the network that exeat dials in.
    for table in ["tcp", "tcp6"] {
        for line in fs::read_to_string(format!("{process}/net/{table}")).unwrap().lines().skip(1) {
            let columns: Vec<_> = line.split_whitespace().collect();
            assert!(columns[3] != "0A" || !(alone || held.contains(&columns[9].to_owned())), "{line}");
        }
    }
    live.write("go on\n");
    live.finish().ok();
}
