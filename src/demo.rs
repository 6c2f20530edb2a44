//! `exeat demo`: the main job on built-in defaults, offline, each step checked.
//!
//! Enters: nothing, or the directory that is to keep the configuration. Leaves: a narration, and exit code 0 when every step
//! behaved. Never: a word about a step that was not tried; a key of the demo's authority on disk.

mod api;
mod attempt;
mod authority;
mod files;
mod log;
mod narrator;
mod seen;
mod server;
mod steps;

use std::io::Write;
use std::process::{Command, ExitCode};
use std::time::Instant;

use self::files::{Addresses, Files};
use self::narrator::Narrator;
use self::server::{Client, Server};
use crate::args;
use crate::out::out;
use crate::report::Report;

/// The agent of the demo: agents/demo.toml.
const AGENT: &str = "demo";
/// What the policy allows, on one line; agent.toml has it in full.
const POLICY: &str =
    "GET api.example.com/v1/** with the credential, not /v1/admin/**; GET files.example.com; nothing else";

/// Shows the main job. The server is forked off while there is one thread.
///
/// # Errors
/// When the demo cannot be set up; a step that does not behave is no error, but exit code 1.
pub fn run(arguments: &args::Demo) -> Result<ExitCode, Report> {
    let begun = Instant::now();
    let protocols = curl()?;
    let client = Client::generate()?;
    let (authority, tls) = authority::certify(&["api.example.com", "files.example.com", "127.0.0.1"])?;
    let server = Server::start(client.clone(), tls)?;
    let addresses = Addresses { api: server.api, issuer: server.issuer, datagrams: server.datagrams };
    let files = Files::write(arguments.keep.as_deref(), &addresses, &client, &authority, &protocols)?;

    let mut narrator = Narrator::new(arguments.json);
    introduce(&mut narrator, &addresses)?;
    let script = attempt::start(&files)?;
    let tried = steps::narrate(&mut narrator, script)?;
    let seen = server.finish()?;
    seen::narrate(&mut narrator, &seen, &tried)?;
    log::narrate(&mut narrator, &files, &seen, &tried, &client)?;
    let took = begun.elapsed();
    narrator.conclude(took)?;
    if let Some(directory) = &arguments.keep {
        files::say_what_is_kept(&mut narrator, directory)?;
    }
    if arguments.json {
        writeln!(out(), "{}", narrator.json(took))?;
    }
    Ok(if narrator.all_behaved() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn introduce(narrator: &mut Narrator, addresses: &Addresses) -> Result<(), Report> {
    narrator.heading("exeat demo: a script that wants out, and what becomes of every call")?;
    let Addresses { api, issuer, .. } = addresses;
    narrator.facts(&[
        ("api", &format!("{api} is api.example.com and files.example.com, over HTTPS")),
        (
            "issuer",
            &format!("{issuer} gives out access tokens for {} s; only the broker can ask for one", api::LIFETIME),
        ),
        ("policy", POLICY),
        ("command", &format!("exeat run --agent {AGENT} -- sh {}", files::SCRIPT)),
    ])?;
    Ok(())
}

/// Which protocols the machine's curl has.
fn curl() -> Result<String, Report> {
    let asked = Command::new("curl").arg("--version").output();
    let output = asked.map_err(|error| {
        Report::new(format!("the demo's script is made of curl, which cannot be started: {error}"))
            .hint("install it (Debian: apt-get install curl), and try again")
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().find_map(|line| line.strip_prefix("Protocols:")).unwrap_or_default().to_owned())
}
