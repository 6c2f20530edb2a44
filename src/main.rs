//! `exeat`: writes the leave of processes that may not be trusted with the network or with a secret.
//!
//! Enters: a command line. Leaves: an exit code, and lines on standard error that say what went wrong and what to do. Never: a
//! decision; every one of them is made in the crates below.
#![forbid(unsafe_code)]

mod args;
mod broker;
mod calls;
mod check;
mod demo;
mod environment;
mod places;
mod report;
mod run;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Broker, Command};
use crate::places::Places;
use crate::report::Report;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr();
    let done = Places::find(&arguments).and_then(|places| match &arguments.command {
        Command::Run(run) => run::run(&places, run),
        Command::Check(check) => check::run(&places, check),
        Command::Calls(calls) => calls::run(&places, calls),
        Command::Broker(Broker::Serve(serve)) => broker::serve(&places, serve),
        Command::Demo(demo) => demo::run(demo),
    });
    done.unwrap_or_else(|report| {
        complain(&report);
        report.exit_code()
    })
}

/// Diagnostics of exeat itself; `EXEAT_LOG` takes a tracing filter, as `proxy=debug`.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("EXEAT_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}

/// Says on standard error why something failed. There is nobody left to tell when that fails.
pub(crate) fn complain(report: &Report) {
    let _ = writeln!(std::io::stderr(), "exeat: {report}");
}
