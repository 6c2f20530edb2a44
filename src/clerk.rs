//! The clerk: a process beside the worker that makes the next file of its log, compresses closed ones, and removes old ones.
//!
//! Enters: log.toml, and a line to the worker. Leaves: the worker's end of the line; the process lives as long as the worker, and as it takes to
//! compress what that left. Never: a secret, as it is forked before any is read; a file outside the logs; a run that waits for it.

use std::cell::RefCell;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use config::{KeepSettings, LogSettings, SegmentSettings};
use record::retention::Keep;
use record::{Clerk, DIRECTORY, Desk, SegmentLimits};
use rustix::process::fchdir;

use crate::places::Places;
use crate::prune;
use crate::report::{FAILED, Report};
use crate::running;

/// By this name it is known to `ps`.
const NAME: &CStr = c"exeat-clerk";
/// Old segments are looked for this often at most, as that takes a look at each file of each log.
const LOOK_APART: Duration = Duration::from_secs(60);

/// Forks it. The caller has one thread and has read no secret yet. What is to be held open takes the kernel long to close: the clerk does so once the worker
/// is gone, when nobody waits.
///
/// # Errors
/// When the process cannot be made.
pub fn fork(places: &Places, settings: &LogSettings, held: Vec<OwnedFd>) -> Result<Clerk, Report> {
    let (clerk, desk) = Clerk::pair()?;
    sandbox::fork_aside(NAME, desk, held, |desk, held| work(desk, held, places, settings).map_or(FAILED, |()| 0))?;
    Ok(clerk)
}

/// When a file of a log is closed.
pub fn limits(settings: &LogSettings) -> SegmentLimits {
    let SegmentSettings { size, age } = settings.segment;
    SegmentLimits { size, age }
}

/// How long closed ones are kept.
pub fn keep(settings: &LogSettings) -> Keep {
    let KeepSettings { time, size } = settings.keep;
    Keep { time, size }
}

/// The whole life of its process. There is nobody to tell what fails in it: the log itself says where it has no next file.
fn work(desk: Desk, held: Vec<OwnedFd>, places: &Places, settings: &LogSettings) -> std::io::Result<()> {
    let Some(worker) = desk.worker()? else { return Ok(()) };
    // What it is given open it finds from there, also where the way to it is closed to it.
    fchdir(worker)?;
    // Opened anew, or its lock would be this process's as well; and now, as the way to it is closed to it below.
    let lock = File::open(".")?;
    let (worker, workers, keep) = (Path::new("."), Path::new(".."), keep(settings));
    let own = worker.join(DIRECTORY);
    // What was not sent on yet is not removed: how far that is lies elsewhere.
    let (kept, read) = match keep.is_bounded() {
        true => (workers, vec![places.log_file(), places.shipped()]),
        false => (&*own, Vec::new()),
    };
    // A kernel that cannot do that still has the list of what can be asked for, which is two words.
    let _ = sandbox::keep_to_directory(kept, &read);
    let mut looked: Option<Instant> = None;
    let mut look = || {
        if looked.is_none_or(|at| at.elapsed() >= LOOK_APART) {
            prune::in_passing(places, workers, keep);
            looked = Some(Instant::now());
        }
    };
    let look: &mut (dyn FnMut() + Send) = &mut look;
    let held = RefCell::new(held);
    let lives = |_: &Path| {
        let lives = running::is_held(&lock)?;
        if !lives {
            held.take();
        }
        Ok(lives)
    };
    desk.serve(worker, limits(settings), &lives, keep.is_bounded().then_some(look))
}
