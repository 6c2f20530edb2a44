//! `exeat check`: every mistake in the files, and what this machine lacks.
//!
//! Enters: the configuration directory and the machine. Leaves: one block for each mistake with file, line, key, reason and
//! remedy, and one line for each capability. Never: a stop at the first mistake; a change to anything.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use config::{Credentials, IdentitySettings, LoadError, Policy};

use crate::args;
use crate::places::Places;
use crate::report::Report;

/// Checks; the exit code is 1 when something is wrong.
///
/// # Errors
/// When the directory cannot be listed.
pub fn run(places: &Places, arguments: &args::Check) -> Result<ExitCode, Report> {
    let mut out = io::stdout().lock();
    let files = files(places, &mut out)?;
    let machine = arguments.files_only || machine(&mut out)?;
    Ok(if files && machine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn files(places: &Places, out: &mut impl Write) -> Result<bool, Report> {
    let mut mistakes = 0;
    let mut say = |out: &mut dyn Write, error: &LoadError| {
        mistakes += error.mistakes().len();
        writeln!(out, "{error}")
    };
    let mut policies = Vec::new();
    for file in agent_files(places)? {
        match Policy::load(&file) {
            Ok(policy) => policies.push(policy),
            Err(error) => say(out, &error)?,
        }
    }
    if let Err(error) = IdentitySettings::load(places.broker_file()) {
        say(out, &error)?;
    }
    let file = places.credentials_file();
    let credentials = if file.exists() { Credentials::load(&file) } else { Credentials::parse(&file, "") };
    match &credentials {
        Ok(credentials) => {
            for mistake in config::cross_check(&policies, credentials) {
                mistakes += 1;
                writeln!(out, "{mistake}")?;
            }
        }
        Err(error) => say(out, error)?,
    }
    let credentials = credentials.map_or(0, |credentials| credentials.iter().count());
    if mistakes == 0 {
        writeln!(
            out,
            "{}: {} agents, {credentials} credentials, no mistakes",
            places.config.display(),
            policies.len()
        )?;
    } else {
        writeln!(out, "{}: {mistakes} mistakes", places.config.display())?;
    }
    Ok(mistakes == 0)
}

fn agent_files(places: &Places) -> Result<Vec<PathBuf>, Report> {
    let directory = places.config.join("agents");
    let entries = fs::read_dir(&directory).map_err(|error| {
        Report::new(format!("cannot list `{}`: {error}", directory.display()))
            .hint("make it and write one NAME.toml for each agent in it, or say --config DIR; `exeat demo --keep DIR` leaves examples")
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("toml")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn machine(out: &mut impl Write) -> Result<bool, Report> {
    let mut able = true;
    for capability in sandbox::probe() {
        let mark = match (capability.present, capability.required) {
            (true, _) => "yes",
            (false, true) => "NO",
            (false, false) => "no",
        };
        writeln!(out, "{mark:<4}{:<18}{}", capability.name, capability.why)?;
        if !capability.present {
            able &= !capability.required;
            if let Some(remedy) = &capability.remedy {
                writeln!(out, "    hint: {remedy}")?;
            }
        }
    }
    Ok(able)
}
