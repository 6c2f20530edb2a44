//! Processes of this machine, found by what they were started with.
//!
//! Enters: an argument that marks them. Leaves: whether they are there, and what is in their memory. Never: a guess by number;
//! those inside a sandbox are not known by the numbers that they have there.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Whether a process with this among its arguments exists, whatever became of its parents.
pub fn process_with(argument: &str) -> bool {
    !marked(argument).is_empty()
}

/// The writable memory and the environment of the processes in a sandbox that have this among their arguments.
pub fn memory_of(argument: &str) -> Vec<u8> {
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    let inside = |process: &PathBuf| fs::read_link(process.join("ns/net")).is_ok_and(|theirs| theirs != ours);
    let mut bytes = Vec::new();
    for process in marked(argument).into_iter().filter(inside) {
        // Init is closed to all but root; that something was read is for the test to see.
        let Ok(environment) = fs::read(process.join("environ")) else { continue };
        bytes.extend(environment);
        let memory = File::open(process.join("mem")).unwrap();
        for line in fs::read_to_string(process.join("maps")).unwrap().lines().filter(|line| line.contains(" rw")) {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
            let mut region = vec![0; usize::try_from(end - start).unwrap()];
            // Some regions of the kernel's cannot be read.
            if memory.read_exact_at(&mut region, start).is_ok() {
                bytes.extend(region);
            }
        }
    }
    bytes
}

fn marked(argument: &str) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let numbered = processes.filter(|path| path.file_name().unwrap().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    // A process that is gone by now, or a zombie, has no arguments.
    let arguments = |path: &PathBuf| fs::read(path.join("cmdline")).unwrap_or_default();
    numbered.filter(|path| arguments(path).split(|&byte| byte == 0).any(|own| own == argument.as_bytes())).collect()
}
