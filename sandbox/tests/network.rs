//! There is one way out, and it catches everything.

mod harness;
use harness::{Sandbox, starters};

#[test]
fn tcp_to_any_port_of_any_address_reaches_the_listener_with_its_destination_known() {
    for starter in starters() {
        let script = "for to in 1.2.3.4:80 8.8.8.8:65535 10.0.0.1:1 169.254.169.254:80 255.1.1.1:9 \
                      [2001:db8::1]:443 [fd00::1]:22 [::ffff:7.7.7.7]:8080; do curl -sS -m 5 http://$to/; done";
        let out = Sandbox::of(starter).sh(script).ok();
        let expected = "wanted 1.2.3.4:80\nwanted 8.8.8.8:65535\nwanted 10.0.0.1:1\nwanted 169.254.169.254:80\nwanted \
                        255.1.1.1:9\nwanted [2001:db8::1]:443\nwanted [fd00::1]:22\nwanted 7.7.7.7:8080\n";
        assert_eq!(out, expected, "{starter:?}");
    }
}

#[test]
fn names_are_answered_whatever_server_is_asked_over_udp_and_tcp() {
    let script = r#"
import socket
query = bytes.fromhex("abcd01000001000000000000076578616d706c6503636f6d0000010001")
for family, server in ((2, "8.8.8.8"), (2, "127.0.0.53"), (10, "2001:4860:4860::8888"), (10, "::1")):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5)
    s.connect((server, 53)); s.send(query)
    print(server, s.recv(512)[-4:].hex())
s = socket.create_connection(("9.9.9.9", 53), 5); s.send(b"x"); print(*s.recv(99).decode().split()[-2:])
print(socket.gethostbyname("some.name.example"))
"#;
    for starter in starters() {
        let out = Sandbox::of(starter).run(&["/usr/bin/python3", "-c", script]).ok();
        let expected = "8.8.8.8 c6120009\n127.0.0.53 c6120009\n2001:4860:4860::8888 c6120009\n::1 c6120009\nwanted \
                        9.9.9.9:53\n198.18.0.9\n";
        assert_eq!(out, expected, "{starter:?}");
    }
}

#[test]
fn udp_but_to_port_53_is_refused_at_once() {
    let script = r#"
import socket, time
for family, to in ((2, ("1.2.3.4", 443)), (10, ("2001:db8::1", 443)), (2, ("198.18.0.1", 5353))):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5); s.connect(to); s.send(b"quic?"); began = time.time()
    try: s.recv(1); print("answered")
    except ConnectionRefusedError: print("refused", time.time() - began < 1)
"#;
    for starter in starters() {
        let out = Sandbox::of(starter).run(&["/usr/bin/python3", "-c", script]).ok();
        assert_eq!(out, "refused True\nrefused True\nrefused True\n", "{starter:?}");
    }
}

#[test]
fn the_sandboxs_own_loopback_stays_its_own() {
    let script = r#"
import socket, threading
for family, address in ((2, "127.0.0.1"), (2, "127.9.9.9"), (10, "::1")):
    server = socket.create_server((address, 8080), family=family)
    threading.Thread(target=lambda: server.accept()[0].send(b"mine")).start()
    print(socket.create_connection((address, 8080), 5).recv(9).decode())
    server.close()
try: socket.create_connection(("127.0.0.1", 22), 5)
except ConnectionRefusedError: print("nobody else")
"#;
    for starter in starters() {
        let out = Sandbox::of(starter).run(&["/usr/bin/python3", "-c", script]).ok();
        assert_eq!(out, "mine\nmine\nmine\nnobody else\n", "{starter:?}");
    }
}

