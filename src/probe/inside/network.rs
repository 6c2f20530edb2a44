//! Ways out beside the proxy: sockets of every kind.
//!
//! Enters: canaries outside, and addresses at which there is nobody. Leaves: whether anything got through. Never: a byte to a
//! service that is not exeat's or a canary, but a request line to private addresses, which no rule lists.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, socket_with};

use super::super::brief::{Brief, namespaces};
use super::super::finding::{Outcome, Probe};
use super::answer::{self, Answer};
use super::{refused, told};

pub(super) const PROBES: &[Probe] = &[
    Probe::with_control("network/tcp-loopback", "TCP to the machine's 127.0.0.1 and ::1", |brief| {
        tcp(&brief.canaries.loopback, &brief.nonce)
    }),
    Probe::with_control("network/tcp-machine", "TCP to the machine's other addresses", |brief| {
        tcp(&brief.canaries.machine, &brief.nonce)
    }),
    Probe::with_control("network/udp-machine", "UDP to the machine, on any port", |brief| {
        udp(&brief.canaries.datagrams, &brief.nonce)
    }),
    Probe::new("network/udp-443", "UDP to port 443, as QUIC does", quic),
    Probe::new("network/other-protocols", "SSH, SMTP and a protocol of one's own on other ports", other_protocols),
    Probe::new("network/private-addresses", "metadata services, private, shared and link-local addresses", private),
    Probe::new("network/own-listeners", "the proxy's listeners, as a proxy that is asked to connect", own_listeners),
    Probe::with_control("network/abstract-socket", "an abstract Unix socket of the machine", |brief| {
        let connect = || UnixStream::connect_addr(&UnixAddress::from_abstract_name(&brief.canaries.abstract_socket)?);
        unix(&brief.canaries.abstract_socket, &brief.nonce, connect())
    }),
    Probe::with_control("network/broker-socket", "the socket of exeat's own broker, by its path", |brief| {
        let Some(path) = &brief.broker else { return Outcome::not_applicable("the broker is no service") };
        match UnixStream::connect(path) {
            Ok(_) => Outcome::broke("connected"),
            Err(error) => Outcome::held(told(error)),
        }
    }),
    Probe::with_control("network/unix-socket", "a Unix socket of the machine, and those of its services", unix_sockets),
    Probe::new("network/raw-socket", "raw IP and ICMP sockets, IPv4 and IPv6", |_| {
        sockets(&[
            (AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)),
            (AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)),
            (AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)),
        ])
    }),
    Probe::new("network/icmp-datagram", "ICMP by datagrams, as ping has it without privilege, IPv4 and IPv6", |_| {
        sockets(&[
            (AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP)),
            (AddressFamily::INET6, SocketType::DGRAM, Some(ipproto::ICMPV6)),
        ])
    }),
    Probe::new("network/packet-socket", "AF_PACKET, below IP", |_| {
        sockets(&[(AddressFamily::PACKET, SocketType::RAW, None), (AddressFamily::PACKET, SocketType::DGRAM, None)])
    }),
    Probe::new("network/vsock", "AF_VSOCK, to the host of a virtual machine", |_| {
        sockets(&[(AddressFamily::VSOCK, SocketType::STREAM, None)])
    }),
    Probe::new("network/other-families", "AF_ALG, AF_CAN, AF_TIPC, AF_BLUETOOTH, AF_XDP and AF_KEY", |_| {
        const ALG: u16 = 38;
        const XDP: u16 = 44;
        sockets(&[
            (AddressFamily::from_raw(ALG), SocketType::SEQPACKET, None),
            (AddressFamily::CAN, SocketType::RAW, None),
            (AddressFamily::TIPC, SocketType::STREAM, None),
            (AddressFamily::BLUETOOTH, SocketType::RAW, None),
            (AddressFamily::from_raw(XDP), SocketType::RAW, None),
            (AddressFamily::KEY, SocketType::RAW, None),
        ])
    }),
    Probe::new("network/routes", "a change of a network device through AF_NETLINK", |_| {
        refused("RTM_NEWLINK for lo", sandbox::attempt::change_a_device)
    }),
    Probe::new("network/firewall", "nf_tables through AF_NETLINK", firewall),
];

