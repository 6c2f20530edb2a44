//! `accept` of a credential: risks that somebody has looked at, and says why they have to be; and where its keys stand.
//!
//! Enters: the section of a credential. Leaves: a reason for each risk. Never: a risk that is accepted without a reason.

use std::collections::BTreeMap;

use super::reader::{Field, Reader, Section};
use crate::credential::Written;
use crate::error::Malformed;
use crate::risk::Risk;

/// A sentence or two, on one line.
const LONGEST: usize = 300;
/// "ok" is no reason.
const SHORTEST: usize = 10;

/// Where a credential and its keys stand. Asked before any of them is taken.
pub(super) fn written(reader: &Reader<'_>, section: &Section<'_>) -> Written {
    let keys = section.keys().map(|(name, at)| (name.to_owned(), reader.place(at))).collect();
    Written { file: reader.file_name(), at: reader.place(section.at), keys }
}

pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<BTreeMap<Risk, String>> {
    let Some(field) = section.take("accept") else { return Some(BTreeMap::new()) };
    let entries = reader.section(&field)?.take_all();
    if entries.is_empty() {
        reader.mistake_at(&field, "nothing is accepted in it", "leave the key out");
        return None;
    }
    let count = entries.len();
    let mut accepted = BTreeMap::new();
    for (name, field) in entries {
        accepted.extend(one(reader, name, &field));
    }
    (accepted.len() == count).then_some(accepted)
}

fn one(reader: &mut Reader<'_>, name: &str, field: &Field<'_>) -> Option<(Risk, String)> {
    let risk = reader.kept(field, name.parse::<Risk>())?;
    Some((risk, reader.value(field, parse_reason)?))
}

fn parse_reason(text: &str) -> Result<String, Malformed> {
    const HINT: &str =
        "write why it has to be so: `NHI7 = \"the vendor has no others; rotated monthly by the identity team\"`";
    let text = text.trim();
    let length = text.chars().count();
    match () {
        () if text.chars().any(char::is_control) => Err(Malformed::new("the reason has control characters", HINT)),
        () if length < SHORTEST => Err(Malformed::new("that is no reason", HINT)),
        () if length > LONGEST => {
            Err(Malformed::new(format!("the reason is longer than {LONGEST} characters"), "write the rest elsewhere"))
        }
        () => Ok(text.to_owned()),
    }
}
