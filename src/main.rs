//! `exeat`: writes the leave of processes that may not be trusted with the network or with a secret.
//!
//! Enters: a command line. Leaves: an exit code, and lines on standard error that say what went wrong and what to do. Never: a
//! decision; every one of them is made in the crates below.
#![forbid(unsafe_code)]

mod ago;
mod approvals;
mod args;
mod assessment;
mod broker;
mod call;
mod calls;
mod check;
mod clerk;
mod completions;
mod demo;
mod diff;
mod environment;
mod explain;
mod init;
mod layers;
mod leases;
mod manual;
mod offboard;
mod out;
mod places;
mod plain;
mod probe;
mod progress;
mod prune;
mod report;
mod run;
mod running;
mod settled;
mod ship;
mod stats;
mod suggest;
mod verify;
mod version;
mod which;
mod workers;
mod writable;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args::{Arguments, Broker, Command};
use crate::places::Places;
use crate::report::Report;

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    log_to_stderr();
    let places = || Places::find(&arguments);
    let done = match &arguments.command {
        Command::Run(run) => places().and_then(|places| run::run(&places, run)),
        Command::Check(check) => places().and_then(|places| check::run(&places, check)),
        Command::Explain(explain) => places().and_then(|places| explain::run(&places, explain)),
        Command::Suggest(arguments) => places().and_then(|places| suggest::run(&places, arguments)),
        Command::Calls(calls) => places().and_then(|places| calls::run(&places, calls)),
        Command::Stats(stats) => places().and_then(|places| stats::run(&places, stats)),
        Command::Verify(verify) => places().and_then(|places| verify::run(&places, verify)),
        Command::Ship(ship) => places().and_then(|places| ship::run(&places, ship)),
        Command::Broker(Broker::Serve(serve)) => places().and_then(|places| broker::serve(&places, serve)),
        Command::Leases(list) => places().and_then(|places| leases::list(&places, list)),
        Command::Workers(list) => places().and_then(|places| workers::list(&places, list)),
        Command::Stop(stop) => places().and_then(|places| workers::stop(&places, stop)),
        Command::Diff(diff) => places().and_then(|places| diff::run(&places, diff)),
        Command::Revoke(revoke) => places().and_then(|places| leases::revoke(&places, revoke)),
        Command::Approvals(list) => places().and_then(|places| approvals::list(&places, list)),
        Command::Approve(approve) => places().and_then(|places| approvals::approve(&places, approve)),
        Command::Deny(deny) => places().and_then(|places| approvals::deny(&places, deny)),
        Command::Offboard(offboard) => places().and_then(|places| offboard::run(&places, offboard)),
        Command::Init(init) => places().and_then(|places| init::run(&places, init)),
        Command::Completions(completions) => completions::print(completions),
        Command::Man(man) => manual::run(man),
        Command::Version(version) => version::print(version),
        Command::Report(report) => places().and_then(|places| assessment::run(&places, report)),
        Command::Schema(schema) => assessment::schema(schema),
        Command::Demo(demo) => demo::run(demo),
        Command::Probe(probe) => places().and_then(|places| probe::run(&places, probe)),
        Command::ProbeInside { .. } => probe::inside::run(),
    };
    done.unwrap_or_else(|report| {
        complain(&report);
        report.exit_code()
    })
}

/// The command line. Whoever names no command is shown all of them.
fn arguments() -> Result<Arguments, ExitCode> {
    /// As of every command line that is wrong.
    const WRONG: u8 = 2;
    if let Some(run) = args::run_alone(std::env::args_os()) {
        return Ok(run);
    }
    let parsed = args::command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|error| match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        // What clap says to somebody whose environment has an option for exeat lists what is hidden, too.
        (ErrorKind::MissingSubcommand, Some(ContextValue::String(of))) if of == "exeat" => {
            let _ = write!(std::io::stderr(), "{}", args::offered().render_help());
            ExitCode::from(WRONG)
        }
        _ => error.exit(),
    })
}

/// Diagnostics of exeat itself; `EXEAT_LOG` takes a tracing filter, as `proxy=debug`.
fn log_to_stderr() {
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .without_time();
    match tracing_subscriber::EnvFilter::try_from_env("EXEAT_LOG") {
        Ok(filter) => lines.with_env_filter(filter).init(),
        // Nearly always; a level alone needs none of what a filter is made of.
        Err(_) => lines.with_max_level(tracing::Level::WARN).init(),
    }
}

/// Says on standard error what is worth knowing though nothing of exeat's failed.
pub(crate) fn remark(report: &Report) {
    let _ = writeln!(std::io::stderr(), "exeat: {}", report.note());
}

/// Says on standard error why something failed. There is nobody left to tell when that fails.
pub(crate) fn complain(report: &Report) {
    let _ = writeln!(std::io::stderr(), "exeat: {report}");
}
