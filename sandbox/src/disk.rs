//! How much the processes of a sandbox have written.
//!
//! For: `keeper`, which looks, and `child` and `init`, which hand out what to look at. In: the sandbox's /proc, its scratch space, and what
//! init says of processes that are gone. Out: bytes. Never: a byte counted twice because its writer ended between two looks.
//!
//! The kernel counts for each process what it makes the page cache write to a disk (proc(5), `write_bytes`); what it counted for one that
//! ended goes to whoever waited for it. What is deleted again stays counted. Of a process that nobody waits for (SIGCHLD ignored) and
//! that lived only between two looks nothing is known. Scratch space is memory, and counts as far as it is used.

use crate::{
    error::{Error, Step},
    message::{Channel, Gauge, Report},
    plan::Plan,
    sys,
};
use rustix::{
    fs::{CWD, Dir, FileType, MemfdFlags, Mode, OFlags, fstatvfs, memfd_create, open, openat, statfs},
    io::{Errno, pread, pwrite},
};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

/// Faster than anything writes that is not memory alone, in bytes a second: how soon the rest could be used up.
const FASTEST: u64 = 2 << 30;
/// A look takes a few microseconds for each process.
const OFTENEST: Duration = Duration::from_millis(5);
/// What short-lived processes write that nobody waits for must not go unseen for long.
const SELDOMEST: Duration = Duration::from_millis(50);
/// What a process wrote that ends is nowhere for a moment, until whoever waited for it has it; what is missing for longer is lost.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// A program that is executed says nothing for a few microseconds; on a machine that is busy, a little longer.
const SILENT: Duration = Duration::from_millis(200);

/// File systems whose writes the kernel does not count for a process: tmpfs, ramfs, FUSE (virtiofs too), 9p.
const UNCOUNTED: [(i64, &str); 4] =
    [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs"), (0x6573_5546, "FUSE"), (0x0102_1997, "9p")];

/// Init's end of what it says: how much was written by those that it waited for.
pub(crate) struct Reaped(OwnedFd);

/// What to look at.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    processes: Option<OwnedFd>,
    scratch: Option<OwnedFd>,
    reaped: Option<OwnedFd>,
}

/// Refuses what could not be counted.
pub(crate) fn check(plan: &Plan) -> Result<(), Error> {
    if !kernel_counts() {
        return Err(Step::Limits.failed("limit").on("disk").because(Errno::OPNOTSUPP).hint_at(
            "this kernel does not count what processes write (CONFIG_TASK_IO_ACCOUNTING): take `disk` out of the policy",
        ));
    }
    for bind in plan.binds.iter().filter(|bind| bind.write) {
        // Under a layer it is that one which is written to.
        let written = bind.layer.as_deref().unwrap_or(&bind.source);
        let of = |errno: Errno| Step::Limits.failed("look at the file system of").on(written.display()).because(errno);
        let kind = statfs(written).map_err(of)?.f_type;
        if let Some((_, name)) = UNCOUNTED.iter().find(|(uncounted, _)| *uncounted == kind) {
            let failed = Step::Limits.failed("limit").on("disk").because(Errno::OPNOTSUPP);
            let path = bind.target.display();
            let layer = if bind.layer.is_some() { "the layer of " } else { "" };
            return Err(failed.hint_at(format!(
                "the kernel counts nothing that is written to {layer}`{path}`, which is {name}: write elsewhere, or take `disk` out of the policy"
            )));
        }
    }
    Ok(())
}

/// From inside, once the root is the sandbox's own.
pub(crate) fn hand_out(channel: &Channel) -> Result<Reaped, Error> {
    let failed = |errno: Errno| Step::Limits.failed("hand out what tells how much is written").because(errno);
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let reaped = memfd_create("reaped", MemfdFlags::CLOEXEC).map_err(failed)?;
    pwrite(&reaped, &0_u64.to_ne_bytes(), 0).map_err(failed)?;
    let processes = open("/proc", directory, Mode::empty()).map_err(failed)?;
    let scratch = open("/tmp", directory, Mode::empty()).map_err(failed)?;
    for (gauge, fd) in [(Gauge::Processes, &processes), (Gauge::Scratch, &scratch), (Gauge::Reaped, &reaped)] {
        channel.send_with(&Report::Gauge(gauge), &[fd.as_fd()]).map_err(failed)?;
    }
    Ok(Reaped(reaped))
}

impl Reaped {
    /// Says what those have written that are gone.
    pub fn tell(&self) -> Result<(), Errno> {
        pwrite(&self.0, &sys::written_by_children()?.to_ne_bytes(), 0).map(drop)
    }
}

impl Gauges {
    pub fn take(&mut self, gauge: Gauge, fd: OwnedFd) {
        let place = match gauge {
            Gauge::Processes => &mut self.processes,
            Gauge::Scratch => &mut self.scratch,
            Gauge::Reaped => &mut self.reaped,
        };
        *place = Some(fd);
    }

    pub fn each(&self) -> impl Iterator<Item = (Gauge, BorrowedFd<'_>)> {
        let all = [(Gauge::Processes, &self.processes), (Gauge::Scratch, &self.scratch), (Gauge::Reaped, &self.reaped)];
        all.into_iter().filter_map(|(gauge, fd)| Some((gauge, fd.as_ref()?.as_fd())))
    }

