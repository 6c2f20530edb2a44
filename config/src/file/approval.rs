//! The walk over what a credential says of permission.
//!
//! Enters: its table. Leaves: whether a person has to permit its use, and how long a call waits for that. Never: a permission.

use std::time::Duration;

use super::reader::{Reader, Section};
use crate::credential::{LONGEST_PERMISSION_WAIT, PERMISSION_WAIT};
use crate::error::{Malformed, quoted};
use crate::limits::parse_duration;

/// `true`, or `{ wait = "30s" }`. The outer `None` is a mistake.
pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Option<Duration>> {
    let Some(field) = section.take("approve") else { return Some(None) };
    if !field.is_table() {
        return reader.flag(&field).map(|approve| approve.then_some(PERMISSION_WAIT));
    }
    let mut table = reader.section(&field)?;
    let wait = table.take("wait");
    reader.nothing_else(table);
    match wait {
        Some(wait) => reader.value(&wait, parse_wait).map(Some),
        None => Some(Some(PERMISSION_WAIT)),
    }
}

fn parse_wait(text: &str) -> Result<Duration, Malformed> {
    let wait = parse_duration(text)?;
    if wait > LONGEST_PERMISSION_WAIT {
        let longest = LONGEST_PERMISSION_WAIT.as_secs();
        let hint = format!("write at most `{longest}s`: a call that is made again finds its request where it was");
        return Err(Malformed::new(format!("{} is longer than a call waits", quoted(text)), hint));
    }
    Ok(wait)
}
