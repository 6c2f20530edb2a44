//! The call log of the demo, against what happened.
//!
//! Enters: the state directory and what the server saw. Leaves: the table of `exeat calls`, and a verdict on what the log has to
//! have and must not have. Never: a secret on the screen.

use record::{Event, Line, Refused};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::Files;
use super::narrator::Narrator;
use super::seen::Seen;
use super::server::Client;
use super::steps::{self, Tried};
use crate::report::Report;

/// Shows the table, and judges the log.
pub(super) fn narrate(
    narrator: &mut Narrator,
    files: &Files,
    seen: &Seen,
    tried: &Tried,
    client: &Client,
) -> Result<(), Report> {
    narrator.step("The call log: what was called and refused, out of the script's reach")?;
    narrator.command("exeat calls")?;
    let calls = Command::new(std::env::current_exe()?)
        .arg("--config")
        .arg(&files.config)
        .arg("--state")
        .arg(files.state())
        .arg("calls")
        .output()?;
    for line in String::from_utf8_lossy(&calls.stdout).lines() {
        narrator.row(line)?;
    }
    let written = below(&files.state())?;
    let worker = fs::read_dir(files.state().join("workers"))?.next().transpose()?.map(|entry| entry.path());
    let lines = match worker.map(|worker| record::verified(&worker)) {
        Some(Ok(lines)) => lines,
        Some(Err(tampered)) => {
            narrator.verdict(false, "every record is chained to the one before")?;
            narrator.output(&tampered.to_string())?;
            return Ok(());
        }
        None => {
            narrator.verdict(false, "there is a call log")?;
            return Ok(());
        }
    };
    narrator.verdict(calls.status.success(), &format!("{} records, each chained to the one before", lines.len()))?;
    judge(narrator, &lines, seen)?;

    let secrets: Vec<&[u8]> =
        seen.issued.iter().chain([&tried.placeholder, &client.secret]).map(String::as_bytes).collect();
    let clean = !written.iter().any(|(_, bytes)| secrets.iter().any(|secret| holds(bytes, secret)));
    narrator.verdict(clean, "neither access token nor placeholder nor client secret is in it")?;
    Ok(())
}

fn judge(narrator: &mut Narrator, lines: &[Line], seen: &Seen) -> Result<(), Report> {
    let calls: Vec<String> = lines
        .iter()
        .filter_map(|line| match &line.event {
            Event::CallStart(start) => {
                Some(format!("{} {}{}", start.method, start.to.trim_end_matches(":443"), start.path))
            }
            _ => None,
        })
        .collect();
    let arrived: Vec<String> =
        seen.requests.iter().map(|request| format!("{} {}", request.method, request.to)).collect();
    narrator.verdict(calls == arrived, "every call that the API saw is there, and no other")?;

    let refused: Vec<&Refused> = lines
        .iter()
        .filter_map(|line| match &line.event {
            Event::Refused(refused) => Some(refused),
            _ => None,
        })
        .collect();
    let kinds = refused.iter().map(|refused| refused.kind.as_str());
    narrator.verdict(kinds.eq(steps::refusals()), "every refusal is there, with its reason")?;
    let alerts: Vec<&str> =
        refused.iter().filter(|refused| refused.alert).map(|refused| refused.kind.as_str()).collect();
    narrator.verdict(alerts == ["placeholder-misdirected"], "the misdirected placeholder is the one ALERT")?;

    let tunnel = lines.iter().find_map(|line| match &line.event {
        Event::NameAsked(asked) if asked.name.ends_with(".tunnel.example.net") => Some(asked.name.as_str()),
        _ => None,
    });
    let told = match tunnel {
        Some(name) => format!("the tunnel's name is there: {name}"),
        None => "the tunnel's name is there".to_owned(),
    };
    narrator.verdict(tunnel.is_some(), &told)?;
    Ok(())
}

/// Every file below a directory.
fn below(directory: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(below(&path)?);
        } else if path.is_file() {
            let bytes = fs::read(&path)?;
            files.push((path, bytes));
        }
    }
    Ok(files)
}

/// Nothing holds a secret that is not known.
fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    !secret.is_empty() && bytes.windows(secret.len()).any(|window| window == secret)
}
