//! Beside the worker: who looks after limits that the kernel does not hold by itself, and cleans up after those that it does.
//!
//! For: `spawn` and `running`. In: the sandbox's cgroups, its first process, what tells how much it writes. Out: [`Met`], once everything
//! is over; the groups are removed then, also where the worker was killed. Never: a process where no limit asks for one; a secret that the
//! sandbox's first process does not begin with as well; a signal to anybody but that process.
//!
//! It is a process of its own because the worker gives up the right to look into other processes and to remove a cgroup.

use crate::{
    aside::let_go_of_streams,
    cgroup::Cgroup,
    disk::{self, Gauges, Tally},
    error::{Error, Step},
    message::{Channel, Gauge},
    met::Met,
    process::ChildProcess,
    sys,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{DumpableBehavior, Signal, pidfd_send_signal, set_dumpable_behavior},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

/// A killed sandbox is gone within milliseconds, and its groups with it; on a machine that is busy, later.
const ENDING: Duration = Duration::from_secs(5);

/// The worker's hold on it.
#[derive(Debug)]
pub(crate) struct Keeper {
    process: ChildProcess,
    channel: Channel,
    met: Option<Met>,
}

/// What is to be kept.
struct Kept<'a> {
    cgroup: Option<&'a Cgroup>,
    sandbox: BorrowedFd<'a>,
    disk: Option<u64>,
    worker: &'a Channel,
}

impl Keeper {
    /// `None`: there is nothing to keep. The caller has one thread.
    pub fn start(
        cgroup: &mut Option<Cgroup>,
        sandbox: &ChildProcess,
        disk: Option<u64>,
    ) -> Result<Option<Self>, Error> {
        if cgroup.is_none() && disk.is_none() {
            return Ok(None);
        }
        let failed = |errno: Errno| Step::Limits.failed("start who looks after the limits").because(errno);
        let (channel, theirs) = Channel::pair().map_err(failed)?;
        let kept = Kept { cgroup: cgroup.as_ref(), sandbox: sandbox.as_fd(), disk, worker: &theirs };
        let process = ChildProcess::spawn(0, || kept.run().map_or(1, |()| 0)).map_err(failed)?;
        cgroup.take().into_iter().for_each(Cgroup::leave);
        Ok(Some(Self { process, channel, met: None }))
    }

    /// Its process: while the sandbox is there, so is it.
    pub fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// What the worker holds it by.
    pub fn hold(&self) -> [BorrowedFd<'_>; 2] {
        [self.process.as_fd(), self.channel.as_fd()]
    }

    /// Gives it what tells how much is written; where that is limited, nothing has been counted before.
    pub fn look_at(&self, gauges: &Gauges) -> Result<(), Error> {
        gauges
            .each()
            .try_for_each(|(gauge, fd)| self.channel.send_with(&gauge, &[fd]))
            .map_err(|errno| Step::Limits.failed("hand over what tells how much is written").because(errno))
    }

    /// What came of the limits. To be asked when the sandbox is gone; afterwards so are its groups.
    pub fn end(&mut self) -> Met {
        if self.met.is_none() {
            self.met = self.channel.receive_within(ENDING).ok().flatten().map(|(met, _)| met);
            // Killed when it is dropped, should it hang.
            if self.met.is_some() {
                let _gone = self.process.wait();
            }
        }
        self.met.clone().unwrap_or_default()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

impl Kept<'_> {
    fn run(&self) -> io::Result<()> {
        // A key pressed in the worker's terminal is not for us.
        sys::block_signals()?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let locks = self.cgroup.iter().flat_map(|cgroup| cgroup.locks());
        let keep = locks.chain([self.sandbox, self.worker.as_fd()]);
        sys::close_all_but(&keep.collect::<Vec<_>>())?;
        let_go_of_streams()?;
        let watched = self.watch();
        if watched.is_err() {
            // Nobody looks at the limits any more, so there must be nobody whom they are for.
            self.kill(&mut None);
            let _over = self.is_over(Some(ENDING));
        }
        let mut met = watched.unwrap_or_default();
        if let Some(cgroup) = self.cgroup {
            met = Met { written: met.written, disk_full: met.disk_full, uncounted: met.uncounted, ..cgroup.met() };
        }
        let told = self.worker.send(&met);
        if let Some(cgroup) = self.cgroup {
            cgroup.remove();
        }
        Ok(told?)
    }

    /// Until the sandbox is gone. It is ended if it has written too much, or the worker is gone.
    fn watch(&self) -> io::Result<Met> {
        let (mut met, mut tally) = (Met::default(), Tally::default());
        let (mut ending, mut gauges) = (None, Gauges::default());
        loop {
            let mut wait = ending.map(|since: Instant| ENDING.saturating_sub(since.elapsed()));
            if let (None, Some(limit), true) = (ending, self.disk, gauges.are_all_there()) {
                match gauges.read() {
                    Ok((seen, silent)) => {
                        let now = Instant::now();
                        let written = tally.add(seen, now);
                        met.uncounted = tally.is_silent(silent, now);
                        met.written = Some(written);
                        met.disk_full = written > limit;
                        wait = Some(disk::next_look(limit.saturating_sub(written)));
                    }
                    Err(_) => met.uncounted = !self.is_over(Some(Duration::ZERO))?,
                }
                if met.disk_full || met.uncounted {
                    wait = Some(self.kill(&mut ending));
                }
            }
            if self.is_over(wait)? {
                break;
            }
            match ending {
                Some(since) if since.elapsed() >= ENDING => break, // nothing more can be done
                None if self.worker.hung_up() => drop(self.kill(&mut ending)),
                None if self.disk.is_some() && !gauges.are_all_there() => {
                    if let Some((gauge, Some(fd))) = self.worker.receive::<Gauge>()? {
                        gauges.take(gauge, fd);
                    }
                }
                _ => {}
            }
        }
        // What the last of them wrote came to init at their end.
        if let (false, Some(limit), true) = (met.uncounted, self.disk, gauges.are_all_there()) {
            let written = tally.add(gauges.last()?, Instant::now());
            (met.written, met.disk_full) = (Some(written), met.disk_full || written > limit);
        }
        Ok(met)
    }

    fn kill(&self, ending: &mut Option<Instant>) -> Duration {
        let _gone = pidfd_send_signal(self.sandbox, Signal::KILL);
        *ending = Some(Instant::now());
        ENDING
    }

    /// Whether the sandbox is gone, within so long or the worker's end.
    fn is_over(&self, within: Option<Duration>) -> io::Result<bool> {
        let within = within.map(|within| Timespec::try_from(within).map_err(|_| Errno::INVAL)).transpose()?;
        let worker = if self.worker.hung_up() { PollFlags::empty() } else { PollFlags::IN };
        let mut polled = [PollFd::from_borrowed_fd(self.sandbox, PollFlags::IN), PollFd::new(self.worker, worker)];
        // One that has hung up would wake us for nothing.
        let count = if worker.is_empty() { 1 } else { 2 };
        rustix::io::retry_on_intr(|| poll(&mut polled[..count], within.as_ref()))?;
        Ok(!polled[0].revents().is_empty())
    }
}
