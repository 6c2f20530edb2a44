//! A driver that stands, inside the sandbox or outside of it, and the clocks around it.
//!
//! Enters: a command, then jobs. Leaves: outcomes with the CPU time of the worker and the server. Never: a wait without an end, nor
//! a process that outlives this.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::clock;
use crate::error::Error;
use crate::job::{Job, Outcome, Reply, per};

/// For an answer of the driver: far over the longest job.
const WAIT: Duration = Duration::from_secs(150);
/// For its end.
const END: Duration = Duration::from_secs(10);

/// A driver and, around it, the worker.
pub struct Player {
    process: Child,
    jobs: Option<ChildStdin>,
    replies: Receiver<String>,
    /// Whose CPU time is counted.
    watched: Vec<u32>,
}

/// One turn.
pub struct Turn {
    /// What the driver says.
    pub outcome: Outcome,
    /// CPU microseconds of exeat's worker for each thing done; none without it.
    pub worker: Option<f64>,
    /// CPU microseconds of the server for each thing done.
    pub server: f64,
    /// CPU microseconds of driver and server together for each thing done.
    pub ends: f64,
}

impl Player {
    /// Starts `command`, which ends up as a driver on its standard input and output.
    pub fn start(mut command: Command, sandboxed: bool) -> Result<Self, Error> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (jobs, out) = (process.stdin.take(), process.stdout.take());
        let (heard, replies) = channel();
        std::thread::spawn(move || {
            for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()) {
                let Ok(line) = line else { break };
                if heard.send(line).is_err() {
                    break;
                }
            }
        });
        let watched = if sandboxed { vec![process.id()] } else { Vec::new() };
        Ok(Self { process, jobs, replies, watched })
    }

    /// The process that was started: the worker's, where there is one.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Has the CPU time of other processes counted as the worker's.
    pub fn watch(&mut self, processes: Vec<u32>) {
        self.watched = processes;
    }

    /// Whose CPU time is counted as the worker's.
    pub fn watched(&self) -> &[u32] {
        &self.watched
    }

    /// Has `job` done; `server` is the process of the upstream.
    pub fn play(&mut self, job: &Job, server: u32) -> Result<Turn, Error> {
        self.ready(job)?;
        self.finish(server)
    }

    /// Hands out `job`, and waits until everything is open that it needs.
    pub fn ready(&mut self, job: &Job) -> Result<(), Error> {
        self.say(&serde_json::to_string(job)?)?;
        match self.hear()? {
            Reply::Ready => Ok(()),
            _ => Err(Error::new("the driver was done before it began")),
        }
    }

    /// Has it done.
    pub fn finish(&mut self, server: u32) -> Result<Turn, Error> {
        let watched = self.watched.clone();
        let worker = || watched.iter().map(|&process| clock::of(process)).sum::<Result<f64, _>>();
        let read = || Ok::<_, Error>((worker()?, clock::of(server)?));
        let before = read()?;
        self.begin()?;
        let outcome = self.end()?;
        let after = read()?;
        if outcome.done == 0 {
            return Err(Error::new("nothing was done in time"));
        }
        let each = |seconds: f64| seconds * 1e6 / per(outcome.done, 1.0);
        Ok(Turn {
            worker: (!self.watched.is_empty()).then(|| each(after.0 - before.0)),
            server: each(after.1 - before.1),
            ends: each(after.1 - before.1 + outcome.cpu),
            outcome,
        })
    }

    /// Has it begun; [`end`](Self::end) waits for it.
    pub fn begin(&mut self) -> Result<(), Error> {
        self.say("")
    }

    /// Waits until it is done.
    pub fn end(&mut self) -> Result<Outcome, Error> {
        match self.hear()? {
            Reply::Done(outcome) => Ok(outcome),
            _ => Err(Error::new("the driver is ready for ever")),
        }
    }

    fn say(&mut self, line: &str) -> Result<(), Error> {
        let jobs = self.jobs.as_mut().ok_or_else(|| Error::new("the driver has no standard input"))?;
        Ok(writeln!(jobs, "{line}").and_then(|()| jobs.flush())?)
    }

    fn hear(&self) -> Result<Reply, Error> {
        let line =
            self.replies.recv_timeout(WAIT).map_err(|error| Error::new(format!("the driver is silent: {error}")))?;
        match serde_json::from_str(&line)? {
            Reply::Failed(reason) => Err(Error::new(reason)),
            reply => Ok(reply),
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // Its standard output ends with it.
        while self.replies.recv_timeout(END).is_ok() {}
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
