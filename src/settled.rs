//! A process that has nothing to do: what it needed before is given back.
//!
//! Enters: the worker or its broker, as it begins to serve, and how much it has done. Leaves: it, without the memory that only its start or its last busy
//! time needed. Never: a start, or a call under way, that waits for that.

use std::time::Duration;

/// Longer than a short command takes: what is given back is needed again for the end.
const START: Duration = Duration::from_millis(500);
/// From one look to the next whether anything was done.
const LOOK: Duration = Duration::from_secs(1);
/// So many looks in a row at which nothing was: connections that nobody needs have been closed by then.
const QUIET: u32 = 3;

/// Gives memory back after the start, and whenever `done` has not grown for some seconds; to be aborted with the process's work.
pub async fn settle(done: impl Fn() -> u64) {
    tokio::time::sleep(START).await;
    sandbox::give_back_memory();
    let (mut known, mut quiet) = (done(), QUIET);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = done();
        quiet = if now == known { quiet.saturating_add(1) } else { 0 };
        known = now;
        if quiet == QUIET {
            sandbox::give_back_memory();
        }
    }
}
