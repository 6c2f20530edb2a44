//! What is counted.
//!
//! Enters: that a part was done so many times. Leaves: a line for it in the directory's list, in the order in which callgrind writes its
//! dumps. Never: a count of what came before: each dump has what its thread did since the one before it.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;

use crate::Failure;

/// Which dump is of what.
pub const LIST: &str = "parts";
/// What is done before a part, and is in nobody's budget.
pub const BEFORE: &str = "-";

/// Ends a count; on the thread that did the work. The dump goes to `name`, a `times`th of it for each time.
pub fn ends(room: &Path, name: &str, times: u32) -> Result<(), Failure> {
    let mut list = OpenOptions::new().create(true).append(true).open(room.join(LIST))?;
    writeln!(list, "{times}\t{name}")?;
    count_ends_here(times);
    Ok(())
}

/// As this is entered callgrind writes what its thread has cost so far, and begins anew (`--dump-before`).
#[inline(never)]
fn count_ends_here(times: u32) {
    black_box(("a count ends here", times));
}
