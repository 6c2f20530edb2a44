//! `exeat version`: which exeat this is.
//!
//! Enters: nothing. Leaves: a line, or one JSON document for a program that has to know what it reads. Never: a look at the machine.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use crate::args;
use crate::out::out;
use crate::report::Report;

/// Prints it.
///
/// # Errors
/// When standard output cannot be written to.
pub fn print(arguments: &args::Version) -> Result<ExitCode, Report> {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = out();
    match arguments.json {
        true => writeln!(out, "{}", json!({ "name": "exeat", "version": version, "machine": std::env::consts::ARCH }))?,
        false => writeln!(out, "exeat {version}")?,
    }
    Ok(ExitCode::SUCCESS)
}
