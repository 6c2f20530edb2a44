//! From the command's start to its end.
//!
//! Enters: the running command, its wall clock, its grace. Leaves: how it ended. Never: a signal that the command does not get, but a SIGHUP
//! that somebody sends to exeat; or a command that outlives its time by more than its grace.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use sandbox::{Exit, Hangup, Hangups, Met, Running};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::ready;

/// An operator waits for the end of what was stopped, and kills a worker that takes ten seconds.
const STOPPED_GRACE: Duration = Duration::from_secs(5);
/// A second SIGTERM within this is the first one: timeout(1) sends it to its child, and then to the child's group.
const SAME: Duration = Duration::from_secs(1);
/// A shell that ends with its terminal passes SIGHUP on to its jobs, and is gone within this; or was, if another process passes it on.
const LAST_OF_A_SESSION: Duration = Duration::from_secs(2);

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The command itself.
    pub exit: Exit,
    /// What had it end, where it did not by itself.
    pub cause: Option<Cause>,
    /// Whether it was killed, as it had not ended in its grace.
    pub killed: bool,
    /// What came of its limits.
    pub met: Met,
}

/// What has a command end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its wall clock ran out.
    OutOfTime(Duration),
    /// An operator stopped it.
    Stopped(String),
    /// exeat was told to end (SIGTERM), and so was it.
    Told,
}

/// The signals that are passed on. From when it is made, none of them ends this process.
pub struct Signals {
    hangups: AsyncFd<Hangups>,
    leader: Option<AsyncFd<OwnedFd>>,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    user1: Signal,
    user2: Signal,
}

/// How long it may run, and then to end.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// As long as it likes, without.
    pub wall_clock: Option<Duration>,
    /// From the first word to the kill.
    pub grace: Duration,
}

/// Waits for the end. Where the wall clock runs out first, or an operator's word or SIGTERM comes, everything in the sandbox is asked to
/// end, and is killed when its grace is over. Before an operator's word is passed on, `cut` ends what goes out. A SIGHUP that a process sent is
/// for exeat, which is to `reload`; should the session end then, it was the end of that, and goes to the command like the kernel's. One that
/// comes long after the session is nobody's end.
///
/// # Errors
/// When the process cannot be waited for.
pub async fn until_end(
    mut running: Running,
    mut signals: Signals,
    times: Times,
    asked_to_stop: impl Future<Output = String>,
    cut: impl FnOnce(),
    reload: impl Fn(),
) -> io::Result<Ended> {
    let sandbox = ready::to_read(running.as_fd().try_clone_to_owned()?)?;
    let keeper = running.keeper().map(|keeper| keeper.try_clone_to_owned().and_then(ready::to_read)).transpose()?;
    let mut over = std::pin::pin!(either_gone(&sandbox, keeper.as_ref()));
    let mut out_of_time = times.wall_clock.map(|limit| Instant::now() + limit);
    let mut asked_to_stop = std::pin::pin!(asked_to_stop);
    let mut ending = Ending::default();
    let mut cut = Some(cut);
    let (mut session_asked, mut session_over) = (None, None::<Instant>);
    loop {
        tokio::select! {
            ended = &mut over => {
                if ended? == First::Keeper {
                    tracing::error!("who looks after the limits is gone, so the sandbox is ended");
                    running.kill()?;
                }
                let exit = running.wait()?;
                let Ending { cause, killed, .. } = ending;
                return Ok(Ended { exit, cause, killed, met: running.met() });
            }
            told = signals.next() => match told? {
                Told::Signal(number) => {
                    running.signal(number)?;
                    if number == SignalKind::terminate().as_raw_value() {
                        let grace = if ending.told_again() { Duration::ZERO } else { times.grace };
                        ending.begin(Cause::Told, grace);
                    }
                }
                Told::Reload => {
                    reload();
                    if session_over.is_none_or(|over| over.elapsed() <= LAST_OF_A_SESSION) {
                        session_asked = Some(Instant::now() + LAST_OF_A_SESSION);
                    }
                }
                Told::SessionOver => session_over = Some(Instant::now()),
            },
            () = at(session_asked) => {
                session_asked = None;
                if session_over.is_some() {
                    running.signal(SignalKind::hangup().as_raw_value())?;
                }
            }
            () = at(out_of_time) => {
                out_of_time = None;
                running.terminate()?;
                ending.begin(Cause::OutOfTime(times.wall_clock.unwrap_or_default()), times.grace);
            }
            why = &mut asked_to_stop, if cut.is_some() => {
                cut.take().into_iter().for_each(|cut| cut());
                running.terminate()?;
                ending.begin(Cause::Stopped(why), times.grace.min(STOPPED_GRACE));
            }
            () = at(ending.kill_at), if !ending.killed => {
                running.kill()?;
                ending.killed = true;
            }
        }
    }
}

