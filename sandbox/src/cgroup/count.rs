//! What came of the limits, as the kernel counts it in a group.
//!
//! For: `cgroup`, at the end. In: the files of a group, in the words of either version. Out: numbers. Never: a limit that was not met
//! told as one that was; what cannot be read counts nothing.

use super::{Controller, Version, group::Group};
use crate::met::Met;
use std::fs;

impl Group {
    /// Adds what this group counted.
    pub fn count(&self, met: &mut Met) {
        let found =
            |file: &str, key: &str| fs::read_to_string(self.path.join(file)).ok().and_then(|text| value(&text, key));
        let number = |file: &str, key: &str| found(file, key).unwrap_or(0);
        for controller in &self.controllers {
            match (controller, self.version) {
                (Controller::Memory, Version::Two) => {
                    met.memory_kills += number("memory.events", "oom_kill");
                    met.memory_peak = found("memory.peak", "");
                }
                (Controller::Memory, Version::One) => {
                    met.memory_kills += number("memory.oom_control", "oom_kill");
                    met.memory_peak = found("memory.max_usage_in_bytes", "");
                }
                (Controller::Cpu, Version::Two) => met.cpu_slowed_ms += number("cpu.stat", "throttled_usec") / 1000,
                (Controller::Cpu, Version::One) => {
                    met.cpu_slowed_ms += number("cpu.stat", "throttled_time") / 1_000_000;
                }
                (Controller::Pids, _) => met.processes_refused += number("pids.events", "max"),
            }
        }
    }
}

/// The number behind a key; without a key, the number that is all there is.
fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| match line.split_once(' ') {
        Some((name, number)) => (name == key).then(|| number.trim().parse().ok())?,
        None => key.is_empty().then(|| line.trim().parse().ok())?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{place::First, place::Place};
    use super::*;
    use crate::spec::Limits;

    #[test]
    fn each_version_counts_in_its_own_words() {
        let parent = tempfile::tempdir().unwrap();
        let files = [
            (Version::One, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            (Version::One, "memory.max_usage_in_bytes", "70\n"),
            (Version::One, "cpu.stat", "nr_periods 5\nnr_throttled 4\nthrottled_time 1500000000\n"),
            (Version::Two, "memory.peak", "71\n"),
            (Version::Two, "memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\noom_group_kill 1\n"),
            (Version::Two, "cpu.stat", "usage_usec 7\nnr_throttled 4\nthrottled_usec 1500000\n"),
        ];
        for (version, peak) in [(Version::One, Some(70)), (Version::Two, Some(71))] {
            let (controllers, first) = (Controller::ALL.to_vec(), First::Nothing);
            let place = Place { version, parent: parent.path().to_owned(), controllers, first };
            let group = Group::make(&place, &Limits::default()).ok().unwrap();
            let mut met = Met::default();
            group.count(&mut met);
            assert_eq!(met, Met::default(), "without a file, nothing");
            fs::write(group.path.join("pids.events"), "max 8\n").unwrap();
            for (_, file, text) in files.iter().filter(|(of, ..)| *of == version) {
                fs::write(group.path.join(file), text).unwrap();
            }
            group.count(&mut met);
            assert_eq!((met.memory_kills, met.memory_peak, met.processes_refused), (3, peak, 8));
            assert_eq!(met.cpu_slowed_ms, 1500);
        }
    }

    #[test]
    fn what_is_no_number_counts_nothing() {
        for text in ["", "max", "max x", "max -1", "max 99999999999999999999999", "maximum 3"] {
            assert_eq!(value(text, "max"), None, "{text:?}");
        }
    }
}
