//! CPU time, in seconds, as the scheduler counts it: user and system, all threads, also those that have ended.
//!
//! Enters: a process. Leaves: what it has used so far. Never: the 10 ms ticks of `/proc/PID/stat`.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::error::Error;

/// What this process has used.
pub fn own() -> Result<f64, Error> {
    Ok(seconds(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?))
}

/// What another one has used.
pub fn of(process: u32) -> Result<f64, Error> {
    let process = i32::try_from(process).map_err(|_| Error::new("a process has a number that none can have"))?;
    Ok(seconds(clock_gettime(clock_getcpuclockid(Pid::from_raw(process))?)?))
}

fn seconds(time: TimeSpec) -> f64 {
    std::time::Duration::from(time).as_secs_f64()
}
