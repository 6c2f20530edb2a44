//! The least that can be said to a name server: one question for an IPv4 address over UDP.
//!
//! Enters: a name. Leaves: its address. Never: a second question for the same name as the system's resolver asks (AAAA); what a
//! name costs is to be measured, not how often one resolver asks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::error::Error;

/// For an answer, which is there at once, even when it is REFUSED.
const WAIT: Duration = Duration::from_secs(2);
/// Before asking again after a REFUSED.
const PAUSE: Duration = Duration::from_millis(20);
/// Twice what the server's rate needs for all names of one job.
const TRIES: u32 = 500;
const HEADER: usize = 12;
const REFUSED: u8 = 5;

/// The name server of `/etc/resolv.conf`.
pub struct Lookup {
    socket: UdpSocket,
}

impl Lookup {
    /// Opens a socket to it.
    pub async fn open() -> Result<Self, Error> {
        let text = std::fs::read_to_string("/etc/resolv.conf")?;
        let server = text.lines().find_map(|line| line.strip_prefix("nameserver ")?.trim().parse::<IpAddr>().ok());
        let server = server.ok_or_else(|| Error::new("/etc/resolv.conf names no server"))?;
        let local: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { [0u16; 8].into() };
        let socket = UdpSocket::bind((local, 0)).await?;
        socket.connect(SocketAddr::new(server, 53)).await?;
        Ok(Self { socket })
    }

    /// The address of `name`, asked for until the server has time. Not while a clock runs: what is waited for here would be
    /// taken for what the name costs.
    pub async fn address_in_time(&self, name: &str) -> Result<IpAddr, Error> {
        let query = query(name);
        for _ in 0..TRIES {
            if let Some(address) = self.ask(&query, name).await? {
                return Ok(address);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::new(format!("the name server has no time for `{name}`")))
    }

    /// The address of `name`, asked for once. A server that was asked too often is a failure.
    pub async fn address_at_once(&self, name: &str) -> Result<IpAddr, Error> {
        let address = self.ask(&query(name), name).await?;
        address.ok_or_else(|| Error::new(format!("asked for too many names before `{name}`: REFUSED")))
    }

    /// Asks, and waits for no answer; that there is no room to ask is one, too.
    pub async fn ask_only(&self, name: &str) {
        let _ = self.socket.send(&query(name)).await;
    }

    /// None where the server refuses.
    async fn ask(&self, query: &[u8], name: &str) -> Result<Option<IpAddr>, Error> {
        self.socket.send(query).await?;
        let mut reply = [0; 512];
        let received = tokio::time::timeout(WAIT, self.socket.recv(&mut reply)).await;
        let received = received.map_err(|_| Error::new(format!("no answer for `{name}`")))?;
        let reply = &reply[..received?];
        if reply.get(3).map(|flags| flags & 0x0f) == Some(REFUSED) {
            return Ok(None);
        }
        let address = address(reply, query.len());
        address.map(Some).ok_or_else(|| Error::new(format!("`{name}` has no address")))
    }
}

/// RFC 1035 section 4.1; names here are short, so a label's length fits its byte.
fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0x47, 0x11, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

/// The first answer, which follows the question as it was asked: a name (a pointer), type, class, TTL, length, address.
fn address(reply: &[u8], asked: usize) -> Option<IpAddr> {
    if reply.get(7) == Some(&0) || asked < HEADER {
        return None;
    }
    let record = reply.get(asked..)?;
    let after_name = if record.first()? & 0xc0 == 0xc0 {
        2
    } else {
        let mut at = 0;
        while record.get(at).is_some_and(|&length| length > 0) {
            at += 1 + usize::from(record[at]);
        }
        at + 1
    };
    let octets: [u8; 4] = record.get(after_name + 10..after_name + 14)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets).into())
}
