//! A network namespace in which every address there is leads to two listeners.
//!
//! For: the one way out. In: a namespace with nothing but a `lo` that is down. Out: `lo` up, a local default route for each
//! address family, NAT in front of it (or listeners on the policy's ports), and the sockets to hand out. Never: a link to
//! another namespace. What is not caught (UDP but to port 53) finds no socket and is refused at once.

use crate::{
    error::{Error, Step},
    message::Socket,
    netlink::{ACK, CREATE, Message, Netlink},
    nft,
    spec::CaptureChoice,
    status::Capture,
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, listen, netlink, socket_with, sockopt},
};
use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

/// `lo` is the first device of every namespace.
const LO: u32 = 1;
/// Connections that wait to be accepted: the kernel's own bound.
const BACKLOG: i32 = 4096;

/// What the sandbox's only network consists of.
pub(crate) struct Network {
    pub sockets: Vec<(Socket, OwnedFd)>,
    pub capture: Capture,
    pub ipv6: bool,
}

pub(crate) fn set_up(choice: CaptureChoice, ports: &BTreeSet<u16>) -> Result<Network, Error> {
    let route = Netlink::open(None)
        .map_err(|errno| Step::Network.failed("open a socket to the kernel's routing").because(errno))?;
    bring_up(&route).map_err(|errno| Step::Network.failed("bring up the device").on("lo").because(errno))?;
    add_route(&route, AddressFamily::INET)
        .map_err(|errno| Step::Network.failed("add the local route").on("0.0.0.0/0").because(errno))?;
    // A machine booted without IPv6 has no ::1 to bind; there is nothing to catch then.
    let ipv6 = listener(SocketType::STREAM, (Ipv6Addr::LOCALHOST, 0).into()).is_ok();
    if ipv6 {
        add_route(&route, AddressFamily::INET6)
            .map_err(|errno| Step::Network.failed("add the local route").on("::/0").because(errno))?;
    }
    if choice == CaptureChoice::Best
        && let Some(network) = by_redirect(ipv6)?
    {
        return Ok(network);
    }
    by_ports(ports, ipv6)
}

/// Lets a port that a connection came from be taken again a second after that has ended, by its TIME_WAIT's time stamps (RFC 6191), instead
/// of after a minute: whoever connects thousands of times would find ever fewer of them, which the kernel looks for one by one, and then none.
/// The kernel's own default is that for the addresses of loopback, which the names in here do not have. No wall: nothing depends on it.
pub(crate) fn reuse_ports() {
    let _ = fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1");
}

pub(crate) fn bring_up(route: &Netlink) -> Result<(), Errno> {
    let up = libc::IFF_UP.unsigned_abs().to_ne_bytes();
    // ifinfomsg: family, padding, type, index, flags, changed flags
    let header = [&[0; 4][..], &LO.to_ne_bytes(), &up, &up].concat();
    route.request(vec![Message::new(libc::RTM_NEWLINK, ACK, &header)])
}

fn add_route(route: &Netlink, family: AddressFamily) -> Result<(), Errno> {
    let family = family.as_raw().to_le_bytes()[0];
    // rtmsg: family, destination and source length (0: everything), TOS, table, protocol, scope, type, flags
    let header =
        [family, 0, 0, 0, libc::RT_TABLE_LOCAL, libc::RTPROT_BOOT, libc::RT_SCOPE_HOST, libc::RTN_LOCAL, 0, 0, 0, 0];
    route.request(vec![Message::new(libc::RTM_NEWROUTE, CREATE, &header).with(libc::RTA_OIF, &LO.to_ne_bytes())])
}

/// Every port, by NAT. `None` where the kernel has no nf_tables, or not enough of it.
fn by_redirect(ipv6: bool) -> Result<Option<Network>, Error> {
    let loopback: &[IpAddr] =
        if ipv6 { &[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] } else { &[Ipv4Addr::LOCALHOST.into()] };
    let mut sockets = Vec::new();
    let proxy = open(&mut sockets, &[Socket::Tcp], loopback, 0)?;
    let names = open(&mut sockets, &[Socket::DnsTcp, Socket::DnsUdp], loopback, 0)?;
    match Netlink::open(Some(netlink::NETFILTER)).and_then(|netfilter| netfilter.request(nft::batch(proxy, names))) {
        Ok(()) => Ok(Some(Network { sockets, capture: Capture::Redirect, ipv6 })),
        Err(Errno::PROTONOSUPPORT | Errno::OPNOTSUPP | Errno::NOENT | Errno::AFNOSUPPORT) => Ok(None),
        Err(errno) => Err(Step::Network.failed("install the NAT rules").because(errno)),
    }
}

/// The policy's ports and 53, by a listener each.
fn by_ports(ports: &BTreeSet<u16>, ipv6: bool) -> Result<Network, Error> {
    let any: &[IpAddr] = if ipv6 {
        &[Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
    } else {
        &[Ipv4Addr::UNSPECIFIED.into()]
    };
    let mut sockets = Vec::new();
    let ports: BTreeSet<u16> = ports.iter().copied().filter(|port| !matches!(port, 0 | 53)).collect();
    for &port in &ports {
        open(&mut sockets, &[Socket::Tcp], any, port)?;
    }
    open(&mut sockets, &[Socket::DnsUdp, Socket::DnsTcp], any, 53)?;
    Ok(Network { sockets, capture: Capture::Ports(ports), ipv6 })
}

/// Opens one socket for each use and address, all on the same port; 0 lets the first choose.
fn open(
    sockets: &mut Vec<(Socket, OwnedFd)>,
    uses: &[Socket],
    addresses: &[IpAddr],
    mut port: u16,
) -> Result<u16, Error> {
    for &usage in uses {
        let kind = if matches!(usage, Socket::DnsUdp) { SocketType::DGRAM } else { SocketType::STREAM };
        for &address in addresses {
            let address = SocketAddr::new(address, port);
            let (fd, bound) = listener(kind, address)
                .map_err(|errno| Step::Network.failed("listen on").on(address).because(errno))?;
            port = bound;
            sockets.push((usage, fd));
        }
    }
    Ok(port)
}

fn listener(kind: SocketType, address: SocketAddr) -> Result<(OwnedFd, u16), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    bind(&fd, &address)?;
    if kind == SocketType::STREAM {
        listen(&fd, BACKLOG)?;
    }
    let bound = SocketAddr::try_from(rustix::net::getsockname(&fd)?).map_err(|_| Errno::AFNOSUPPORT)?;
    Ok((fd, bound.port()))
}