#[test]
fn without_nat_the_policys_ports_are_caught_and_the_status_says_so() {
    for starter in starters() {
        let script =
            "for to in 1.2.3.4:80 1.2.3.4:8123 [2001:db8::1]:443 name.example:80; do curl -sS -m 5 http://$to/; done
                      curl -s -m 5 http://1.2.3.4:81/ || echo refused";
        let outcome = Sandbox::of(starter).with(&["--ports-only", "--port", "8123", "--status"]).sh(script);
        assert!(outcome.err.contains(r#""capture":{"ports":[80,443,8123]}"#), "{}", outcome.err);
        let expected =
            "wanted 1.2.3.4:80\nwanted 1.2.3.4:8123\nwanted [2001:db8::1]:443\nwanted 198.18.0.9:80\nrefused\n";
        assert_eq!(outcome.ok(), expected, "{starter:?}");
    }
}

/// Why Landlock need not keep ports from the command: those that the worker has are taken, at every address, whatever the options.
#[test]
fn nobody_inside_takes_the_workers_place() {
    let script = r#"
import errno, socket, sys
def listeners(file, state):
    rows = [line.split() for line in open("/proc/net/" + file).read().splitlines()[1:]]
    return {int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] == state}
taken = {(kind, port) for kind, file, state in ((1, "tcp", "0A"), (2, "udp", "07")) for port in listeners(file, state)}
taken |= {(kind, port) for kind, file, state in ((1, "tcp6", "0A"), (2, "udp6", "07")) for port in listeners(file, state)}
places, got = ("127.0.0.1", "0.0.0.0", "::1", "::"), []
if sys.argv[1] == "ports": places += ("198.18.0.9", "127.0.0.2", "2001:db8::1")
for kind, port in sorted(taken):
    for address in places:
        for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
            s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
            for option in options: s.setsockopt(socket.SOL_SOCKET, option, 1)
            try: s.bind((address, port)); (kind == 1) and s.listen(); got.append((address, port, options))
            except OSError as error: assert error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL), error
print(len(taken) >= 2, got)
# At an address that is elsewhere: it may listen, and nobody comes.
mine = socket.socket(); mine.bind(("198.18.0.9", 8444)); mine.listen()
def say(port):
    s = socket.create_connection(("198.18.0.9", port), 5); s.send(b"x"); return " ".join(s.recv(99).decode().split()[-2:])
print(say(8443), say(8444) if sys.argv[1] == "redirect" else "")
"#;
    for starter in starters() {
        for (options, way, elsewhere) in
            [(&[][..], "redirect", "wanted 198.18.0.9:8444"), (&["--ports-only", "--port", "8443"], "ports", "")]
        {
            let sandbox = Sandbox::of(starter).with(options);
            let out = sandbox.run(&["/usr/bin/python3", "-c", script, way]).ok();
            assert_eq!(out, format!("True []\nwanted 198.18.0.9:8443 {elsewhere}\n"), "{starter:?}");
        }
    }
}

/// What `ipv6.disable=1` does to every socket call, done by a filter to one process.
const WITHOUT_IPV6: &str = r#"
import ctypes, os, struct, sys
c = ctypes.CDLL(None)
calls = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
code = [(0x20, 0, 0, 0), (0x15, 0, 3, calls), (0x20, 0, 0, 16), (0x15, 0, 1, 10), (6, 0, 0, 0x50000 | 97), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 6, ctypes.addressof(code)))
assert c.prctl(38, 1, 0, 0, 0) == 0 and c.prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn on_a_machine_without_ipv6_everything_else_works_and_the_status_says_so() {
    for starter in starters() {
        let script =
            "for to in 1.2.3.4:5 name.example:80 [2001:db8::1]:5; do curl -s -m 5 http://$to/ || echo refused; done";
        let outcome =
            Sandbox::of(starter).with(&["--status"]).within(&["/usr/bin/python3", "-c", WITHOUT_IPV6]).sh(script);
        assert!(outcome.err.contains(r#""ipv6":false"#), "{}", outcome.err);
        assert_eq!(outcome.ok(), "wanted 1.2.3.4:5\nwanted 198.18.0.9:80\nrefused\n", "{starter:?}");
    }
}

#[test]
fn nothing_of_it_can_be_changed_from_inside() {
    let script = r#"
import socket, struct
def netlink(protocol, kind, header):
    s = socket.socket(16, socket.SOCK_RAW, protocol)
    s.send(struct.pack("=LHHLL", 16 + len(header), kind, 5, 1, 0) + header)
    return -struct.unpack("=i", s.recv(4096)[16:20])[0]
print("lo down", netlink(0, 16, struct.pack("=BxHiII", 0, 0, 1, 0, 1)))
print("route gone", netlink(0, 25, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 255, 3, 254, 2, 0)))
def opened(*a):
    try: socket.socket(*a); return "opened"
    except OSError as error: return error.errno
print("packet", opened(17, 3, 3), "raw", opened(2, 3, 1), "vsock", opened(40, 1), "bluetooth", opened(31, 3, 1))
print("mptcp", opened(2, 1, 262), "sctp", opened(2, 1, 132), "ping", opened(2, 2, 1), "alg", opened(38, 5))
print("netlink but for routes", {opened(16, 3, protocol) for protocol in range(1, 30)})
"#;
    for starter in starters() {
        let out = Sandbox::of(starter).run(&["/usr/bin/python3", "-c", script]).ok();
        let expected = "lo down 1\nroute gone 1\npacket 97 raw 1 vsock 97 bluetooth 97\n\
                        mptcp 93 sctp 93 ping 93 alg 97\nnetlink but for routes {93}\n";
        assert_eq!(out, expected, "{starter:?}");
        let devices = Sandbox::of(starter).sh("ls /proc/sys/net/ipv4/conf; ip link add d type dummy").out;
        assert_eq!(devices, "all\ndefault\nlo\n", "{starter:?}");
    }
}
