//! `exeat report`: evidence from the real state of one agent, set against lists that security teams hold it to.
//!
//! Enters: the configuration, the state directory, a period. Leaves: a page in Markdown or a JSON document: what was measured, and for each
//! control of each list whether that is evidence for it, where it was read, by what it can be read again, and what would cover the rest.
//! Never: a claim that no measured fact is behind; a status is a function of facts (`control`), and what is absent is *not measured*.
//!
//! In reading order: `facts` (what can be measured), `configured`, `logged` with `tally` and `walls`, `standing` (where it is measured),
//! `measure`, `lent` and `walled` (what is asked of it), `control` (what that comes to), `nhi`, `agentic`, `csf` (for which controls), `page` and
//! `document` (how it is told).

mod agentic;
mod configured;
mod control;
mod csf;
mod document;
mod facts;
mod lent;
mod logged;
mod measure;
mod nhi;
mod page;
mod standing;
mod tally;
mod walled;
mod walls;

#[cfg(test)]
mod tests;

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;

use self::control::Assessed;
use self::document::Document;
use self::facts::Facts;
pub(crate) use self::facts::{Group, Probed};
use self::measure::Measured;
use crate::ago::ago;
use crate::args::{self, Documented};
use crate::out::out;
use crate::places::Places;
use crate::report::Report;

/// Makes the report.
///
/// # Errors
/// When something is there and cannot be read, or the report cannot be written.
pub fn run(places: &Places, arguments: &args::Report) -> Result<ExitCode, Report> {
    let args::Report { agent, since, .. } = arguments;
    let bad = || Report::new(format!("`{since}` is not how long ago")).hint("write 30d, 12h or 90m");
    let at = Timestamp::now();
    let from = at.checked_sub(ago(since).ok_or_else(bad)?)?;
    let mut facts = Facts::default();
    // It is written all the same: an agent's file may be gone, and what it did is not.
    if let Err(no_file) = places.file_of(agent) {
        crate::remark(&no_file);
    }
    configured::add(&mut facts, places, agent, since);
    logged::add(&mut facts, places, agent, from)?;
    standing::add(&mut facts, places, agent, from)?;
    let state = places.state.display().to_string();
    let controls = assess(&Measured { facts: &facts, agent: agent.as_str(), since, state: &state });
    let document = Document {
        schema: document::SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        agent: agent.to_string(),
        at,
        since: from,
        config: places.config.display().to_string(),
        state,
        facts,
        controls,
    };
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&document)? + "\n",
        false => page::of(&document, since),
    };
    match &arguments.output {
        Some(file) => fs::write(file, text)
            .map_err(|error| Report::new(format!("cannot write the report to `{}`: {error}", file.display())))?,
        // The page has nothing that acts.
        None if arguments.json => out().json_text(text.trim_end())?,
        None => out().write_all(text.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a schema.
///
/// # Errors
/// When nobody takes it.
pub fn schema(arguments: &args::Schema) -> Result<ExitCode, Report> {
    let schema = match arguments.of {
        Documented::Record => record::SCHEMA,
        Documented::Report => document::JSON_SCHEMA,
    };
    out().write_all(schema.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Every control of every list: a function of facts.
fn assess(measured: &Measured<'_>) -> Vec<Assessed> {
    [nhi::assess(measured), agentic::assess(measured), csf::assess(measured)].concat()
}
