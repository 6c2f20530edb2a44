//! `exeat demo`.
use crate::report::Report;
/// Demo.
pub fn run(_arguments: &crate::args::Demo) -> Result<std::process::ExitCode, Report> {
    Err(Report::new("the demo is being written"))
}
