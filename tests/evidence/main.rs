//! The last look, once all end-to-end tests have run: no real credential of any test is in any state directory of any test.
//!
//! `EXEAT_EVIDENCE` names the directories in which those tests kept both, separated by colons; `tests/run` sees to it. In plain words, as
//! base64 wherever it begins, percent-escaped, JSON-escaped and in hexadecimal.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, in its helpers too, and says how much it looked at"
)]

#[path = "../e2e/harness/evidence/kept.rs"]
#[allow(dead_code, reason = "half of it is for those who keep")]
mod kept;
#[path = "../e2e/harness/evidence/spelling.rs"]
mod spelling;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;

use spelling::Sought;

/// The files of all directories whose names end so.
fn ending(end: &str) -> Vec<PathBuf> {
    let directories = std::env::var_os("EXEAT_EVIDENCE").expect("EXEAT_EVIDENCE names what the end-to-end tests kept");
    let mut files = Vec::new();
    for directory in std::env::split_paths(&directories) {
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.to_str().unwrap().ends_with(end)));
    }
    files.sort();
    files
}

#[test]
fn no_real_credential_of_any_test_is_in_any_state_directory() {
    let mut credentials = BTreeSet::new();
    for file in ending(kept::CREDENTIALS) {
        for line in fs::read_to_string(&file).unwrap().lines() {
            credentials.insert(serde_json::from_str::<String>(line).unwrap());
        }
    }
    let sought = Sought::new(credentials.iter().map(String::as_str));
    let (mut bytes, mut directories, mut found) = (0, 0, Vec::new());
    for file in ending(kept::PACKED) {
        let packed = zstd::decode_all(File::open(&file).unwrap()).unwrap();
        (bytes, directories) = (bytes + packed.len(), directories + 1);
        found.extend(sought.found_in(&packed).into_iter().map(|flaw| format!("{}: {flaw}", file.display())));
    }
    println!("looked for {} credentials in {directories} state directories, {bytes} bytes", credentials.len());
    assert!(found.is_empty(), "{found:#?}");
    assert!(credentials.len() > 10 && directories > 10, "that was not what a whole run keeps");
}

#[test]
fn no_test_left_a_flaw_that_nobody_was_told_of() {
    let flaws: Vec<String> = ending(kept::FLAWS).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(flaws.is_empty(), "{flaws:#?}");
}
