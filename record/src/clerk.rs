//! Who hands a worker the next file of its log: a process beside it, as the worker itself can make no file any more.
//!
//! Enters: the worker's directory, and then one of two words on a socket. Leaves: the next segment, open for appending; the closed one,
//! compressed. Never: a word that can name a file; more segments than what was written fills; a wait of the worker's, which goes on in the
//! segment that it has when this is slow or gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::setpriority_process;

use crate::compress::compress;
use crate::rotation::SegmentLimits;
use crate::segment::{DIRECTORY, Segment};

/// The log of a worker that has ended stays plain below this: it would save next to nothing.
pub const WORTH_COMPRESSING: u64 = 64 * 1024;

/// The most patient there is.
const NICE: i32 = 19;

/// A worker that ends closes its line a moment before it gives up its lock. Nobody waits for what comes then.
const LOOK: Duration = Duration::from_millis(20);

/// From the worker: the directory beside this is its own. Comes once, before the worker reads anything from its sandbox.
const HERE: u8 = b'h';
/// From the worker: the next segment, please.
const NEXT: u8 = b'n';
/// From the worker: the one before the last that was handed over is closed.
const TURNED: u8 = b't';
/// To the worker: it is beside this.
const SEGMENT: u8 = b's';
/// To the worker: there is none, and the number of the error is behind this.
const NONE: u8 = b'x';

/// The worker's end of the line.
#[derive(Debug)]
pub struct Clerk(OwnedFd);

/// What a clerk answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Segment(File),
    /// It is there, and did not come through: this process had no descriptor free for it.
    Lost,
    None(io::Error),
}

/// The clerk's end.
#[derive(Debug)]
pub struct Desk(OwnedFd);

impl Clerk {
    /// Both ends of a new line.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    pub fn pair() -> io::Result<(Clerk, Desk)> {
        let (worker, clerk) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Clerk(worker), Desk(clerk)))
    }

    pub(crate) fn work_at(&self, worker: &Path) -> io::Result<()> {
        let directory = File::open(worker)?;
        Ok(send(&self.0, &[HERE], Some(directory.as_fd()))?)
    }

    pub(crate) fn ask(&self) -> Result<(), Errno> {
        send(&self.0, &[NEXT], None)
    }

    pub(crate) fn has_turned(&self) -> Result<(), Errno> {
        send(&self.0, &[TURNED], None)
    }

    /// What came of asking; `None`: nothing yet. Does not wait.
    pub(crate) fn answer(&self) -> Result<Option<Answer>, Errno> {
        let mut bytes = [0; 8];
        match receive(&self.0, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((5, _)) if bytes[0] == NONE => {
                let number = i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
                Ok(Some(Answer::None(io::Error::from_raw_os_error(number))))
            }
            Ok((1, Some(file))) if bytes[0] == SEGMENT => Ok(Some(Answer::Segment(file.into()))),
            Ok((1, None)) if bytes[0] == SEGMENT => Ok(Some(Answer::Lost)),
            Ok(_) => Err(Errno::PIPE),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Desk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Desk {
    /// Waits for the worker, and says in which directory it keeps its log. `None`: there will be none.
    ///
    /// # Errors
    /// When the line fails.
    pub fn worker(&self) -> io::Result<Option<OwnedFd>> {
        let mut bytes = [0; 1];
        match receive(&self.0, &mut bytes, RecvFlags::empty())? {
            (1, Some(directory)) if bytes == [HERE] => Ok(Some(directory)),
            _ => Ok(None),
        }
    }

    /// Serves the worker with this directory to its end, and compresses what it leaves. `at_leisure` is called at once and whenever a segment was
    /// closed. Neither that nor what is compressed keeps a worker waiting that asks. While the worker `lives`, whatever became of the line,
    /// nothing is touched that it may write.
    ///
    /// # Errors
    /// When the line fails other than by the worker's end.
    pub fn serve(
        self,
        worker: &Path,
        limits: SegmentLimits,
        lives: &dyn Fn(&Path) -> io::Result<bool>,
        mut at_leisure: Option<&mut (dyn FnMut() + Send)>,
    ) -> io::Result<()> {
        let mut shelf = Shelf { worker, limits, number: 1, since: Instant::now(), handed_out: false };
        let is_asked = at_leisure.is_some();
        std::thread::scope(|scope| {
            let (closed, due) = mpsc::channel();
            let mut labour = Some(move || {
                be_patient();
                at_leisure.iter_mut().for_each(|at_leisure| at_leisure());
                for number in due {
                    // What cannot be compressed stays as it is, and loses nothing.
                    let _ = compress(worker, number);
                    at_leisure.iter_mut().for_each(|at_leisure| at_leisure());
                }
            });
            // A thread that most workers never need is made for those that do.
            let mut begin = || labour.take().map(|labour| scope.spawn(labour));
            if is_asked {
                begin();
            }
            let served = shelf.serve(&self.0, |number| {
                begin();
                let _ = closed.send(number);
            });
            drop(closed);
            served
        })?;
        be_patient();
        // A worker that is there all the same learns that nobody answers any more.
        drop(self);
        // As long as the worker, which has no bound of its own. What cannot be told is a worker that lives.
        while lives(worker)? {
            std::thread::sleep(LOOK);
        }
        shelf.clear_up();
        Ok(())
    }
}

/// Behind everybody else, for this thread: nobody waits for what it does.
fn be_patient() {
    let _ = setpriority_process(None, NICE);
}

/// The segments of one worker, as its clerk sees them.
struct Shelf<'w> {
    worker: &'w Path,
    limits: SegmentLimits,
    /// The one in use.
    number: u64,
    since: Instant,
    /// Whether the worker has the next one as well.
    handed_out: bool,
}

impl Shelf<'_> {
    /// Until the worker's end.
    fn serve(&mut self, line: &OwnedFd, mut close: impl FnMut(u64)) -> io::Result<()> {
        let mut bytes = [0; 8];
        loop {
            let told = match receive(line, &mut bytes, RecvFlags::empty()) {
                Ok((1, None)) if bytes[0] == NEXT => match self.next() {
                    Ok(file) => send(line, &[SEGMENT], Some(file.as_fd())),
                    Err(error) => {
                        let number = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
                        send(line, &[&[NONE][..], &number.to_le_bytes()].concat(), None)
                    }
                },
                Ok((1, None)) if bytes[0] == TURNED => {
                    self.turn().into_iter().for_each(&mut close);
                    Ok(())
                }
                // Its end; or one that says what no worker says.
                Ok(_) | Err(Errno::CONNRESET) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            };
            // It is not there any more, or does not read: what it was sent is in the line.
            if told.is_err() {
                return Ok(());
            }
        }
    }

    /// Makes the next one, if the one in use is nearly full or old: a worker that was taken over gets no more files than it fills.
    fn next(&mut self) -> io::Result<File> {
        let length = fs::metadata(Segment::plain(self.worker, self.number))?.len();
        if !self.limits.is_near(length, self.since.elapsed()) {
            return Err(Errno::AGAIN.into());
        }
        let path = Segment::plain(self.worker, self.number + 1);
        let file = OpenOptions::new().append(true).create_new(!self.handed_out).mode(0o600).open(path)?;
        // Whoever asks twice did not get it the first time; but what is begun was got.
        if std::mem::replace(&mut self.handed_out, true) && file.metadata()?.len() > 0 {
            return Err(Errno::AGAIN.into());
        }
        // What is in a file whose name a loss of power takes is lost with it.
        File::open(self.worker.join(DIRECTORY))?.sync_all()?;
        Ok(file)
    }

    /// The worker writes the next one from here on; which one is closed now.
    fn turn(&mut self) -> Option<u64> {
        if !std::mem::take(&mut self.handed_out) {
            return None;
        }
        self.since = Instant::now();
        self.number += 1;
        Some(self.number - 1)
    }

    /// After the worker's end.
    fn clear_up(mut self) {
        let length = |number| fs::metadata(Segment::plain(self.worker, number)).map_or(0, |metadata| metadata.len());
        let next = self.number + 1;
        match length(next) {
            0 if self.handed_out => drop(fs::remove_file(Segment::plain(self.worker, next))),
            // It had turned, and was killed before it could say so.
            1.. if self.handed_out => {
                let _ = compress(self.worker, self.number);
                self.number = next;
            }
            _ => {}
        }
        if length(self.number) >= WORTH_COMPRESSING {
            let _ = compress(self.worker, self.number);
        }
    }
}

