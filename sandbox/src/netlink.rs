//! Netlink messages, written and acknowledged.
//!
//! For: the dozen messages `network` and `nft` need, without a library. In: a type, flags, a fixed header, attributes. Out:
//! bytes as the kernel reads them (rtnetlink(7), nfnetlink), then its verdict. Never: reading anything back but verdicts.

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink, recv, sendto,
        socket_with,
    },
};
use std::os::fd::OwnedFd;

/// `NLM_F_*`: a request that wants its verdict; create what is named; that and append it.
pub(crate) const ACK: u16 = 0x1 | 0x4;
pub(crate) const CREATE: u16 = ACK | 0x400;
pub(crate) const APPEND: u16 = CREATE | 0x800;
/// A request that gets no verdict of its own.
pub(crate) const SILENT: u16 = 0x1;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// One message: `nlmsghdr`, a fixed header, attributes.
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4]; // the length, known at the end
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]); // sequence and port: set on sending; 0, the kernel
        bytes.extend(header);
        Self(bytes)
    }

    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        attribute(&mut self.0, kind, |inner| inner.extend(value));
        self
    }

    pub fn with_nested(mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        nested(&mut self.0, kind, fill);
        self
    }

    fn seal(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }

    fn wants_verdict(&self) -> bool {
        u16::from_ne_bytes([self.0[6], self.0[7]]) & ACK == ACK
    }
}

/// Appends one attribute: `nlattr`, the value, padding to four bytes.
pub(crate) fn attribute(to: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend([0; 2]);
    to.extend(kind.to_ne_bytes());
    fill(to);
    let length = u16::try_from(to.len() - start).unwrap_or(u16::MAX);
    to[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Appends an attribute whose value is attributes.
pub(crate) fn nested(to: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    attribute(to, kind | NESTED, fill);
}

/// A netlink socket of this network namespace.
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// `None` is NETLINK_ROUTE, whose number is 0.
    pub fn open(protocol: Option<rustix::net::Protocol>) -> Result<Self, Errno> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        Ok(Self(fd))
    }

    /// Sends the messages in one piece and waits for each verdict asked for; the first that is not "done" is the error.
    pub fn request(&self, messages: Vec<Message>) -> Result<(), Errno> {
        let mut waiting = messages.iter().filter(|message| message.wants_verdict()).count();
        let bytes: Vec<u8> = (1..).zip(messages).flat_map(|(sequence, message)| message.seal(sequence)).collect();
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.0, &bytes, SendFlags::empty(), &kernel)?;
        let mut answer = [0; 8192];
        while waiting > 0 {
            let (length, _) = recv(&self.0, &mut answer[..], RecvFlags::empty())?;
            for verdict in verdicts(&answer[..length]) {
                verdict?;
                waiting = waiting.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// The verdicts (`NLMSG_ERROR`) in what the kernel sent.
fn verdicts(mut bytes: &[u8]) -> impl Iterator<Item = Result<(), Errno>> {
    const ERROR: u16 = 2;
    std::iter::from_fn(move || {
        loop {
            let header = bytes.get(..16)?;
            let length = u32::from_ne_bytes(header[..4].try_into().ok()?) as usize;
            let kind = u16::from_ne_bytes(header[4..6].try_into().ok()?);
            let body = bytes.get(16..length)?;
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            if kind == ERROR {
                let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
                return Some(if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(-code)) });
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_their_length_is_not() {
        let mut bytes = Vec::new();
        nested(&mut bytes, 4, |inner| attribute(inner, 1, |value| value.extend(b"nat\0+")));
        assert_eq!(bytes.len(), 16);
        assert_eq!(bytes[..4], [16_u16.to_ne_bytes(), (4_u16 | NESTED).to_ne_bytes()].concat());
        assert_eq!(bytes[4..8], [9_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat());
    }

    #[test]
    fn verdicts_are_read_to_the_end_and_garbage_ends_them() {
        let verdict = |code: i32| {
            let mut message = Message::new(2, 0, &code.to_ne_bytes()).seal(1);
            message.extend([0; 0]);
            message
        };
        let both = [verdict(0), verdict(-1)].concat();
        assert_eq!(verdicts(&both).collect::<Vec<_>>(), [Ok(()), Err(Errno::PERM)]);
        for cut in 0..both.len() {
            assert!(verdicts(&both[..cut]).count() < 2);
        }
        assert_eq!(verdicts(&[0; 64]).count(), 0);
    }
}
