//! The issuer `command` of credentials.toml.
//!
//! Enters: the section of a credential. Leaves: what is run. Never: a line for a shell.

use super::credential::required;
use super::oauth::{lifted, parse_audience};
use super::paths::parse_path;
use super::reader::{Field, Reader, Section};
use crate::command::CommandSettings;
use crate::credential::IssuerSettings;
use crate::identity::Audience;

/// `issuer = "command"`
pub(super) fn read_issuer(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<IssuerSettings> {
    let issue = required(reader, section, "issue", "issue = [\"program\", \"argument\"]");
    let issue = issue.and_then(|field| read_command(reader, &field));
    let revoke = section.take("revoke").map(|field| read_command(reader, &field));
    let name = lifted(section.take("identity_audience").map(|field| reader.value(&field, parse_audience)));
    let algorithm_field = section.take("algorithm");
    let algorithm = lifted(algorithm_field.as_ref().map(|field| reader.value(field, str::parse)));
    if let (Some(None), Some(field)) = (&name, &algorithm_field) {
        reader.mistake_at(
            field,
            "there is no identity to sign here",
            "add `identity_audience = \"…\"`, or leave it out",
        );
        return None;
    }
    let (algorithm, audience) = (algorithm?, name?);
    let audience = audience.map(|name| Audience { name, algorithm });
    Some(IssuerSettings::Command(Box::new(CommandSettings { issue: issue?, revoke: lifted(revoke)?, audience })))
}

/// A program with its arguments: no shell reads it.
pub(super) fn read_command(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Vec<String>> {
    let words = reader.words(field, parse_path)?;
    if words.is_empty() {
        reader.mistake_at(field, "there is no program to run", "write `[\"program\", \"argument\"]`");
        return None;
    }
    Some(words)
}
