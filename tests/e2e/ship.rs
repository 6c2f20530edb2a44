//! The call logs reach receivers that others wrote, every record and every call, whatever happens on the way; calls do not wait for them.

mod client_key;
mod collector;
mod gaps;
mod otlp;
mod relay;
mod syslog;
mod syslog_server;
mod words;

use std::collections::BTreeSet;
use std::fs;

use record::Event;
use serde_json::Value;

use crate::harness::{Exeat, Log};

/// Writes log.toml.
fn target(exeat: &Exeat, lines: &str) {
    fs::write(exeat.config("log.toml"), lines).unwrap();
}

/// `WORKER/SEQ` of each record of the logs.
fn uids(log: &Log) -> BTreeSet<String> {
    let mut worker = String::new();
    let uid = |line: &record::Line| {
        if let Event::WorkerStart(start) = &line.event {
            worker.clone_from(&start.worker);
        }
        format!("{worker}/{}", line.seq)
    };
    log.lines.iter().map(uid).collect()
}

/// What `exeat ship --status` says of the only receiver.
fn status(exeat: &Exeat) -> Value {
    let status: Value = exeat.exeat(&["ship", "--status", "--json"]).finish().ok().json();
    assert_eq!(status["schema"], "exeat-ship-status/1");
    status
}
