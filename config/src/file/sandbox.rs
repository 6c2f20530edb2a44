//! `[sandbox]` of an agent's file.
//!
//! Enters: a section. Leaves: [`SandboxSettings`], those that are not written at their defaults. Never: a path looked at; whether
//! it is there is the machine's to say, at the start.

use std::str::FromStr;
use std::time::Duration;

use super::reader::{Field, Reader, Section};
use crate::error::Malformed;
use crate::file_glob::FileGlob;
use crate::limits::{parse_duration, parse_size};
use crate::sandbox::{LimitsMode, SandboxSettings};
use crate::variable::sandbox_variable;

/// What takes longer to end than this has a wall clock of its own to mind.
const LONGEST_GRACE: Duration = Duration::from_secs(600);

/// `[sandbox]` of an agent's file.
pub(super) fn read(reader: &mut Reader<'_>, mut section: Section<'_>) -> SandboxSettings {
    let defaults = SandboxSettings::default();
    let (write, whole) = section.take("write").map(|field| writable(reader, &field)).unwrap_or_default();
    let mut overlay = globs(reader, section.take("overlay"));
    overlay.extend(whole.filter(|whole| !overlay.contains(whole)));
    let settings = SandboxSettings {
        read: globs(reader, section.take("read")),
        write,
        overlay,
        hide: globs(reader, section.take("hide")),
        find_secrets: section
            .take("find_secrets")
            .and_then(|field| reader.flag(&field))
            .unwrap_or(defaults.find_secrets),
        memory: section.take("memory").and_then(|field| reader.value(&field, parse_size)),
        processes: section.take("processes").and_then(|field| reader.count(&field)),
        files: section.take("files").and_then(|field| reader.count(&field)).unwrap_or(defaults.files),
        cpus: section.take("cpus").and_then(|field| reader.amount(&field)),
        file_size: section.take("file_size").and_then(|field| reader.value(&field, parse_size)),
        disk: section.take("disk").and_then(|field| reader.value(&field, parse_size)),
        wall_clock: section.take("wall_clock").and_then(|field| reader.value(&field, parse_duration)),
        nested: section.take("nested").and_then(|field| reader.flag(&field)).unwrap_or(defaults.nested),
        grace: section.take("grace").and_then(|field| reader.value(&field, parse_grace)).unwrap_or(defaults.grace),
        limits: section.take("limits").and_then(|field| reader.value(&field, LimitsMode::from_str)).unwrap_or_default(),
        pass_env: section
            .take("pass_env")
            .and_then(|field| reader.values(&field, sandbox_variable))
            .unwrap_or_default(),
    };
    reader.nothing_else(section);
    settings
}

fn globs(reader: &mut Reader<'_>, field: Option<Field<'_>>) -> Vec<FileGlob> {
    field.and_then(|field| reader.values(&field, str::parse::<FileGlob>)).unwrap_or_default()
}

/// A list; or `"overlay"`, which is the working directory under a layer.
fn writable(reader: &mut Reader<'_>, field: &Field<'_>) -> (Vec<FileGlob>, Option<FileGlob>) {
    if field.text().is_none() {
        return (reader.values(field, str::parse::<FileGlob>).unwrap_or_default(), None);
    }
    let working_directory = |text: &str| match text {
        "overlay" => ".".parse::<FileGlob>(),
        _ => Err(Malformed::new("`write` is a list of paths, or the word \"overlay\"", "write `write = [\".\"]`")),
    };
    (Vec::new(), reader.value(field, working_directory))
}

/// A duration that somebody waits for.
fn parse_grace(text: &str) -> Result<Duration, Malformed> {
    let grace = parse_duration(text)?;
    if grace > LONGEST_GRACE {
        return Err(Malformed::new("that is longer than ten minutes", "write at most `10m`"));
    }
    Ok(grace)
}
