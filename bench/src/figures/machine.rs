//! The machine on which the figures were taken.
//!
//! Enters: what the kernel tells. Leaves: a line. Never: a name or a path of the machine.

use std::fs;

use crate::error::Error;

/// Processor, cores, memory, kernel, and how busy it was before this began.
pub fn told() -> Result<String, Error> {
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(':').nth(1)).unwrap_or("?").trim().to_owned()
    };
    let processor = field(&fs::read_to_string("/proc/cpuinfo")?, "model name");
    let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal");
    let gigabytes = memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / (1024 * 1024);
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version = kernel.split('-').next().unwrap_or_default().trim();
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or("?");
    Ok(format!(
        "{processor}, {cores} cores, {gigabytes} GiB, Linux {version}; load average when the run began: {load} \
         (figures are only good when it is well below 1).\n\n"
    ))
}
