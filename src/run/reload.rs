//! A policy file that is edited while its agent runs.
//!
//! Enters: signs that the file may be another, and the clock for where there are none. Leaves: the new policy in force from the next call on
//! and for what is under way, or the last good one and a record of every mistake in the new. Never: a moment without a policy; half of what
//! somebody is writing, which may be a policy as well, without its last `[[deny]]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::{Draft, LoadError, Standing};
use jiff::Timestamp;
use proxy::serve::Worker;
use record::Event;

use super::lookout::{Lookout, Sign};
use crate::args;

/// Of what nobody says that it is whole: whoever writes two halves of a small file does so within this.
const SETTLED: Duration = Duration::from_millis(100);
/// What is being written and stays as it is for so many looks is taken as it is: its writer keeps it open.
const STANDS: u32 = 5;

/// What was read and is not in force, and how often in a row.
struct Seen {
    draft: Draft,
    times: u32,
    /// Until it is read again.
    pause: Duration,
}

/// The policy in force: as it is written, observing, or with a canary at the end of every call.
///
/// # Errors
/// Its mistakes.
pub fn standing(file: PathBuf, arguments: &args::Run) -> Result<Standing, LoadError> {
    match (&arguments.canary, arguments.observe) {
        (Some(args::Canary(end)), _) => Standing::load_diverted(file, end.clone()),
        (None, true) => Standing::load_observing(file),
        (None, false) => Standing::load(file),
    }
}

/// Looks for ever; to be aborted with the worker.
pub async fn watch(worker: Arc<Worker>, lookout: Arc<Lookout>) {
    let mut said = None;
    let mut seen: Option<Seen> = None;
    loop {
        let pause = seen.as_ref().map_or(lookout.pause(), |seen| seen.pause);
        let sign = tokio::select! {
            sign = lookout.sign() => Some(sign),
            () = tokio::time::sleep(pause) => None,
        };
        let Some(draft) = worker.draft() else {
            seen = None;
            if said.take().is_some() {
                // What was rejected was mended back to what is in force.
                record(&worker, Event::PolicyReloaded { policy: worker.policy().digest().to_owned() });
            }
            continue;
        };
        // Asked after it was read: whoever wrote meanwhile has been heard by now.
        let unfinished = lookout.is_being_written();
        let whole = !unfinished && sign >= Some(Sign::Whole);
        let before = seen.take().filter(|seen| seen.draft.is_like(&draft)).map_or(0, |seen| seen.times);
        if whole || before + 1 >= if unfinished { STANDS } else { 2 } {
            take(&worker, draft, &mut said, sign == Some(Sign::Asked));
        } else {
            let soon = sign == Some(Sign::Perhaps) && !unfinished;
            let pause = if soon { SETTLED } else { lookout.pause() };
            seen = Some(Seen { draft, times: before + 1, pause });
        }
    }
}

/// Puts it in force, or says why not: once, as the file is looked at until it is mended; and to whoever asks.
fn take(worker: &Worker, draft: Draft, said: &mut Option<String>, asked: bool) {
    match worker.take(draft) {
        Ok(()) => *said = None,
        Err(error) => {
            let reason = error.to_string();
            if said.as_ref() == Some(&reason) && !asked {
                return;
            }
            tracing::warn!("the last good policy stays in force\n{reason}");
            *said = Some(reason.clone());
            record(worker, Event::PolicyRejected { reason });
        }
    }
}

fn record(worker: &Worker, event: Event) {
    if let Err(error) = worker.log().append(Timestamp::now(), event) {
        tracing::error!(%error, "a change of policy is not in the call log");
    }
}
