//! A server that is somebody else's program, in Python or in Node, outside the sandbox.
//!
//! Enters: the program. Leaves: the address it listens on, and the files it writes. Never: a process that outlives its test.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::authority::Authority;
use super::tools::python_tools;
use super::within;

/// The server. Its program finds `cert.pem` and `key.pem` in the directory that is its first argument, and writes the port that it
/// listens on to `port` there.
pub struct Outside {
    process: Child,
    directory: TempDir,
    port: u16,
}

impl Outside {
    /// A Python program, with the packages of the tests.
    pub fn python(program: &str) -> Self {
        Self::start(&python_tools(), "server.py", program)
    }

    /// A Node program, a module.
    pub fn node(program: &str) -> Self {
        Self::start("node", "server.mjs", program)
    }

    fn start(interpreter: &str, file: &str, program: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = Authority::trusted().identity(&["*.example.com", "localhost"]).pem();
        let path = |name: &str| directory.path().join(name);
        for (name, text) in [("cert.pem", &*certificate), ("key.pem", &*key), (file, program)] {
            fs::write(path(name), text).unwrap();
        }
        let log = File::create(path("log")).unwrap();
        let mut command = Command::new(interpreter);
        command.arg(path(file)).arg(directory.path());
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let process = process.unwrap_or_else(|error| panic!("{interpreter} ({error}): `tests/run` installs it"));
        let mut server = Self { process, directory, port: 0 };
        within(Duration::from_secs(30), "a server outside", || {
            assert!(server.process.try_wait().unwrap().is_none(), "it ended: {}", server.read("log"));
            server.port = server.read("port").parse().unwrap_or_default();
            server.port != 0
        });
        server
    }

    /// For a rule's `dial`.
    pub fn dial(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A file of its directory, as far as it is written; what it printed is `log`.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
