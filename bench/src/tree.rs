//! A process and those below it.
//!
//! Enters: a process. Leaves: who its children are, what memory they hold. Never: one that has ended counted, or one that is another's.

use std::fs;

use crate::error::Error;

/// The processes that `process` made; each of its threads may have made some.
pub fn children(process: u32) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("children"))?;
        found.extend(text.split_whitespace().filter_map(|number| number.parse::<u32>().ok()));
    }
    Ok(found)
}

/// PSS, RSS and private memory, in KiB.
pub fn rolled_up(process: u32) -> Result<[u64; 3], Error> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Ok([field("Pss:"), field("Rss:"), field("Private_Clean:") + field("Private_Dirty:")])
}

/// `process` and all below it.
pub fn whole(process: u32) -> Result<Vec<u32>, Error> {
    let (mut found, mut next) = (vec![process], 0);
    while let Some(&process) = found.get(next) {
        found.extend(children(process)?);
        next += 1;
    }
    Ok(found)
}

/// What of `exeat run` is exeat: the worker, and each child that has no children, which is the broker. The sandbox's first process has
/// the command below it.
pub fn exeat(worker: u32) -> Result<Vec<u32>, Error> {
    let mut found = vec![worker];
    for child in children(worker)? {
        if children(child)?.is_empty() {
            found.push(child);
        }
    }
    Ok(found)
}

/// PSS and RSS of all of them together, in KiB.
pub fn memory(processes: &[u32]) -> Result<[f64; 2], Error> {
    let mut sums = [0.0; 2];
    for &process in processes {
        let [pss, rss, _] = rolled_up(process)?;
        sums[0] += crate::job::per(pss, 1.0);
        sums[1] += crate::job::per(rss, 1.0);
    }
    Ok(sums)
}
