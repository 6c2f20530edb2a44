//! `[sandbox]` of an agent's file.
//!
//! Enters: a section. Leaves: [`SandboxSettings`], those that are not written at their defaults. Never: a path looked at; whether
//! it is there is the machine's to say, at the start.

use super::paths::read_paths;
use super::reader::{Reader, Section};
use crate::limits::{parse_duration, parse_size};
use crate::sandbox::SandboxSettings;
use crate::variable::sandbox_variable;

/// `[sandbox]` of an agent's file.
pub(super) fn read(reader: &mut Reader<'_>, mut section: Section<'_>) -> SandboxSettings {
    let defaults = SandboxSettings::default();
    let settings = SandboxSettings {
        read: section.take("read").and_then(|field| read_paths(reader, &field)).unwrap_or_default(),
        write: section.take("write").and_then(|field| read_paths(reader, &field)).unwrap_or_default(),
        memory: section.take("memory").and_then(|field| reader.value(&field, parse_size)),
        processes: section.take("processes").and_then(|field| reader.count(&field)).unwrap_or(defaults.processes),
        files: section.take("files").and_then(|field| reader.count(&field)).unwrap_or(defaults.files),
        cpus: section.take("cpus").and_then(|field| reader.amount(&field)),
        wall_clock: section.take("wall_clock").and_then(|field| reader.value(&field, parse_duration)),
        pass_env: section
            .take("pass_env")
            .and_then(|field| reader.values(&field, sandbox_variable))
            .unwrap_or_default(),
    };
    reader.nothing_else(section);
    settings
}
