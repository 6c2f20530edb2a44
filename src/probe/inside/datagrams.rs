//! Datagrams beside the proxy, by each system call that sends one to where its socket is not connected.
//!
//! Enters: canaries outside that take datagrams. Leaves: whether one arrived, or the kernel took it. Never: a call that is tried only where the one before it passed.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;

use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{
    MMsgHdr, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrAny, SocketAddrUnix, sendmmsg,
    sendmsg_addr, sendto,
};

use super::super::brief::{Brief, Canaries};
use super::super::finding::{Outcome, Probe};
use super::network::{PATIENCE, silence};
use super::told;

pub(super) const PROBES: &[Probe] = &[
    Probe::with_control("network/udp-unconnected", "UDP from a socket that is not connected", |brief| {
        udp(brief, &[("sendto", whole), ("sendmsg", in_pieces)])
    }),
    Probe::with_control("network/udp-sendmmsg", "UDP, several datagrams by one system call", |brief| {
        udp(brief, &[("sendmmsg", several)])
    }),
    Probe::with_control("network/unix-datagram", "Unix sockets of the machine that take datagrams", |brief| {
        unix(brief, &[("sendto", whole), ("sendmsg", in_pieces), ("sendmsg with a descriptor", with_a_descriptor)])
    }),
    Probe::with_control("network/unix-sendmmsg", "the same, several datagrams by one system call", |brief| {
        unix(brief, &[("sendmmsg", several)])
    }),
];

/// Sends a datagram.
type Way = fn(BorrowedFd<'_>, &SocketAddrAny, &[u8]) -> Result<(), Errno>;

fn whole(socket: BorrowedFd<'_>, to: &SocketAddrAny, text: &[u8]) -> Result<(), Errno> {
    sendto(socket, text, SendFlags::empty(), to).map(drop)
}

fn in_pieces(socket: BorrowedFd<'_>, to: &SocketAddrAny, text: &[u8]) -> Result<(), Errno> {
    sendmsg_addr(socket, to, &halves(text), &mut SendAncillaryBuffer::default(), SendFlags::empty()).map(drop)
}

fn with_a_descriptor(socket: BorrowedFd<'_>, to: &SocketAddrAny, text: &[u8]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let (mut beside, own) = (SendAncillaryBuffer::new(&mut space), [socket]);
    beside.push(SendAncillaryMessage::ScmRights(&own));
    sendmsg_addr(socket, to, &halves(text), &mut beside, SendFlags::empty()).map(drop)
}

fn several(socket: BorrowedFd<'_>, to: &SocketAddrAny, text: &[u8]) -> Result<(), Errno> {
    let (halves, mut none) = (halves(text), [(); 2].map(|()| SendAncillaryBuffer::default()));
    let mut messages: Vec<_> = none.iter_mut().map(|none| MMsgHdr::new_with_addr(to, &halves, none)).collect();
    sendmmsg(socket, &mut messages, SendFlags::empty()).map(drop)
}

fn halves(text: &[u8]) -> [IoSlice<'_>; 2] {
    let (first, second) = text.split_at(text.len() / 2);
    [IoSlice::new(first), IoSlice::new(second)]
}

/// Whoever sends anything back is the canary; all of them are waited for together.
fn udp(brief: &Brief, ways: &[(&str, Way)]) -> Outcome {
    let text = brief.nonce.as_bytes();
    let sent = |canary: &SocketAddr, way: Way| {
        let own: IpAddr = if canary.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((own, 0))?;
        socket.set_nonblocking(true)?;
        way(socket.as_fd(), &canary.as_any(), text)?;
        Ok(socket)
    };
    let tries =
        brief.canaries.datagrams.iter().flat_map(|canary| ways.iter().map(move |(call, way)| (canary, call, *way)));
    let sockets: Vec<(&SocketAddr, &&str, io::Result<UdpSocket>)> =
        tries.map(|(canary, call, way)| (canary, call, sent(canary, way))).collect();
    std::thread::sleep(PATIENCE);
    let heard = sockets.into_iter().map(|(canary, call, socket)| match socket.and_then(|socket| echo(&socket)) {
        // In here somebody may have the same port, be it the one who asks.
        Ok((from, _, own)) if from != *canary || own.port() == canary.port() => {
            Outcome::held(format!("{call} to {canary}: another answered"))
        }
        Ok((_, said, _)) if said != text => Outcome::held(format!("{call} to {canary}: another answered")),
        Ok(_) => Outcome::broke(format!("{call} to {canary}: the canary sent it back")),
        Err(error) => Outcome::held(format!("{call} to {canary}: {}", silence(error))),
    });
    Outcome::of_all(heard, "the machine has no address")
}

/// Who sent something, what, and to where.
fn echo(socket: &UdpSocket) -> io::Result<(SocketAddr, Vec<u8>, SocketAddr)> {
    let mut said = vec![0; 64];
    let (length, from) = socket.recv_from(&mut said)?;
    said.truncate(length);
    Ok((from, said, socket.local_addr()?))
}

/// Nobody answers here: what the kernel takes has arrived.
fn unix(brief: &Brief, ways: &[(&str, Way)]) -> Outcome {
    let Canaries { datagram_name, datagram_socket, .. } = &brief.canaries;
    let places = [
        ("an abstract one", SocketAddrUnix::new_abstract_name(datagram_name.as_bytes())),
        ("one in a directory", SocketAddrUnix::new(datagram_socket)),
    ];
    let tries = places.iter().flat_map(|place| ways.iter().map(move |way| (place, way)));
    let outcomes = tries.map(|((which, to), (call, way))| {
        let sent = to.clone().and_then(|to| {
            let socket = UnixDatagram::unbound().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            way(socket.as_fd(), &to.as_any(), brief.nonce.as_bytes())
        });
        match sent {
            Ok(()) => Outcome::broke(format!("{which}, {call}: sent")),
            Err(errno) => Outcome::held(format!("{which}, {call}: {}", told(errno))),
        }
    });
    Outcome::of_all(outcomes, "")
}
