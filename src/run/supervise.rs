//! From the command's start to its end.
//!
//! Enters: the running command and its wall clock. Leaves: how it ended. Never: a signal to exeat that the command does not get,
//! or a command that outlives its time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use sandbox::{Exit, Running};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself or by a signal.
    Exit(Exit),
    /// Its wall clock ran out.
    OutOfTime(Duration),
    /// An operator stopped it.
    Stopped(String),
}

/// The signals that are passed on.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    user1: Signal,
    user2: Signal,
}

/// Waits for the end. Where the wall clock runs out first, or an operator's word comes, everything in the sandbox is killed.
///
/// # Errors
/// When the process cannot be waited for.
pub async fn until_end(
    mut running: Running,
    wall_clock: Option<Duration>,
    asked_to_stop: impl Future<Output = String>,
) -> io::Result<Ended> {
    let pidfd = running.as_fd().try_clone_to_owned()?;
    let mut over = tokio::task::spawn_blocking(move || readable(&pidfd));
    let mut signals = Signals::listen()?;
    let mut out_of_time = std::pin::pin!(async {
        match wall_clock {
            Some(limit) => {
                tokio::time::sleep(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    });
    let mut asked_to_stop = std::pin::pin!(asked_to_stop);
    loop {
        tokio::select! {
            ended = &mut over => {
                ended??;
                return running.wait().map(Ended::Exit);
            }
            number = signals.next() => running.signal(number)?,
            limit = &mut out_of_time => {
                running.kill()?;
                running.wait()?;
                return Ok(Ended::OutOfTime(limit));
            }
            why = &mut asked_to_stop => {
                running.kill()?;
                running.wait()?;
                return Ok(Ended::Stopped(why));
            }
        }
    }
}

/// Waits until the sandbox is gone.
fn readable(pidfd: &OwnedFd) -> io::Result<()> {
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None))?;
    Ok(())
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.hangup.recv() => SignalKind::hangup(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.user1.recv() => SignalKind::user_defined1(),
            _ = self.user2.recv() => SignalKind::user_defined2(),
        };
        kind.as_raw_value()
    }
}