fn send(line: &OwnedFd, bytes: &[u8], beside: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !beside.as_slice().is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(beside.as_slice())) {
        return Err(Errno::INVAL);
    }
    // Nobody waits for the other side: a line that is full is one that is not read.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(line, &[IoSlice::new(bytes)], &mut ancillary, flags).map(|_| ())
}

/// A message and what is beside it; no bytes at the other side's end.
fn receive(line: &OwnedFd, bytes: &mut [u8], flags: RecvFlags) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| recvmsg(line, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags))?;
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Ok((received.bytes, file))
}

impl SegmentLimits {
    /// Whether a segment of this length and age may have a next one; a little before the worker would ask.
    fn is_near(&self, length: u64, age: Duration) -> bool {
        length >= self.size / 10 * 9 || age >= self.age / 10 * 8
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_worker_that_was_taken_over_gets_no_more_files_than_it_fills_and_names_none() {
        let worker = tempfile::tempdir().unwrap();
        fs::create_dir(worker.path().join(DIRECTORY)).unwrap();
        let plain = |number| Segment::plain(worker.path(), number);
        fs::write(plain(1), "a line\n").unwrap();
        let limits = SegmentLimits { size: 1000, age: Duration::from_secs(3600) };
        let (clerk, desk) = Clerk::pair().unwrap();
        clerk.work_at(worker.path()).unwrap();
        let directory = worker.path().to_owned();
        let serving = std::thread::spawn(move || {
            desk.worker().unwrap().unwrap();
            desk.serve(&directory, limits, &|_| Ok(false), None).unwrap();
        });
        let ask = || {
            clerk.ask().unwrap();
            for _ in 0..5000 {
                match clerk.answer().unwrap() {
                    Some(answer) => return answer,
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            }
            panic!("no answer");
        };
        // Not before the one in use is nearly full, however often, and whatever it says of having turned.
        for _ in 0..50 {
            assert!(matches!(ask(), Answer::None(_)));
            clerk.has_turned().unwrap();
        }
        fs::write(plain(1), [b'x'; 950]).unwrap();
        let Answer::Segment(second) = ask() else { panic!("there is a next one now") };
        // And then one, which is handed over again as long as it is not begun.
        assert!(matches!(ask(), Answer::Segment(_)) && !plain(3).exists());
        (&second).write_all(b"a line\n").unwrap();
        assert!(matches!(ask(), Answer::None(_)) && !plain(3).exists());
        second.set_len(0).unwrap();
        let flags = rustix::fs::fcntl_getfl(&second).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::APPEND | rustix::fs::OFlags::WRONLY), "{flags:?}");
        // A longer word is none, and ends it; so would a directory beside one.
        send(&clerk.0, b"n/etc/passwd", None).unwrap();
        serving.join().unwrap();
        assert!(clerk.answer().is_err());
        let names: Vec<_> = fs::read_dir(worker.path().join(DIRECTORY)).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