    pub fn are_all_there(&self) -> bool {
        self.each().count() == 3
    }

    /// What all of them say now; and whether there is a process that says nothing.
    pub fn read(&self) -> io::Result<(u64, bool)> {
        let (Some(processes), Some(scratch), Some(reaped)) = (&self.processes, &self.scratch, &self.reaped) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (written, silent) = of_processes(processes)?;
        Ok((self::reaped(reaped)? + written + used(scratch)?, silent))
    }

    /// What there is to say when the processes are gone.
    pub fn last(&self) -> io::Result<u64> {
        let (Some(scratch), Some(reaped)) = (&self.scratch, &self.reaped) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        Ok(self::reaped(reaped)? + used(scratch)?)
    }
}

fn reaped(from: &OwnedFd) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match pread(from, &mut bytes, 0)? {
        8 => Ok(u64::from_ne_bytes(bytes)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Init is left out: it is closed to all but root, writes nothing itself, and says what came to it.
fn of_processes(proc: &OwnedFd) -> io::Result<(u64, bool)> {
    let (mut sum, mut silent) = (0_u64, false);
    for entry in Dir::read_from(proc)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || !name.to_bytes().iter().all(u8::is_ascii_digit) || name == c"1" {
            continue;
        }
        let Ok(name) = name.to_str() else { continue };
        match io_of(proc, name) {
            Ok(text) => sum = sum.saturating_add(write_bytes(&text)),
            // What it wrote comes with whoever waited for it.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) || error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => silent = true,
        }
    }
    Ok((sum, silent))
}

fn io_of(proc: &OwnedFd, name: &str) -> io::Result<String> {
    let mut text = String::new();
    let file = openat(proc, format!("{name}/io"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    File::from(file).read_to_string(&mut text)?;
    Ok(text)
}

fn write_bytes(io: &str) -> u64 {
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn used(scratch: &OwnedFd) -> io::Result<u64> {
    let found = fstatvfs(scratch)?;
    Ok((found.f_blocks - found.f_bfree).saturating_mul(found.f_frsize))
}

/// Whether the file system that this is on is counted.
pub(crate) fn counts(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| !UNCOUNTED.iter().any(|(kind, _)| *kind == found.f_type)) && kernel_counts()
}

fn kernel_counts() -> bool {
    openat(CWD, "/proc/self/io", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

/// What was written so far, from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    highest: u64,
    lost: u64,
    lower_since: Option<Instant>,
    silent_since: Option<Instant>,
}

impl Tally {
    /// Takes what is seen now, and says what was written up to now.
    pub fn add(&mut self, seen: u64, now: Instant) -> u64 {
        let total = seen.saturating_add(self.lost);
        if total >= self.highest {
            (self.highest, self.lower_since) = (total, None);
        } else if now.duration_since(*self.lower_since.get_or_insert(now)) >= ON_ITS_WAY {
            self.lost += self.highest - total;
            self.lower_since = None;
        }
        self.highest
    }

    /// Takes whether there is a process now that says nothing, and says whether that has been so for too long: each is silent for a
    /// moment when it executes another program.
    pub fn is_silent(&mut self, silent: bool, now: Instant) -> bool {
        self.silent_since = silent.then(|| self.silent_since.unwrap_or(now));
        self.silent_since.is_some_and(|since| now.duration_since(since) >= SILENT)
    }
}

/// How long until the next look, if so many bytes may still be written.
pub(crate) fn next_look(left: u64) -> Duration {
    let microseconds = left.saturating_mul(1_000) / (FASTEST / 1_000);
    Duration::from_micros(microseconds).clamp(OFTENEST, SELDOMEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_wrote_that_ended_is_counted_once() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(tally.add(100, at(0)), 100);
        assert_eq!(tally.add(40, at(50)), 100, "on its way from one that ended to whoever waited");
        assert_eq!(tally.add(100, at(100)), 100, "there it is");
        assert_eq!(tally.add(40, at(150)), 100);
        assert_eq!(tally.add(40, at(700)), 100, "nobody waited: it is lost");
        assert_eq!(tally.add(70, at(750)), 130, "and what comes now is more");
        assert_eq!(tally.add(u64::MAX, at(760)), u64::MAX);
    }

    #[test]
    fn who_says_nothing_for_long_is_noticed_and_who_executes_something_is_not() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!tally.is_silent(true, at(0)) && !tally.is_silent(true, at(190)) && !tally.is_silent(false, at(195)));
        assert!(!tally.is_silent(true, at(200)) && !tally.is_silent(true, at(390)) && tally.is_silent(true, at(400)));
    }

    #[test]
    fn the_less_is_left_the_sooner_is_the_next_look() {
        assert_eq!(next_look(0), OFTENEST);
        assert_eq!(next_look(u64::MAX), SELDOMEST);
        let (near, far) = (next_look(20 << 20), next_look(60 << 20));
        assert!(OFTENEST < near && near < far && far < SELDOMEST, "{near:?} {far:?}");
    }

    #[test]
    fn the_kernels_count_is_read_and_nothing_else() {
        assert_eq!(write_bytes("wchar: 7\nwrite_bytes: 4096\ncancelled_write_bytes: 512\n"), 4096);
        for text in ["", "write_bytes: ", "write_bytes: -1", "cancelled_write_bytes: 3"] {
            assert_eq!(write_bytes(text), 0, "{text:?}");
        }
    }
}
