//! The walk over `[[expect]]` of an agent's file.
//!
//! Enters: its section. Leaves: an expectation. Never: one that could not be told from another that was meant: of what is only said of
//! allowed calls nothing is said of refused ones, and the other way round.

use super::reader::{Field, Reader, Section};
use crate::asked::Asked;
use crate::denial::DenialKind;
use crate::error::{Malformed, quoted};
use crate::expectation::{Expectation, Expected, TOOL_NOT_ALLOWED};

/// As long as a name that a rule lists can be.
const LONGEST_TOOL: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Allow,
    Refuse,
}

pub(super) fn read(reader: &mut Reader<'_>, mut section: Section<'_>, number: usize) -> Option<Expectation> {
    let call_field = section.take("call");
    if call_field.is_none() {
        reader.missing(&section, "call", "call = \"GET https://api.example.com/path\"");
    }
    let call: Option<Asked> = call_field.as_ref().and_then(|field| reader.value(field, str::parse));
    let result = section.take("result");
    if result.is_none() {
        reader.missing(&section, "result", "result = \"allow\"` or `result = \"refuse\"");
    }
    let result = result.and_then(|field| reader.value(&field, parse_result));
    let credential = section.take("credential");
    let kind = section.take("kind");
    let tool_field = section.take("tool");
    let tool = tool_field.as_ref().map(|field| reader.value(field, parse_tool));
    if let (Some(field), Some(call)) = (&tool_field, &call)
        && call.method().as_str() != "POST"
    {
        reader.mistake_at(
            field,
            "a tool is called with a POST request",
            "write `call = \"POST https://…\"`, or take `tool` out",
        );
    }
    let at = reader.place(section.at);
    reader.nothing_else(section);
    let expected = match result? {
        Outcome::Allow => {
            stray(
                reader,
                kind.as_ref(),
                "an allowed call has no kind of refusal",
                "take it out, or write `result = \"refuse\"`",
            );
            Expected::Allow(match credential {
                Some(field) => Some(read_credential(reader, &field)?),
                None => None,
            })
        }
        Outcome::Refuse => {
            stray(
                reader,
                credential.as_ref(),
                "a refused call has no credential",
                "take it out, or write `result = \"allow\"`",
            );
            Expected::Refuse(match kind {
                Some(field) => Some(reader.value(&field, parse_kind)?),
                None => None,
            })
        }
    };
    let tool = match tool {
        Some(tool) => Some(tool?),
        None => None,
    };
    Some(Expectation { number, at, call: call?, tool, expected })
}

fn stray(reader: &mut Reader<'_>, field: Option<&Field<'_>>, reason: &str, remedy: &str) {
    if let Some(field) = field {
        reader.mistake_at(field, reason, remedy);
    }
}

/// A name; `false` is none at all.
fn read_credential(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Option<crate::agent::CredentialName>> {
    if !field.is_flag() {
        return reader.value(field, str::parse).map(Some);
    }
    if reader.flag(field) == Some(false) {
        return Some(None);
    }
    reader.mistake_at(field, "`true` names no credential", "write its name; `false` is for none at all");
    None
}

fn parse_result(text: &str) -> Result<Outcome, Malformed> {
    match text {
        "allow" => Ok(Outcome::Allow),
        "refuse" => Ok(Outcome::Refuse),
        _ => Err(Malformed::new(format!("{} is no result", quoted(text)), "write \"allow\" or \"refuse\"")),
    }
}

fn parse_kind(text: &str) -> Result<&'static str, Malformed> {
    let known = || DenialKind::NAMES.into_iter().chain([TOOL_NOT_ALLOWED]);
    known().find(|kind| *kind == text).ok_or_else(|| {
        let hint = format!(
            "the policy's kinds of refusal are {}",
            known().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ")
        );
        Malformed::new(format!("{} is no kind of refusal by a policy", quoted(text)), hint)
    })
}

fn parse_tool(text: &str) -> Result<String, Malformed> {
    let hint = "write the tool's name as the server lists it, without patterns";
    if text.len() > LONGEST_TOOL || text.chars().any(|c| c.is_control() || c.is_whitespace()) || text.contains('*') {
        return Err(Malformed::new(format!("{} is not the name of a tool", quoted(text)), hint));
    }
    Ok(text.to_owned())
}
