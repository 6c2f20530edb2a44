//! Whether more threads of the machine want a core than it has.
//!
//! Enters: what the kernel says of all that runs. Leaves: yes or no. Never: a yes where the kernel does not say; a file that is opened once the
//! worker is locked in.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread::available_parallelism;

/// Says in its fourth field how many threads run or wait to.
const LOAD: &str = "/proc/loadavg";
/// The numbers of all processors, as in `0-3,6`.
const ONLINE: &str = "/sys/devices/system/cpu/online";
/// A line of it has some thirty bytes.
const LINE: usize = 128;

#[derive(Debug)]
pub(super) struct Machine {
    load: Option<File>,
    cores: u64,
}

impl Machine {
    pub(super) fn new() -> Self {
        let online = fs::read_to_string(ONLINE).ok().and_then(|text| cores(&text));
        let cores = online.or_else(|| available_parallelism().ok()?.get().try_into().ok());
        Self { load: File::open(LOAD).ok(), cores: cores.unwrap_or(u64::MAX) }
    }

    /// Whether somebody waits for a core, at this moment.
    pub(super) fn is_crowded(&self) -> bool {
        let mut line = [0; LINE];
        let Some(read) = self.load.as_ref().and_then(|load| load.read_at(&mut line, 0).ok()) else { return false };
        wanting(&line[..read]).is_some_and(|wanting| wanting > self.cores)
    }
}

fn wanting(line: &[u8]) -> Option<u64> {
    let of_all = std::str::from_utf8(line).ok()?.split(' ').nth(3)?;
    of_all.split_once('/')?.0.parse().ok()
}

fn cores(online: &str) -> Option<u64> {
    let mut cores: u64 = 0;
    for part in online.trim_end().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        cores = cores.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read_and_nothing_else() {
        assert_eq!(wanting(b"1.19 0.70 1.07 5/150 29105\n"), Some(5));
        assert_eq!(wanting(b"1.19 0.70 1.07\n"), None);
        assert_eq!([cores("0-1\n"), cores("0\n"), cores("0-3,6,8-9\n")], [Some(2), Some(1), Some(7)]);
        assert_eq!([cores(""), cores("3-1"), cores("0-18446744073709551615"), cores("x")], [None; 4]);
        assert!(Machine::new().load.is_some());
        assert!(!Machine { load: None, cores: 0 }.is_crowded());
        assert!(Machine { cores: 0, ..Machine::new() }.is_crowded());
    }
}
