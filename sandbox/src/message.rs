//! What parent and child say to each other, and the channel they say it on.
//!
//! For: the only link between the two processes. In: typed messages, with descriptors beside them. Out: the same on the
//! other side; the end of either process is the end of the channel. Never: a stream, a partial message, or a text to parse.

use crate::{error::Error, home::HomeFile, running::Exit, status::Inside};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// From the parent to the child, which is pid 1 inside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// One idmapped mount (the descriptor beside it), for the next path that needs one.
    Mount,
    /// The user is mapped and the limits outside stand: set everything up.
    Go,
    /// The worker's own certificate, PEM (the store of all who are trusted beside it). It has none when the set-up begins.
    Authority(String),
    /// Variables of the command's environment, names and values.
    Variables(Vec<(Vec<u8>, Vec<u8>)>),
    /// One file of the command's home.
    File(HomeFile),
    /// Execute the command.
    Start,
    /// Pass a signal on.
    Signal(i32),
    /// Ask every process to end.
    Terminate,
    /// The worker runs again after it stopped together with the command.
    Resume,
}

/// From the child to the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A descriptor of the network namespace (beside it).
    Socket(Socket),
    /// The master side of the command's terminal (beside it).
    Terminal,
    /// What tells how much is written (a descriptor beside it).
    Gauge(Gauge),
    /// All is set up, every privilege is gone.
    Ready(Inside),
    /// The command runs.
    Started,
    /// It does not, and nothing has run.
    Failed(Error),
    /// The command was stopped (Ctrl-Z).
    Stopped,
    /// The command ended.
    Ended(Exit),
}

/// What a handed-out socket is for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Socket {
    Tcp,
    DnsUdp,
    DnsTcp,
}

/// What tells how much is written.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Gauge {
    /// The sandbox's /proc.
    Processes,
    /// A directory of its scratch space.
    Scratch,
    /// Memory of init's, with what those have written that are gone.
    Reaped,
}

/// The largest message: a variable may have 128 KiB (the kernel's MAX_ARG_STRLEN) and a file of the home, too; and room around them.
const LARGEST: usize = 160 * 1024;

/// One end of a seqpacket socket pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    pub fn pair() -> Result<(Self, Self), Errno> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), Self(theirs)))
    }

    pub fn send(&self, message: &impl Serialize) -> Result<(), Errno> {
        self.send_with(message, &[])
    }

    pub fn send_with(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let bytes = postcard::to_stdvec(message).map_err(|_| Errno::INVAL)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::INVAL);
        }
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message and the descriptor beside it. `None`: the other side is gone.
    pub fn receive<M: DeserializeOwned>(&self) -> Result<Option<(M, Option<OwnedFd>)>, Errno> {
        // Its length first: nearly all are of some bytes, and the largest would be cleared for each of them.
        let look = || rustix::io::retry_on_intr(|| recv(&self.0, &mut [0; 0], RecvFlags::PEEK | RecvFlags::TRUNC));
        // That the other side went without reading everything is told once, ahead of what it said before.
        let ahead = match look() {
            Err(Errno::CONNRESET) => look(),
            ahead => ahead,
        };
        let mut bytes = match ahead {
            Ok((_, length)) if length <= LARGEST => vec![0; length],
            Ok(_) => return Err(Errno::MSGSIZE),
            Err(Errno::CONNRESET) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let length = match rustix::io::retry_on_intr(|| {
            recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut beside, flags)
        }) {
            Ok(received) => received.bytes,
            Err(Errno::CONNRESET) => 0,
            Err(errno) => return Err(errno),
        };
        if length == 0 {
            return Ok(None);
        }
        let fd = beside.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let message = postcard::from_bytes(&bytes[..length]).map_err(|_| Errno::BADMSG)?;
        Ok(Some((message, fd)))
    }

    /// As [`receive`](Self::receive), but an error (`TIMEDOUT`) where nothing comes within `longest`.
    pub fn receive_within<M: DeserializeOwned>(
        &self,
        longest: Duration,
    ) -> Result<Option<(M, Option<OwnedFd>)>, Errno> {
        let longest = Timespec::try_from(longest).map_err(|_| Errno::INVAL)?;
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        match rustix::io::retry_on_intr(|| poll(&mut polled, Some(&longest)))? {
            0 => Err(Errno::TIMEDOUT),
            _ => self.receive(),
        }
    }

    /// Whether the other side is gone.
    pub fn hung_up(&self) -> bool {
        self.has(PollFlags::empty(), PollFlags::HUP)
    }

    /// Whether the other side has said something, or is gone.
    pub fn has_word(&self) -> bool {
        self.has(PollFlags::IN, PollFlags::IN | PollFlags::HUP)
    }

    fn has(&self, asked: PollFlags, any: PollFlags) -> bool {
        let mut polled = [PollFd::new(&self.0, asked)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&now)).is_err() || polled[0].revents().intersects(any)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptor_and_the_end_is_seen() {
        let (ours, theirs) = Channel::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        ours.send(&Order::Variables(vec![(vec![b'k'; 100], vec![b'v'; 131_000])])).unwrap();
        ours.send_with(&Order::Mount, &[writer.as_fd()]).unwrap();
        drop(writer);
        let (first, none): (Order, _) = theirs.receive().unwrap().unwrap();
        assert!(matches!(first, Order::Variables(of) if of[0].1.len() == 131_000) && none.is_none());
        let (_, writer): (Order, _) = theirs.receive().unwrap().unwrap();
        rustix::io::write(writer.unwrap(), b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0; 4]).unwrap(), 1);
        assert!(!theirs.hung_up() && !theirs.has_word());
        drop(ours);
        assert!(theirs.hung_up() && theirs.receive::<Order>().unwrap().is_none());
    }

    #[test]
    fn the_last_word_of_who_went_without_reading_is_heard() {
        let (ours, theirs) = Channel::pair().unwrap();
        ours.send(&Order::Go).unwrap();
        theirs.send(&Report::Started).unwrap();
        drop(theirs);
        assert!(matches!(ours.receive::<Report>().unwrap(), Some((Report::Started, _))));
        assert!(ours.receive::<Report>().unwrap().is_none());
    }
}
