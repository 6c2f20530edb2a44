//! When a log goes on in its next file.
//!
//! Enters: how much was written, and when. Leaves: the next file, where one is due and there. Never: a wait: until there is one, the log goes on
//! in the file that it has.

use std::fs::File;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;

use crate::clerk::{Answer, Clerk};
use crate::event::{Event, SegmentKept, SegmentStart};
use crate::hash::Hash;
use crate::tree::Tree;

/// When a segment is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// When it has more bytes than this, within a line.
    pub size: u64,
    /// When its first line is older than this.
    pub age: Duration,
}

/// What a segment has on it, for whoever reads it without those before it.
#[derive(Debug, Clone, Default)]
struct Whose {
    worker: String,
    agent: String,
    observe: bool,
    policy: String,
}

/// The segment in use, and the way to the next one.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    /// Never closed before the worker ends: a clerk takes the end of the line for the worker's.
    clerk: Option<(Clerk, SegmentLimits)>,
    /// Whether it answers no more.
    is_gone: bool,
    /// Whether it does not know yet that the log is in the file that it made last.
    untold: bool,
    whose: Whose,
    number: u64,
    written: u64,
    since: Option<Timestamp>,
    /// Asked for, and no answer yet.
    asked: bool,
    /// After a refusal: not before so much is written.
    not_before: u64,
    next: Option<File>,
    /// Whether the log says that there is no next one.
    said: bool,
}

impl Rotation {
    pub fn first() -> Rotation {
        Rotation { number: 1, ..Rotation::default() }
    }

    pub fn by(&mut self, clerk: Clerk, limits: SegmentLimits) {
        self.clerk = Some((clerk, limits));
    }

    /// A line was written.
    pub fn wrote(&mut self, bytes: usize, time: Timestamp, event: &Event) {
        self.written += bytes as u64;
        self.since.get_or_insert(time);
        match event {
            Event::WorkerStart(start) => {
                let (worker, agent) = (start.worker.clone(), start.agent.clone());
                self.whose = Whose { worker, agent, observe: start.observe, policy: start.policy.clone() };
            }
            Event::PolicyReloaded { policy } => self.whose.policy.clone_from(policy),
            _ => {}
        }
    }

    /// Whether it is nearly time for the next file, and nobody was asked for it.
    pub fn asks(&self, now: Timestamp) -> bool {
        let has = self.is_gone || self.asked || self.next.is_some() || self.written < self.not_before;
        !has && self.is_time(now, 9)
    }

    /// Asks for it. Who makes it looks at what the kernel has of this one.
    pub fn ask(&mut self) -> Result<(), SegmentKept> {
        let Some((clerk, _)) = &self.clerk else { return Ok(()) };
        let told = if self.untold { clerk.has_turned() } else { Ok(()) };
        self.untold = told.is_err();
        match told.and_then(|()| clerk.ask()) {
            Ok(()) => self.asked = true,
            Err(errno) => return Err(self.failed(errno)),
        }
        Ok(())
    }

    /// The file to go on in from here, if it is time for one and it is there.
    pub fn turn(&mut self, now: Timestamp) -> Result<Option<File>, SegmentKept> {
        if !self.is_time(now, 10) {
            return Ok(None);
        }
        if let (true, Some((clerk, _))) = (self.asked, &self.clerk) {
            match clerk.answer() {
                Ok(None) => {}
                Ok(Some(Answer::Segment(file))) => (self.asked, self.next) = (false, Some(file)),
                Ok(Some(Answer::None(error))) => {
                    return Err(self.later(format!("the next file could not be made ({error})")));
                }
                Ok(Some(Answer::Lost)) => {
                    return Err(self.later("the worker had no descriptor free for the next file".to_owned()));
                }
                Err(errno) => return Err(self.failed(errno)),
            }
        }
        Ok(self.next.take())
    }

    /// Whether so many tenths of what a segment may have, or of its time, are over.
    fn is_time(&self, now: Timestamp, tenths: u32) -> bool {
        let (Some((_, limits)), Some(since)) = (&self.clerk, self.since) else { return false };
        let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        self.written >= limits.size / 10 * u64::from(tenths) || age >= limits.age / 10 * tenths
    }

    fn failed(&mut self, errno: Errno) -> SegmentKept {
        let error = io::Error::from(errno);
        // Anything else is a shortage, which passes.
        self.is_gone = matches!(errno, Errno::PIPE | Errno::CONNRESET);
        self.asked = false;
        match self.is_gone {
            true => self.kept(format!("who makes the next file is gone ({error})")),
            false => self.later(format!("who makes the next file could not be asked ({error})")),
        }
    }

    /// Not now, and asked again when some more is written.
    fn later(&mut self, reason: String) -> SegmentKept {
        let size = self.clerk.as_ref().map_or(0, |(_, limits)| limits.size);
        (self.asked, self.not_before) = (false, self.written + size / 10);
        self.kept(reason)
    }

    fn kept(&self, reason: String) -> SegmentKept {
        SegmentKept { segment: self.number, reason }
    }

    /// Whether the log is to say so: once until there is a next one.
    pub fn says(&mut self) -> bool {
        !std::mem::replace(&mut self.said, true)
    }

    /// The first line of the next file, behind these lines.
    pub fn start(&self, tree: &Tree) -> SegmentStart {
        let Whose { worker, agent, observe, policy } = self.whose.clone();
        let (segment, size, peaks): (_, _, Vec<Hash>) = (self.number + 1, tree.size(), tree.peaks().to_vec());
        SegmentStart { segment, worker, agent, observe, policy, size, peaks }
    }

    /// The log is in the next file.
    pub fn turned(&mut self) {
        self.number += 1;
        (self.written, self.since, self.not_before, self.said) = (0, None, 0, false);
        // If that is gone, it will be found when the next one is asked for.
        self.untold = self.clerk.as_ref().is_some_and(|(clerk, _)| clerk.has_turned().is_err());
    }
}
