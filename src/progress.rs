//! How far something is that takes a while, for a person who waits.
//!
//! Enters: how much there is to do, and how much is done. Leaves: a bar on standard error while it lasts. Never: a
//! character where standard error is no terminal, nor anything that stays there afterwards.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Four times a second is as often as anybody looks.
const A_SECOND: u8 = 4;
/// What is done before this is not worth a bar.
const PATIENCE: Duration = Duration::from_millis(300);

/// A bar, gone when it is dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    /// Of so many things, or bytes.
    pub fn of(what: &'static str, total: u64) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let target = match std::io::stderr().is_terminal() && !dumb {
            true => ProgressDrawTarget::stderr_with_hz(A_SECOND),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, begun: Instant::now() }
    }

    /// So many are done, in all.
    pub fn to(&self, done: u64) {
        if self.begun.elapsed() > PATIENCE {
            self.bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
