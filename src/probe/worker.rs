//! A worker of the agent's, whose command is the battery.
//!
//! Enters: what `exeat run` is told, and the brief. Leaves: findings, as they come, and where the worker's log is. Never: a weaker
//! sandbox than `exeat run` makes; it is that which is started.

use record::read::{Record, WorkerLog};
use record::{Event, Line};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use super::brief::Brief;
use super::finding::{Finding, battery};
use super::upstream::End;
use crate::args;
use crate::places::Places;
use crate::progress::Progress;
use crate::report::Report;

/// The whole battery takes seconds; a worker that hangs is ended.
const LIMIT: Duration = Duration::from_secs(180);
/// Where the run's own word is found in the worker's environment, and nowhere inside.
pub(super) const WORD: &str = "EXEAT_PROBE";
/// The command: this program, through a link that leads to it whatever can be seen inside.
const BATTERY: [&str; 2] = ["/proc/self/exe", "probe-inside"];

/// The battery under way.
#[derive(Debug)]
pub(super) struct Battery {
    run: Child,
    /// Where it reads that, unless it has a file to read.
    brief: Option<ChildStdin>,
    said: JoinHandle<String>,
}

impl Battery {
    /// Starts this program anew, as anybody would from a shell; but what is let out ends at the canary.
    pub(super) fn start(places: &Places, arguments: &args::Probe, brief: &Brief, end: &End) -> Result<Self, Report> {
        let nonce = &brief.nonce;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--config").arg(&places.config).arg("--state").arg(&places.state);
        command.args(["run", "--battery", "--agent", arguments.agent.as_str(), "--canary"]);
        let mut canary = OsString::from(format!("{}=", end.address));
        canary.push(&end.root);
        command.arg(canary);
        if let Some(socket) = &arguments.broker {
            command.arg("--broker").arg(socket);
        }
        if arguments.capture_ports_only {
            command.arg("--capture-ports-only");
        }
        command.arg("--").args(BATTERY).arg(nonce).env(WORD, nonce);
        let input = if sandbox::keeps_files(brief.nested) { written(brief)?.into() } else { Stdio::piped() };
        let mut run = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let piped = |stream: &str| Report::new(format!("the run has no {stream}"));
        let brief = run.stdin.take();
        let mut diagnostics = run.stderr.take().ok_or_else(|| piped("diagnostics"))?;
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = diagnostics.read_to_string(&mut text);
            text
        });
        Ok(Self { run, brief, said })
    }

    /// Gives it the brief, where it waits for that, and takes every finding.
    pub(super) fn finish(self, brief: &Brief) -> Result<Vec<Finding>, Report> {
        let Self { mut run, brief: input, said } = self;
        if let Some(input) = input {
            // Without a reader, the run has something to say of why.
            let _ = serde_json::to_writer(&input, brief);
        }
        let output = run.stdout.take().ok_or_else(|| Report::new("the run has no output"))?;
        let (ended, over) = std::sync::mpsc::channel::<()>();
        let watched = rustix::process::Pid::from_child(&run);
        let watch = std::thread::spawn(move || {
            if over.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = rustix::process::kill_process(watched, rustix::process::Signal::TERM);
            }
        });
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        let mut findings: Vec<Finding> = Vec::new();
        let progress = Progress::of("attempts", battery().count() as u64);
        for line in lines {
            findings.extend(serde_json::from_str::<Finding>(&line));
            progress.to(findings.len() as u64);
        }
        drop(progress);
        drop(ended);
        let _ = watch.join();
        let status = run.wait()?;
        let said = said.join().unwrap_or_default();
        if status.success() {
            return Ok(findings);
        }
        let made = findings.len();
        let told =
            Report::new(format!("the battery ended early ({status}), after {made} attempts: {}", said.trim_end()));
        Err(told
            .hint("`exeat check` says what this machine or the files lack; the agent's wall clock may be too short"))
    }
}

/// The brief as a file that is handed over to be read, and whose mode would let anybody open it anew to write to it.
fn written(brief: &Brief) -> Result<File, Report> {
    let file = tempfile::tempfile()?;
    serde_json::to_writer(&file, brief)?;
    file.set_permissions(Permissions::from_mode(0o666))?;
    Ok(File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?)
}

/// The log of the worker whose command has the word.
pub(super) fn log(places: &Places, nonce: &str) -> Result<(String, Vec<Line>), Report> {
    for entry in fs::read_dir(places.workers())?.flatten() {
        let Ok(Some(log)) = WorkerLog::open(&entry.path()) else { continue };
        let Some(Ok(Record { line, .. })) = log.lines().next() else { continue };
        if let Event::WorkerStart(start) = line.event
            && start.command.iter().any(|argument| argument == nonce)
        {
            return Ok((start.worker, record::verified(&entry.path())?));
        }
    }
    Err(Report::new("the worker has left no call log"))
}