/// A canary says its word at once; the proxy would wait for ours.
pub(super) const PATIENCE: Duration = Duration::from_millis(700);

fn tcp(canaries: &[SocketAddr], nonce: &str) -> Outcome {
    Outcome::of_all(
        canaries.iter().map(|canary| greeted(*canary, nonce)),
        "the machine has no such address, or a rule lists it",
    )
}

fn greeted(canary: SocketAddr, nonce: &str) -> Outcome {
    let mut stream = match TcpStream::connect_timeout(&canary, PATIENCE) {
        Ok(stream) => stream,
        Err(error) => return Outcome::held(format!("{canary}: {}", told(error))),
    };
    let request = format!("GET /{nonce} HTTP/1.1\r\nHost: {canary}\r\nConnection: close\r\n\r\n");
    let heard =
        stream.set_read_timeout(Some(PATIENCE)).is_ok_and(|()| stream.read(&mut [0; 1]).is_ok_and(|read| read > 0));
    if heard {
        return Outcome::broke(format!("{canary}: the canary spoke"));
    }
    let answer = stream.write_all(request.as_bytes()).and_then(|()| Answer::read(&mut stream, PATIENCE));
    match answer {
        Ok(answer) => Outcome::held(format!("{canary}: the canary was silent, and instead: {answer}")),
        Err(error) => Outcome::held(format!("{canary}: the canary was silent: {}", told(error))),
    }
}

fn udp(canaries: &[SocketAddr], nonce: &str) -> Outcome {
    let sent = canaries.iter().map(|canary| match datagram(*canary, nonce) {
        Ok(_) => Outcome::broke(format!("{canary}: the canary sent it back")),
        Err(error) => Outcome::held(format!("{canary}: {}", silence(error))),
    });
    Outcome::of_all(sent, "the machine has no address")
}

/// Here a refusal has to be heard: silence is what a datagram meets that left.
fn quic(brief: &Brief) -> Outcome {
    let sent = brief.nobody.iter().map(|address| {
        let to = SocketAddr::new(*address, 443);
        match datagram(to, &brief.nonce) {
            Ok(_) => Outcome::broke(format!("{to}: answered")),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Outcome::held(format!("{to}: {}", told(error)))
            }
            Err(error) if is_silence(&error) => Outcome::broke(format!("{to}: sent, and nothing refused it")),
            Err(error) => Outcome::not_applicable(format!("{to}: {}", told(error))),
        }
    });
    Outcome::of_all(sent, "no address to try")
}

