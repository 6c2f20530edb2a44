//! The walk over log.toml.
//!
//! Enters: text. Leaves: [`LogSettings`]. Never: two receivers under one name, a receiver that is not proven by TLS beyond this machine,
//! or a secret in the file itself.

use std::collections::BTreeMap;
use std::path::Path;

use super::credential::parse_endpoint;
use super::oauth::lifted;
use super::paths::read_paths;
use super::reader::{Field, Reader, Section};
use super::source::read_source;
use super::{Secrets, beside, keep, secret};
use crate::credential::Source;
use crate::destination::Destination;
use crate::error::{LoadError, Malformed, quoted};
use crate::log_file::{LogSettings, Receiver, ShipTarget};

/// The port of syslog over TLS (RFC 5425 section 4.1).
const SYSLOG_PORT: u16 = 6514;
/// It is part of a file's name.
const LONGEST_NAME: usize = 64;
/// What a request to a collector has anyway.
const TAKEN: [&str; 9] = [
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

pub(crate) fn parse_log(file: &Path, text: &str, secrets: Secrets) -> Result<LogSettings, LoadError> {
    Reader::new(file, text).with(secrets).read(|reader, mut top| {
        let ship = top.take("ship").map(|field| read_ship(reader, &field, file)).unwrap_or_default();
        let segment = top.take("segment").and_then(|field| reader.section(&field));
        let kept = top.take("keep").and_then(|field| reader.section(&field));
        let room = top.take("room").and_then(|field| reader.section(&field));
        reader.nothing_else(top);
        let segment = segment.map(|section| keep::read_segment(reader, section)).unwrap_or_default();
        let keep = kept.map(|section| keep::read_keep(reader, section, &segment)).unwrap_or_default();
        let room = room.map(|section| keep::read_room(reader, section)).unwrap_or_default();
        LogSettings { ship, segment, keep, room }
    })
}

/// `[[ship]]`
fn read_ship(reader: &mut Reader<'_>, field: &Field<'_>, file: &Path) -> Vec<ShipTarget> {
    let mut targets: Vec<ShipTarget> = Vec::new();
    for section in reader.sections(field) {
        let (key, at) = (section.key.clone(), section.at);
        let Some(target) = read_target(reader, section, file) else { continue };
        if targets.iter().any(|other| other.name == target.name) {
            let reason = format!("another receiver is called {}, too", quoted(&target.name));
            reader.mistake(key, at, reason, "give one of them another `name = \"…\"`: how far it got is kept under it");
        } else {
            targets.push(target);
        }
    }
    targets
}

fn read_target(reader: &mut Reader<'_>, mut section: Section<'_>, file: &Path) -> Option<ShipTarget> {
    let kind = match section.take("to") {
        Some(field) => reader.value(&field, parse_kind),
        None => {
            reader.missing(&section, "to", "to = \"otlp\"");
            None
        }
    };
    let name = section.take("name").map(|field| reader.value(&field, parse_name));
    let roots = section.take("roots").map(|field| read_paths(reader, &field));
    let client = section.take("client_certificate").map(|field| secret::client_files(reader, &field));
    let receiver = match kind {
        Some(Kind::Otlp) => read_otlp(reader, &mut section, file),
        Some(Kind::Syslog) => read_syslog(reader, &mut section),
        None => {
            // Whose keys they are is not known.
            ["url", "headers", "address", "silent_end"].into_iter().for_each(|key| drop(section.take(key)));
            None
        }
    };
    reader.nothing_else(section);
    let (place, receiver) = receiver?;
    let name = name.unwrap_or(Some(place))?;
    let roots = roots.unwrap_or(Some(Vec::new()))?;
    let client = lifted(client)?;
    Some(ShipTarget { name, receiver, roots: roots.iter().map(|path| beside(file, path)).collect(), client })
}

/// The receiver, and what it is called where nothing is said.
type Placed = Option<(String, Receiver)>;

fn read_otlp(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Placed {
    let headers = section.take("headers").map(|field| read_headers(reader, &field, file));
    let Some(field) = section.take("url") else {
        reader.missing(section, "url", "url = \"https://collector.example.com:4318\"");
        return None;
    };
    let url = reader.value(&field, parse_url)?;
    let headers = headers.unwrap_or(Some(BTreeMap::new()))?;
    let authority = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    Some((name_of("otlp", authority), Receiver::Otlp { url, headers }))
}

fn read_syslog(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Placed {
    let silent_end = section.take("silent_end").map(|field| reader.flag(&field));
    let Some(field) = section.take("address") else {
        reader.missing(section, "address", "address = \"siem.example.com:6514\"");
        return None;
    };
    let address = reader.value(&field, |text| Destination::parse_authority(text, SYSLOG_PORT))?;
    let silent_end = silent_end.unwrap_or(Some(false))?;
    Some((name_of("syslog", &address.to_string()), Receiver::Syslog { address, silent_end }))
}

/// `{ authorization = { file = "…" } }`
fn read_headers(reader: &mut Reader<'_>, field: &Field<'_>, file: &Path) -> Option<BTreeMap<String, Source>> {
    let mut headers = BTreeMap::new();
    let fields = reader.section(field)?.take_all();
    let count = fields.len();
    for (name, field) in fields {
        let name = reader.kept(&field, parse_header(name));
        let source = read_source(reader, &field, file).filter(|source| {
            let shows_identity = source.audience().is_some();
            if shows_identity {
                let reason = "only the broker can show a Vault server who it is, and it sends no logs";
                reader.mistake_at(&field, reason, "keep this one in another place: `{ file = \"…\" }`, for one");
            }
            !shows_identity
        });
        headers.extend(name.zip(source));
    }
    (headers.len() == count).then_some(headers)
}

#[derive(Clone, Copy)]
enum Kind {
    Otlp,
    Syslog,
}

fn parse_kind(text: &str) -> Result<Kind, Malformed> {
    match text {
        "otlp" => Ok(Kind::Otlp),
        "syslog" => Ok(Kind::Syslog),
        _ => Err(Malformed::new(
            format!("{} is nothing that logs are shipped by", quoted(text)),
            "write `otlp` (OpenTelemetry over HTTP) or `syslog` (RFC 5424 over TLS)",
        )),
    }
}

fn parse_url(text: &str) -> Result<String, Malformed> {
    let url = parse_endpoint(text).map_err(|malformed| {
        let hint = "write `https://collector.example.com:4318`; plain `http` goes to a loopback address only";
        Malformed::new(malformed.to_string(), hint)
    })?;
    let base = url.trim_end_matches('/');
    if base.contains(['?', '@']) || base.ends_with("/v1/logs") || base.ends_with("/v1/traces") {
        return Err(Malformed::new(
            format!("{} is not the URL that signals have in common", quoted(text)),
            "write it without `/v1/logs`, which is added, without a query and without a login",
        ));
    }
    Ok(base.to_owned())
}

/// A field's name (RFC 9110 section 5.1), whose value is sent as it is.
fn parse_header(name: &str) -> Result<String, Malformed> {
    let refused = |why: &str, hint: &str| Err(Malformed::new(format!("{} {why}", quoted(name)), hint));
    let lower = name.to_ascii_lowercase();
    if lower.is_empty() || !lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return refused("is not the name of a header", "write `authorization`, or `x-api-key`");
    }
    if TAKEN.contains(&lower.as_str()) {
        return refused("is set by exeat", "leave it out");
    }
    Ok(lower)
}

/// It names files in the state directory.
fn parse_name(text: &str) -> Result<String, Malformed> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    match text.len() <= LONGEST_NAME && !text.starts_with('.') && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(Malformed::new(
            format!("{} is not a name for a receiver", quoted(text)),
            format!("write at most {LONGEST_NAME} small letters, digits, `-`, `_` and `.`, as in `siem`"),
        )),
    }
}

/// What a receiver is called where its `name` is left out.
fn name_of(kind: &str, place: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    format!("{kind}-{place}").chars().map(fit).take(LONGEST_NAME).collect()
}
