//! `exeat-bench`: what exeat costs, against the same driver going to the same server directly.
//!
//! | part | module | enters → leaves |
//! |---|---|---|
//! | upstream | [`upstream`], [`identity`] | a directory → an HTTPS server and its authority's certificate |
//! | | [`payload`] | a length → a body |
//! | driver | [`drive`] | jobs on standard input → outcomes on standard output; runs in the sandbox and outside of it |
//! | | [`job`] | what the two sides say to each other |
//! | rivals | [`rivals`] | the upstream → what a user would pick instead, set up beside exeat |
//! | figures | [`figures`] | the binaries → all rounds, interleaved → tables in Markdown |
//! | | [`plot`] | values along a curve → SVG |
//! | | [`clock`], [`tree`] | a process → the CPU time and the memory that it and those below it have used |
//!
//! Never: a figure of calls that failed, nor a loop without an end.

mod clock;
mod drive;
mod error;
mod figures;
mod identity;
mod job;
mod payload;
mod plot;
mod rivals;
mod tree;
mod upstream;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

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
    /// Ask one thing, and say when it is answered
    Ask {
        /// Of whom
        host: String,
        /// What
        path: String,
    },
    /// Intercept and copy bytes until standard input ends; the first line on standard output says where
    Bare(rivals::Intercepts),
    /// The same with hudsucker
    Hudsucker(rivals::hudsucker::Settings),
    /// Measure, and print tables
    Figures(figures::Settings),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let done = descriptors().and_then(|()| match command {
        Command::Upstream { authority } => upstream::run(&authority),
        Command::Drive => drive::run(),
        Command::Ask { host, path } => drive::ask(&host, &path),
        Command::Bare(settings) => rivals::bare::run(&settings),
        Command::Hudsucker(settings) => rivals::hudsucker::run(&settings),
        Command::Figures(settings) => figures::run(&settings),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "exeat-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As many as there may be, for what is started as well: a thousand connections are two thousand of them in a proxy.
fn descriptors() -> Result<(), Error> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// One line on standard output, at once.
fn say(line: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
