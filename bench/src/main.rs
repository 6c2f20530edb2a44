//! `exeat-bench`: what exeat costs, against the same driver going to the same server directly.
//!
//! | part | module | enters → leaves |
//! |---|---|---|
//! | upstream | [`upstream`], [`identity`] | a directory → an HTTPS server and its authority's certificate |
//! | | [`payload`] | a length → a body |
//! | driver | [`drive`] | jobs on standard input → outcomes on standard output; runs in the sandbox and outside of it |
//! | | [`job`] | what the two sides say to each other |
//! | figures | [`figures`] | the binaries → all rounds, interleaved → tables in Markdown |
//! | | [`clock`] | a process → the CPU time it has used |
//!
//! Never: a figure of calls that failed, nor a loop without an end.

mod clock;
mod drive;
mod error;
mod figures;
mod identity;
mod job;
mod payload;
mod upstream;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;

/// Measures what exeat costs.
#[derive(Debug, Parser)]
#[command(name = "exeat-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTPS until standard input ends; the first line on standard output says where
    Upstream {
        /// Where the authority's certificate goes
        #[arg(long, value_name = "FILE")]
        authority: PathBuf,
    },
    /// Do the jobs that come on standard input
    Drive,
    /// Measure, and print tables
    Figures(figures::Settings),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Upstream { authority } => upstream::run(&authority),
        Command::Drive => drive::run(),
        Command::Figures(settings) => figures::run(&settings),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "exeat-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One line on standard output, at once.
fn say(line: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
