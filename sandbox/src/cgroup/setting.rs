//! What is written into a group for each limit, in the words of either version.
//!
//! For: `group`. In: what was asked for. Out: files and values, in the order in which they are written. Never: a limit below what was
//! asked for.

use super::{Controller, Version};
use crate::{
    error::{Error, Step},
    spec::Limits,
};

/// The kernel's own, in microseconds.
const PERIOD: f64 = 100_000.0;

/// One file of a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub file: &'static str,
    pub value: String,
    /// Whether kernels may do without it.
    pub may_lack: bool,
}

/// What to write for one controller.
pub(super) fn settings(version: Version, controller: Controller, limits: &Limits) -> Result<Vec<Setting>, Error> {
    let set = |file, value: String| Setting { file, value, may_lack: false };
    let or_without = |file, value: String| Setting { file, value, may_lack: true };
    Ok(match (controller, version) {
        (Controller::Memory, _) if limits.memory.is_none() => Vec::new(),
        (Controller::Memory, Version::Two) => vec![
            set("memory.max", limits.memory.unwrap_or(u64::MAX).to_string()),
            or_without("memory.swap.max", "0".to_owned()),
            // Half of a sandbox is of no use to anybody.
            or_without("memory.oom.group", "1".to_owned()),
        ],
        (Controller::Memory, Version::One) => {
            let bytes = limits.memory.unwrap_or(u64::MAX).to_string();
            // In this order: with swap is never less than without.
            vec![set("memory.limit_in_bytes", bytes.clone()), or_without("memory.memsw.limit_in_bytes", bytes)]
        }
        (Controller::Cpu, version) => match limits.cpus {
            Some(cpus) => {
                let quota = quota(cpus)?;
                match version {
                    Version::Two => vec![set("cpu.max", format!("{quota} {PERIOD:.0}"))],
                    Version::One => {
                        vec![set("cpu.cfs_period_us", format!("{PERIOD:.0}")), set("cpu.cfs_quota_us", quota)]
                    }
                }
            }
            None => Vec::new(),
        },
        // The sandbox's init is one of them.
        (Controller::Pids, _) => vec![set("pids.max", (u64::from(limits.process_count()) + 1).to_string())],
    })
}

fn quota(cpus: f64) -> Result<String, Error> {
    if !(0.01..=4096.0).contains(&cpus) {
        return Err(Step::Limits.failed("limit processors to").on(cpus).hint_at("write a number from 0.01 on"));
    }
    Ok(format!("{:.0}", cpus * PERIOD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, controller: Controller) -> Vec<(&'static str, String)> {
        let limits = Limits { memory: Some(1 << 20), cpus: Some(1.5), processes: Some(64), ..Limits::default() };
        settings(version, controller, &limits).unwrap().into_iter().map(|one| (one.file, one.value)).collect()
    }

    #[test]
    fn each_version_reads_the_limits_in_its_own_words() {
        let text = |pairs: &[(&'static str, &str)]| -> Vec<_> {
            pairs.iter().map(|(file, value)| (*file, (*value).to_owned())).collect()
        };
        let memory = [("memory.max", "1048576"), ("memory.swap.max", "0"), ("memory.oom.group", "1")];
        assert_eq!(written(Version::Two, Controller::Memory), text(&memory));
        let memory = [("memory.limit_in_bytes", "1048576"), ("memory.memsw.limit_in_bytes", "1048576")];
        assert_eq!(written(Version::One, Controller::Memory), text(&memory));
        assert_eq!(written(Version::Two, Controller::Cpu), text(&[("cpu.max", "150000 100000")]));
        let cpu = [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000")];
        assert_eq!(written(Version::One, Controller::Cpu), text(&cpu));
        for version in [Version::One, Version::Two] {
            assert_eq!(written(version, Controller::Pids), text(&[("pids.max", "65")]), "and its init");
        }
    }

    #[test]
    fn what_is_no_share_of_processors_is_refused() {
        assert!(quota(0.0).is_err() && quota(f64::NAN).is_err() && quota(-1.0).is_err() && quota(0.009).is_err());
        assert_eq!(quota(0.01).unwrap(), "1000", "the least that the kernel takes");
    }
}