/// Sends twice, as the first may only bring about the error that the second is told.
fn datagram(to: SocketAddr, text: &str) -> io::Result<usize> {
    let own: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(text.as_bytes())?;
    socket.send(text.as_bytes())?;
    socket.recv(&mut [0; 64])
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

pub(super) fn silence(error: io::Error) -> String {
    if is_silence(&error) { "no answer".to_owned() } else { told(error) }
}

fn other_protocols(brief: &Brief) -> Outcome {
    let banners = [(22, "SSH-2.0-probe\r\n"), (25, "EHLO probe\r\n"), (31337, "\u{1}\u{2}\u{3}\u{4}\n")];
    let tries = brief.nobody.iter().flat_map(|address| banners.map(|(port, banner)| (*address, port, banner)));
    let outcomes = tries.map(|(address, port, banner)| {
        answer::judged(&format!("port {port}"), answer::plain(SocketAddr::new(address, port), banner.as_bytes()))
    });
    Outcome::of_all(outcomes, "no address to try")
}

fn private(brief: &Brief) -> Outcome {
    let outcomes = brief.private.iter().map(|to| {
        let request = format!("GET /{} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n", brief.nonce);
        answer::judged("", answer::plain(*to, request.as_bytes()))
    });
    let whole = Outcome::of_all(outcomes, "rules list all of them");
    Outcome { seen: format!("of {} addresses: {}", brief.private.len(), whole.seen), ..whole }
}

/// Those of this user: inside there are no others.
fn own_listeners(brief: &Brief) -> Outcome {
    const MOST: usize = 8;
    let net = |of: &[(String, String)]| of.iter().find(|(kind, _)| kind == "net").cloned();
    if net(&brief.namespaces).is_none_or(|outside| Some(outside) == net(&namespaces())) {
        return Outcome::not_applicable("the network is the machine's own, and so are its listeners");
    }
    let user = rustix::process::getuid().as_raw().to_string();
    let own: Vec<SocketAddr> = listeners(&user).into_iter().take(MOST).collect();
    let outcomes = own.iter().map(|listener| {
        let target = format!("{}:{}", brief.unlisted, brief.port);
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        answer::judged("", answer::plain(*listener, request.as_bytes()))
    });
    Outcome::of_all(outcomes, "/proc/net/tcp shows none")
}

/// The TCP listeners of a user, as /proc shows them.
fn listeners(user: &str) -> Vec<SocketAddr> {
    const LISTENING: &str = "0A";
    let mut found = Vec::new();
    for (file, own) in
        [("/proc/net/tcp", IpAddr::V4(Ipv4Addr::LOCALHOST)), ("/proc/net/tcp6", IpAddr::V6(Ipv6Addr::LOCALHOST))]
    {
        for line in fs::read_to_string(file).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, LISTENING, _, _, _, owner, ..] = fields[..] else { continue };
            let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            if let Some(port) = port.filter(|_| owner == user) {
                found.push(SocketAddr::new(own, port));
            }
        }
    }
    found
}

fn unix(name: &str, nonce: &str, connected: io::Result<UnixStream>) -> Outcome {
    let heard = connected.and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        let _ = stream.write_all(nonce.as_bytes());
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        Ok(text)
    });
    match heard {
        Ok(text) if text.contains(nonce) => Outcome::broke(format!("{name}: the canary spoke")),
        Ok(_) => Outcome::held(format!("{name}: another one is there, not the canary")),
        Err(error) => Outcome::held(format!("{name}: {}", told(error))),
    }
}

fn unix_sockets(brief: &Brief) -> Outcome {
    const OF_SERVICES: [&str; 9] = [
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/podman/podman.sock",
        "/run/containerd/containerd.sock",
        "/run/crio/crio.sock",
        "/run/dbus/system_bus_socket",
        "/run/systemd/private",
        "/run/snapd.socket",
        "/tmp/.X11-unix/X0",
    ];
    let canary = &brief.canaries.socket;
    let canary = unix("the canary's socket", &brief.nonce, UnixStream::connect(canary));
    let services = OF_SERVICES.iter().map(|path| match UnixStream::connect(path) {
        Ok(_) => Outcome::broke(format!("{path}: connected")),
        Err(error) => Outcome::held(format!("those of services: {}", told(error))),
    });
    Outcome::of_all([canary].into_iter().chain(services), "")
}

fn sockets(kinds: &[(AddressFamily, SocketType, Option<Protocol>)]) -> Outcome {
    let opened = kinds.iter().map(|(family, kind, protocol)| {
        match socket_with(*family, *kind, SocketFlags::CLOEXEC, *protocol) {
            Ok(_) => Outcome::broke(format!("socket({}, {}): opened", family.as_raw(), kind.as_raw())),
            Err(errno) => Outcome::held(format!("socket: {}", told(errno))),
        }
    });
    Outcome::of_all(opened, "")
}

fn firewall(_: &Brief) -> Outcome {
    match sandbox::attempt::ask_the_firewall() {
        Err(errno @ (Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT)) => {
            Outcome::held(format!("no socket that leads to it: {}", told(errno)))
        }
        Err(errno @ (Errno::PERM | Errno::ACCESS)) => Outcome::held(told(errno)),
        Err(errno) => Outcome::broke(format!("it was heard: {}", told(errno))),
        Ok(()) => Outcome::broke("it answered"),
    }
}
