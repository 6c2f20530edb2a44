//! `exeat stats`: how many calls there were, where to, and how they went.
//!
//! Enters: the index of the call logs, a filter. Leaves: a row for each agent and destination, what was refused most, and how it was spread over time;
//! in a terminal also drawn. Never: a number of a log that could not be read to its end without saying so.

mod chart;
mod table;
mod tally;

use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use self::chart::Drawing;
use self::tally::Tally;
use crate::args::{self, Limit};
use crate::calls::{self, Filter, Finder};
use crate::out::out;
use crate::places::Places;
use crate::report::Report;

/// Rows that a person reads; an agent can call as many hosts as it thinks of.
const SHOWN: usize = 50;
/// Groups in a document, some MiB of it.
const LISTED: usize = 10_000;

/// Counts the calls.
///
/// # Errors
/// When the logs cannot be listed. The code is 1 when one cannot be read.
pub fn run(places: &Places, arguments: &args::Stats) -> Result<ExitCode, Report> {
    let filter = Filter::new(&arguments.wanted)?;
    let mut tally = Tally::default();
    let finder = Finder::new(places)?;
    let flaws = finder.sheets(&filter, filter.span, |_, sheet| {
        let mut sieve = filter.on(sheet);
        for entry in sheet.entries().iter().filter(|entry| sieve.wants(entry)) {
            tally.count(sheet, entry);
        }
    });
    let most = match arguments.limit {
        Some(Limit(limit)) => limit.map_or(usize::MAX, NonZeroUsize::get),
        None if arguments.json => LISTED,
        None => SHOWN,
    };
    let summary = tally.summary(filter.span, most);
    let (mut out, terminal) = (out(), io::stdout().is_terminal());
    match (arguments.json, terminal) {
        (true, _) => out.json(&summary)?,
        (false, true) => table::show(&mut out, &summary, Drawing::of_terminal().as_ref())?,
        (false, false) => table::show(&mut out, &summary, None)?,
    }
    calls::say_left_out(&finder, &filter);
    Ok(calls::say(&flaws))
}
