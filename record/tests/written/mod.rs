//! A log that was written with a clerk, and what there is to know of it.
//!
//! Enters: how large its files are to be. Leaves: a worker's directory. Never: a clerk other than the real one, here on a thread of its own.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use record::read::{Position, WorkerLog};
use record::{CallLog, Clerk, Desk, Event, Head, NameAsked, Segment, SegmentLimits, WorkerStart, verified};

/// The log.
pub struct Written {
    directory: tempfile::TempDir,
    log: Option<CallLog>,
    clerk: Option<JoinHandle<()>>,
    /// What it said at its end.
    pub head: Head,
    /// How long it was when its last segment was closed.
    pub ended: Head,
    /// The numbers of the records with which segments begin.
    pub ends: Vec<u64>,
    limits: SegmentLimits,
    number: u64,
    /// Whether it waits for its clerk.
    patient: bool,
    /// Lines since it should have gone on in the next file, where it waits for the disk as well.
    overdue: Option<u32>,
}

/// What line `number` asks for.
pub fn name(number: u64) -> String {
    format!("{number}.{}", "example.".repeat(40))
}

/// What was asked for, by the verified log.
pub fn names(worker: &Path) -> Vec<String> {
    let lines = verified(worker).unwrap().into_iter();
    lines.filter_map(|line| if let Event::NameAsked(asked) = line.event { Some(asked.name) } else { None }).collect()
}

impl Written {
    /// One with so many lines, ended.
    pub fn new(size: u64, lines: u64) -> Written {
        let mut written = Written { overdue: Some(0), ..Written::begin(size, Duration::from_secs(3600)) };
        (0..lines).for_each(|number| written.append(number));
        written.end();
        written
    }

    /// One that goes on.
    pub fn begin(size: u64, age: Duration) -> Written {
        let limits = SegmentLimits { size, age };
        let written = Written::begin_with(limits, |desk, worker, limits| {
            desk.serve(worker, limits, &|_| Ok(false), None).unwrap();
        });
        Written { patient: true, ..written }
    }

    /// The same with a clerk that does this.
    pub fn begin_with(
        limits: SegmentLimits,
        serve: impl FnOnce(Desk, &Path, SegmentLimits) + Send + 'static,
    ) -> Written {
        let directory = tempfile::tempdir().unwrap();
        let log = CallLog::create(directory.path()).unwrap();
        let (clerk, desk) = Clerk::pair().unwrap();
        let worker = directory.path().to_owned();
        let clerk_thread = std::thread::spawn(move || {
            desk.worker().unwrap().unwrap();
            serve(desk, &worker, limits);
        });
        log.rotate(directory.path(), clerk, limits).unwrap();
        let [one, two] = ["sha256:one", "sha256:two"].map(str::to_owned);
        let start = WorkerStart {
            format: record::FORMAT,
            worker: "w".to_owned(),
            agent: "bot".to_owned(),
            identity: String::new(),
            policy: one,
            observe: false,
            probe: false,
            command: Vec::new(),
            sandbox: serde_json::Value::Null,
            lock: serde_json::Value::Null,
            credentials: Vec::new(),
            version: String::new(),
        };
        log.append(Timestamp::now(), Event::WorkerStart(start)).unwrap();
        log.append(Timestamp::now(), Event::PolicyReloaded { policy: two }).unwrap();
        let head = log.head();
        let (log, clerk, ends, number) = (Some(log), Some(clerk_thread), Vec::new(), 1);
        Written { directory, log, clerk, head, ended: head, ends, limits, number, patient: false, overdue: None }
    }

    /// The worker's directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// One line more.
    pub fn append(&mut self, number: u64) {
        self.append_name(&name(number));
    }

    /// One line more, which asks for this.
    pub fn append_name(&mut self, name: &str) {
        let event = Event::NameAsked(NameAsked { name: name.to_owned(), kind: "A".to_owned() });
        self.log.as_ref().unwrap().append(Timestamp::now(), event).unwrap();
        // A machine that is busy keeps a clerk waiting; what is seen here must not depend on that.
        for _ in 0..if self.patient { 2000 } else { 0 } {
            let length = |number| fs::metadata(Segment::plain(self.path(), number)).map(|metadata| metadata.len());
            match (length(self.number), length(self.number + 1)) {
                (_, Ok(1..)) => (self.number, self.overdue) = (self.number + 1, self.overdue.map(|_| 0)),
                (Ok(length), Err(_)) if length >= self.limits.size / 10 * 9 => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                (Ok(length), Ok(0)) if self.overdue.is_some() && length >= self.limits.size => {
                    // It is made, but not handed over before a disk has its name; that it was shows with the next line only, mostly the first.
                    let late = self.overdue.unwrap_or_default();
                    std::thread::sleep(Duration::from_millis(if late > 0 { 10 << late.min(6) } else { 0 }));
                    self.overdue = Some(late + 1);
                    break;
                }
                _ => break,
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }

    /// The worker ends, and its clerk has cleared up.
    pub fn end(&mut self) {
        self.close();
        for record in WorkerLog::open(self.path()).unwrap().unwrap().lines() {
            let line = record.unwrap().line;
            if matches!(line.event, Event::SegmentStart(_)) {
                self.ends.push(line.seq);
            }
        }
    }

    /// The same, without a look at what is there then.
    pub fn close(&mut self) {
        let log = self.log.take().unwrap();
        self.head = log.head();
        self.ended = log.segment_ended().borrow().unwrap_or(self.head);
        drop(log);
        self.clerk.take().unwrap().join().unwrap();
    }

    /// Makes a compressed segment plain again.
    pub fn unpack(&self, number: u64) {
        let log = WorkerLog::open(self.path()).unwrap().unwrap();
        let mut text = Vec::new();
        for line in log.texts(Position { segment: number, offset: 0 }) {
            let line = line.unwrap();
            if line.at.segment == number {
                text.extend(line.bytes);
                text.push(b'\n');
            }
        }
        let _ = fs::remove_file(Segment::compressed(self.path(), number));
        fs::write(Segment::plain(self.path(), number), text).unwrap();
    }
}
