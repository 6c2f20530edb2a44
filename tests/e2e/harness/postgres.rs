//! PostgreSQL, as a cluster of the test's own.
//!
//! Enters: nothing. Leaves: a server on 127.0.0.1 that asks everybody for a password, and what its superuser sees. Never: a server that
//! outlives its test, or one that runs as root, which it would refuse.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::tools::free_address;
use super::within;

/// Who runs it where the tests are root's.
const NOBODY: u32 = 65534;

/// The server.
pub struct Postgres {
    process: Child,
    port: String,
    _directory: tempfile::TempDir,
}

impl Postgres {
    /// The superuser's name and password.
    pub const ADMIN: (&str, &str) = ("keeper", "password-of-the-keeper");

    /// One with nothing in it.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        if rustix::process::getuid().is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let (data, password) = (directory.path().join("data"), directory.path().join("password"));
        fs::write(&password, Self::ADMIN.1).unwrap();
        let made = program("initdb")
            .args(["--no-sync", "--no-locale", "-A", "scram-sha-256", "-U", Self::ADMIN.0, "-D"])
            .arg(&data)
            .arg(format!("--pwfile={}", password.display()))
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (_, port) = free_address().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let process = program("postgres")
            .args(["-p", &port, "-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-D"])
            .arg(&data)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { process, port, _directory: directory };
        within(Duration::from_secs(60), "PostgreSQL", || server.takes(Self::ADMIN.0, Self::ADMIN.1));
        server
    }

    /// Where to reach it, as OpenBao writes it.
    pub fn url(&self) -> String {
        format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// The roles that are there besides its own.
    pub fn roles(&self) -> Vec<String> {
        let sql =
            format!("SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> '{}'", Self::ADMIN.0);
        let listed = self.psql(Self::ADMIN.0, Self::ADMIN.1, &sql);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Whether somebody gets in by this password.
    pub fn takes(&self, role: &str, password: &str) -> bool {
        self.psql(role, password, "SELECT 1").status.success()
    }

    /// Runs a statement as its superuser.
    pub fn run(&self, sql: &str) {
        let done = self.psql(Self::ADMIN.0, Self::ADMIN.1, sql);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn psql(&self, role: &str, password: &str, sql: &str) -> std::process::Output {
        Command::new(programs().join("psql"))
            .args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &self.port, "-U", role, "-d", "postgres", "-c", sql])
            .env("PGPASSWORD", password)
            .output()
            .unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, and its children with it.
        let _ = kill_process(Pid::from_child(&self.process), Signal::INT);
        let _ = self.process.wait();
    }
}

/// One of its programs, as somebody who is not root.
fn program(name: &str) -> Command {
    let path = programs().join(name);
    if !rustix::process::getuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]).arg(path);
    command
}

/// Debian keeps each version in a directory of its own.
fn programs() -> PathBuf {
    let versions =
        fs::read_dir("/usr/lib/postgresql").map(|all| all.flatten().map(|one| one.path().join("bin")).collect());
    let mut versions: Vec<PathBuf> = versions.unwrap_or_default();
    versions.retain(|bin| Path::new(bin).join("initdb").exists());
    versions.sort();
    versions.pop().expect("PostgreSQL is missing: `tests/run` installs it")
}