/// How far it is with ending.
#[derive(Debug, Default)]
struct Ending {
    cause: Option<Cause>,
    kill_at: Option<Instant>,
    told_at: Option<Instant>,
    killed: bool,
}

impl Ending {
    /// The gravest cause is told; the first kill counts.
    fn begin(&mut self, cause: Cause, grace: Duration) {
        let kill_at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(kill_at, |before| before.min(kill_at)));
        if self.cause.is_none() || matches!(cause, Cause::Stopped(_)) {
            self.cause = Some(cause);
        }
    }

    /// Whether this SIGTERM is somebody's second one, who does not want to wait.
    fn told_again(&mut self) -> bool {
        let first = *self.told_at.get_or_insert_with(Instant::now);
        first.elapsed() >= SAME
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// Who is gone first.
#[derive(Debug, PartialEq, Eq)]
enum First {
    Sandbox,
    Keeper,
}

/// Waits until the sandbox is gone, or who looks after its limits.
async fn either_gone(sandbox: &AsyncFd<OwnedFd>, keeper: Option<&AsyncFd<OwnedFd>>) -> io::Result<First> {
    tokio::select! {
        biased;
        over = sandbox.readable() => over.map(|_| First::Sandbox),
        over = gone(keeper) => over.map(|()| First::Keeper),
    }
}

impl Signals {
    /// Listens from now on; to be made before there is a command that they are for.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    pub fn listen(mut hangups: Hangups) -> io::Result<Self> {
        Ok(Self {
            leader: hangups.take_leader().map(ready::to_read).transpose()?,
            hangups: ready::to_read(hangups)?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one.
    async fn next(&mut self) -> io::Result<Told> {
        let kind = tokio::select! {
            hangup = hangup(&self.hangups) => match hangup? {
                Hangup::OfTheTerminal => SignalKind::hangup(),
                Hangup::Sent => return Ok(Told::Reload),
            },
            gone = gone(self.leader.as_ref()) => {
                self.leader = None;
                return gone.map(|()| Told::SessionOver);
            }
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.user1.recv() => SignalKind::user_defined1(),
            _ = self.user2.recv() => SignalKind::user_defined2(),
        };
        Ok(Told::Signal(kind.as_raw_value()))
    }
}

/// What a signal wants.
enum Told {
    /// To be passed on: its number.
    Signal(i32),
    /// Files read again.
    Reload,
    /// Nothing: who led the session is gone.
    SessionOver,
}

/// Waits until who leads the session is gone; for ever where that is nobody.
async fn gone(leader: Option<&AsyncFd<OwnedFd>>) -> io::Result<()> {
    match leader {
        Some(leader) => leader.readable().await.map(drop),
        None => pending().await,
    }
}

async fn hangup(hangups: &AsyncFd<Hangups>) -> io::Result<Hangup> {
    loop {
        let mut guard = hangups.readable().await?;
        match hangups.get_ref().next()? {
            Some(hangup) => return Ok(hangup),
            None => guard.clear_ready(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_word_is_the_cause_and_brings_no_later_kill() {
        let mut ending = Ending::default();
        ending.begin(Cause::Told, Duration::from_secs(1));
        let first = ending.kill_at;
        ending.begin(Cause::OutOfTime(Duration::from_secs(9)), Duration::from_secs(60));
        assert_eq!((&ending.cause, ending.kill_at), (&Some(Cause::Told), first));
        ending.begin(Cause::Stopped("why".to_owned()), Duration::from_secs(60));
        assert_eq!((&ending.cause, ending.kill_at), (&Some(Cause::Stopped("why".to_owned())), first));
    }

    #[test]
    fn the_same_signal_sent_twice_is_one_and_a_later_one_is_another() {
        let mut ending = Ending::default();
        assert!(!ending.told_again() && !ending.told_again());
        ending.told_at = Instant::now().checked_sub(SAME);
        assert!(ending.told_again());
    }
}
