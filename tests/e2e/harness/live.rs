//! A child process of the test, under way and ended.
//!
//! Enters: a command. Leaves: what it printed, its exit code, and the call log. Never: a child that outlives its test, or a wait
//! without an end.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::evidence::Installation;
use super::log::Log;
use super::within;

/// After its end, nothing holds its standard streams for longer.
const LET_GO: Duration = Duration::from_secs(5);

/// What `ps` calls a clerk.
const CLERK: &str = "exeat-clerk";

/// A child under way.
pub struct Live {
    child: Child,
    stdout: Stream,
    stderr: Stream,
    directory: Option<Arc<Installation>>,
    state: Option<PathBuf>,
    limit: Duration,
    begun: Instant,
}

/// A child that ended.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` when a signal ended `exeat` itself.
    pub code: Option<i32>,
    /// What came on standard output.
    pub stdout: String,
    /// What came on standard error.
    pub stderr: String,
    /// The call log of all runs so far.
    pub log: Log,
    /// From start to end.
    pub took: Duration,
}

impl Live {
    /// Starts it. What it does not read of `stdin` is not its fault; with `None`, the test writes as it goes.
    pub fn spawn(command: &mut Command, stdin: Option<Vec<u8>>, limit: Duration) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        if let Some(stdin) = stdin {
            let mut input = child.stdin.take().unwrap();
            std::thread::spawn(move || input.write_all(&stdin));
        }
        let (stdout, stderr) = (Stream::read(child.stdout.take().unwrap()), Stream::read(child.stderr.take().unwrap()));
        Self { child, stdout, stderr, directory: None, state: None, limit, begun: Instant::now() }
    }

    /// Keeps a directory that it works in until it is over.
    pub fn keep(&mut self, directory: Arc<Installation>) {
        self.directory = Some(directory);
    }

    /// Says where its call log will be: in this state directory.
    pub fn log_in(&mut self, state: PathBuf) {
        self.state = Some(state);
    }

    /// The process of `exeat` itself.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The processes that it started itself.
    pub fn children(&self) -> Vec<Pid> {
        let parent = self.pid().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let child = |entry: std::fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let after_name = stat.rsplit_once(") ")?.1;
            (after_name.split(' ').nth(1)? == parent).then_some(Pid::from_raw(number)).flatten()
        };
        processes.filter_map(child).collect()
    }

    /// Its own broker.
    pub fn broker(&self) -> Pid {
        self.child_beside(|name| name != CLERK)
    }

    /// Who makes the next file of its log.
    pub fn clerk(&self) -> Pid {
        self.child_beside(|name| name == CLERK)
    }

    /// The child of this name that has one number only: it is not in a process namespace of its own.
    fn child_beside(&self, is_called: impl Fn(&str) -> bool) -> Pid {
        let is_meant = |child: &Pid| {
            let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
            let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
            of("NSpid:").split_whitespace().count() == 1 && is_called(of("Name:"))
        };
        let found: Vec<Pid> = self.children().into_iter().filter(is_meant).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0]
    }

    /// The most memory that it has had so far, in MiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// What came on standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What came on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The call log so far.
    pub fn log(&self) -> Log {
        self.state.as_deref().map(Log::read).unwrap_or_default()
    }

    /// Writes to its standard input.
    pub fn write(&mut self, text: &str) {
        self.child.stdin.as_mut().expect("started with its input").write_all(text.as_bytes()).unwrap();
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Waits until this text came on standard output.
    pub fn wait_for(&mut self, text: &str) {
        let end = self.begun + self.limit;
        while !self.stdout.text().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "no {text:?} came ({ended:?}): {}", self.so_far());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Run {
        let status = self.wait();
        within(LET_GO, "its standard streams let go of", || self.stdout.is_done() && self.stderr.is_done());
        let log = self.log();
        Run {
            code: status.code(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            log,
            took: self.begun.elapsed(),
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let end = self.begun + self.limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "exeat did not end within {:?}: {}", self.limit, self.so_far());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn so_far(&self) -> String {
        format!("\nstdout: {}\nstderr: {}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// Fails unless the command ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ended_with(0)
    }

    /// Fails unless exeat ended with this code.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// What came on standard output, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self:#?}"))
    }
}

/// What a child writes, read as it comes.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Stream {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let shared = Arc::clone(&bytes);
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                shared.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reading }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn is_done(&self) -> bool {
        self.reading.is_finished()
    }
}
