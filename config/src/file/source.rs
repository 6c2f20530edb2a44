//! Where a long-lived secret is found, as the files say it.
//!
//! Enters: a field with a table that has one key. Leaves: a [`Source`]. Never: a secret written in the file itself; it is refused
//! with the places where one may be.

use std::path::Path;

use super::paths::parse_path;
use super::reader::{Field, Reader};
use super::{beside, command, vault};
use crate::credential::Source;
use crate::error::{Malformed, quoted};
use crate::variable::variable;

const ONE_OF: &str = "write one of `{ file = \"…\" }`, `{ env = \"…\" }`, `{ command = [\"…\"] }`, `{ systemd = \"…\" }`, \
                      `{ keyring = \"user:…\" }`, `{ vault = { … } }`";
const PLACES: [&str; 6] = ["file", "env", "command", "systemd", "keyring", "vault"];

/// `{ file = … }`, or one of the others.
pub(super) fn read_source(reader: &mut Reader<'_>, field: &Field<'_>, file: &Path) -> Option<Source> {
    if !field.is_table() {
        reader.mistake_at(field, "a secret is not written in this file, only where it is found", ONE_OF);
        return None;
    }
    let mut section = reader.section(field)?;
    let mut found: Vec<_> = PLACES.into_iter().filter_map(|name| Some((name, section.take(name)?))).collect();
    reader.nothing_else(section);
    if found.len() != 1 {
        reader.mistake_at(field, format!("{} places are named for one secret", found.len()), ONE_OF);
        return None;
    }
    let (place, field) = found.pop()?;
    match place {
        "file" => {
            let path = reader.value(&field, parse_path)?;
            Some(Source::File(beside(file, Path::new(&path))))
        }
        "env" => reader.value(&field, variable).map(Source::Env),
        "command" => command::read_command(reader, &field).map(Source::Command),
        "systemd" => reader.value(&field, parse_systemd).map(Source::Systemd),
        "keyring" => reader.value(&field, parse_keyring).map(Source::Keyring),
        _ => {
            let section = reader.section(&field)?;
            vault::read_source(reader, section, file).map(|secret| Source::Vault(Box::new(secret)))
        }
    }
}

/// The name of a credential, which is a file's (systemd.exec(5)).
fn parse_systemd(text: &str) -> Result<String, Malformed> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    match text.len() <= 255 && !matches!(text, "." | "..") && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(Malformed::new(
            format!("{} is not the name of a systemd credential", quoted(text)),
            "write the name before the colon in the unit's `LoadCredential=`: a file's name, without a slash",
        )),
    }
}

/// `TYPE:DESCRIPTION`, of the type whose keys can be read.
fn parse_keyring(text: &str) -> Result<String, Malformed> {
    let refused = |hint: &str| Malformed::new(format!("{} is not a key that can be read", quoted(text)), hint);
    let (kind, description) = text.split_once(':').ok_or_else(|| refused("write `user:` and the key's description"))?;
    match kind {
        "user" => {}
        "logon" => return Err(refused("the kernel shows keys of the type `logon` to no program: add it as `user`")),
        _ => return Err(refused("write `user:` and the key's description; keys of other types hold no text")),
    }
    match (1..=255).contains(&description.len()) && !description.chars().any(char::is_control) {
        true => Ok(description.to_owned()),
        false => Err(refused("a description has 1 to 255 bytes, and no control characters")),
    }
}
