//! Programs that the tests need beside the machine's own; `tests/run` installs them.
//!
//! Enters: `EXEAT_TEST_TOOLS`, or the place where `tests/run` puts them. Leaves: paths, and the output of a command. Never: a
//! test that passes because its client is missing.

use std::path::PathBuf;
use std::process::Command;

/// The directory with the tools: `venv/` and `node/`.
pub fn tools() -> PathBuf {
    let named = std::env::var_os("EXEAT_TEST_TOOLS").map(PathBuf::from);
    named.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools")))
}

/// The interpreter whose packages are the Python clients.
pub fn python_tools() -> String {
    installed("venv/bin/python3")
}

/// The directory whose `node_modules` are the Node programs.
pub fn node_tools() -> String {
    installed("node/node_modules");
    installed("node")
}

fn installed(path: &str) -> String {
    let path = tools().join(path);
    assert!(path.exists(), "`{}` is missing: `tests/run` installs it", path.display());
    path.to_str().unwrap().to_owned()
}

/// What a command of the machine prints on standard output; it has to succeed.
pub fn output(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let output =
        output.unwrap_or_else(|error| panic!("`{}` cannot be run ({error}): `tests/run` installs it", command[0]));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
