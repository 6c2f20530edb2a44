//! A client of name servers, down to the bytes.
//!
//! Enters: a server, a name and a record type. Leaves: the answer's code, how many records it has, and its first IPv4 address. Never: a
//! library of the machine.

use std::fs;
use std::io::{self, Error, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);
const PORT: u16 = 53;
pub(super) const A: u16 = 1;

/// What a name server said.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) code: u8,
    pub(super) answers: u16,
    pub(super) address: Option<Ipv4Addr>,
}

impl Reply {
    /// Whether the address is one of exeat's own for names (198.18.0.0/15), which no resolver outside would give.
    pub(super) fn is_from_inside(&self) -> bool {
        self.address.is_some_and(|address| address.octets()[0] == 198 && address.octets()[1] & 0xfe == 18)
    }
}

/// The server that /etc/resolv.conf names.
pub(super) fn configured() -> Option<IpAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").ok()?;
    text.lines().find_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
}

/// The address of a name, at the configured server.
pub(super) fn address_of(name: &str) -> io::Result<Ipv4Addr> {
    let server = configured().ok_or_else(|| Error::other("/etc/resolv.conf names no server"))?;
    let reply = ask(server, false, name, A)?;
    reply.address.ok_or_else(|| Error::other(format!("{name} has no address (code {})", reply.code)))
}

/// Asks, over UDP or TCP.
pub(super) fn ask(server: IpAddr, tcp: bool, name: &str, kind: u16) -> io::Result<Reply> {
    let question = question(name, kind)?;
    let server = SocketAddr::new(server, PORT);
    let bytes = if tcp { over_tcp(server, &question)? } else { over_udp(server, &question)? };
    read(&bytes).ok_or_else(|| Error::other("the reply is no DNS message"))
}

fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let own: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(question)?;
    let mut reply = vec![0; 4096];
    let length = socket.recv(&mut reply)?;
    reply.truncate(length);
    Ok(reply)
}

fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(question.len()).map_err(Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

fn question(name: &str, kind: u16) -> io::Result<Vec<u8>> {
    // Number, recursion desired, one question.
    let mut bytes = vec![0x1e, 0xa7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let length = u8::try_from(label.len()).ok().filter(|length| *length < 64);
        bytes.push(length.ok_or_else(|| Error::other("a label of more than 63 bytes"))?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    Ok(bytes)
}

fn read(reply: &[u8]) -> Option<Reply> {
    let (header, mut rest) = reply.split_at_checked(12)?;
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    for _ in 0..count(4) {
        rest = behind_name(rest)?.get(4..)?;
    }
    let answers = count(6);
    let mut address = None;
    for _ in 0..answers {
        rest = behind_name(rest)?;
        let (fixed, behind) = rest.split_at_checked(10)?;
        let value;
        (value, rest) = behind.split_at_checked(usize::from(u16::from_be_bytes([fixed[8], fixed[9]])))?;
        if let ([0, 1, ..], Ok(octets), None) = (fixed, <[u8; 4]>::try_from(value), address) {
            address = Some(Ipv4Addr::from(octets));
        }
    }
    Some(Reply { code: header[3] & 15, answers, address })
}

/// What follows a name, which ends in an empty label or a pointer.
fn behind_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        match *bytes.first()? {
            0 => return bytes.get(1..),
            length if length & 0xc0 != 0 => return bytes.get(2..),
            length => bytes = bytes.get(1 + usize::from(length)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read() {
        let mut reply = question("a.example", A).unwrap();
        reply[2] = 0x81;
        reply[7] = 1;
        assert_eq!(read(&reply), None, "the answer is missing");
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 19, 0, 9]);
        let read = read(&reply).unwrap();
        assert_eq!(read, Reply { code: 0, answers: 1, address: Some(Ipv4Addr::new(198, 19, 0, 9)) });
        assert!(read.is_from_inside());
        assert!(question(&"x".repeat(64), A).is_err());
    }
}
