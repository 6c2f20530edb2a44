//! The walk over broker.toml.
//!
//! Enters: text. Leaves: [`IdentitySettings`]. Never: a key written in the file itself, or an algorithm that no key of the
//! operator's could sign.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::beside;
use super::credential::{parse_endpoint, read_source};
use super::oauth::{lifted, parse_audience};
use super::paths::parse_path;
use super::reader::{Field, Reader, Section};
use crate::credential::Source;
use crate::error::{LoadError, Malformed, quoted};
use crate::identity::{IdentityKeys, IdentitySettings, ROTATION, SigningAlgorithm};
use crate::limits::parse_duration;

/// The next key is out long before it signs: for half of this at least.
const SHORTEST_ROTATION: Duration = Duration::from_secs(3600);
/// The next key, the one that signs, and as many old ones.
const MOST_KEYS: usize = 4;

pub(crate) fn parse_identity(file: &Path, text: &str) -> Result<IdentitySettings, LoadError> {
    Reader::new(file, text).read(|reader, mut top| {
        let section = top.take("identity").map(|field| reader.section(&field));
        reader.nothing_else(top);
        match section.flatten() {
            Some(section) => read_identity(reader, section, file).unwrap_or_default(),
            None => IdentitySettings::default(),
        }
    })
}

fn read_identity(reader: &mut Reader<'_>, mut section: Section<'_>, file: &Path) -> Option<IdentitySettings> {
    let unsaid = IdentitySettings::default();
    let issuer = lifted(section.take("issuer").map(|field| reader.value(&field, parse_issuer)));
    let trust_domain = lifted(section.take("trust_domain").map(|field| reader.value(&field, str::parse)));
    let algorithm = lifted(section.take("algorithm").map(|field| reader.value(&field, str::parse)));
    let audiences = section.take("audiences").map_or(Some(BTreeMap::new()), |field| read_audiences(reader, &field));
    let keys = read_keys(reader, &mut section, file);
    let settings = IdentitySettings {
        issuer: issuer?.unwrap_or(unsaid.issuer),
        trust_domain: trust_domain?.unwrap_or(unsaid.trust_domain),
        algorithm: algorithm?.unwrap_or_default(),
        audiences: audiences?,
        keys: keys?,
    };
    if let Some(algorithm) = settings.algorithms().into_iter().find(|one| !settings.keys.sign(*one)) {
        let name = algorithm.to_string().to_lowercase();
        let reason = format!("{algorithm} is to sign, and there is no key of yours for it");
        let remedy = format!("add `{name} = [{{ file = \"secrets/{name}.pem\" }}]`, or name the other algorithm");
        reader.mistake(section.key.clone(), section.at, reason, remedy);
    }
    reader.nothing_else(section);
    Some(settings)
}

/// `"https://api.example.com" = "RS256"`
fn read_audiences(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<BTreeMap<String, SigningAlgorithm>> {
    let mut audiences = BTreeMap::new();
    for (name, field) in reader.section(field)?.take_all() {
        let name = reader.kept(&field, parse_audience(name));
        let algorithm = reader.value(&field, str::parse);
        audiences.extend(name.zip(algorithm));
    }
    Some(audiences)
}

fn read_keys(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IdentityKeys> {
    let (keys, rotate) = (section.take("keys"), section.take("rotate"));
    let given = [("es256", section.take("es256")), ("rs256", section.take("rs256"))];
    let first_given = given.iter().find_map(|(name, field)| Some((*name, field.as_ref()?)));
    if let (Some((name, field)), Some(other)) = (first_given, keys.as_ref().or(rotate.as_ref())) {
        let reason = format!("`{name}` has keys of your own, which the broker neither makes nor rotates");
        reader.mistake_at(other, reason, format!("leave it out, or leave `{}` out", field.key));
        return None;
    }
    if first_given.is_some() {
        let [es256, rs256] =
            given.map(|(_, field)| field.map_or(Some(Vec::new()), |field| read_given(reader, &field, file)));
        return Some(IdentityKeys::Given { es256: es256?, rs256: rs256? });
    }
    let path = lifted(keys.map(|field| reader.value(&field, parse_path)));
    let rotate = lifted(rotate.map(|field| reader.value(&field, parse_rotation)))?.unwrap_or(ROTATION);
    Some(match path? {
        Some(path) => IdentityKeys::File { path: beside(file, Path::new(&path)), rotate },
        None => IdentityKeys::Unsaid { rotate },
    })
}

/// `[{ file = "new.pem" }, { file = "old.pem" }]`
fn read_given(reader: &mut Reader<'_>, field: &Field<'_>, file: &Path) -> Option<Vec<Source>> {
    let elements = reader.list(field, "[{ file = \"secrets/key.pem\" }]")?;
    if !(1..=MOST_KEYS).contains(&elements.len()) {
        let reason = format!("{} keys are listed", elements.len());
        let remedy =
            format!("list 1 to {MOST_KEYS}: the one that signs first, then those that are published beside it");
        reader.mistake_at(field, reason, remedy);
        return None;
    }
    let read: Vec<_> = elements.iter().map(|element| read_key(reader, element, file)).collect();
    read.into_iter().collect()
}

/// A key of the broker's cannot be where the broker would have to show who it is.
fn read_key(reader: &mut Reader<'_>, field: &Field<'_>, file: &Path) -> Option<Source> {
    let source = read_source(reader, field, file)?;
    if source.audience().is_some() {
        let reason = "the key that signs who the broker is would be needed to read it there";
        reader.mistake_at(field, reason, "keep this one in another place: `{ file = \"…\" }`, for one");
        return None;
    }
    Some(source)
}

/// OpenID Connect Discovery §3: `https`, no query, no fragment. What is appended begins with a slash.
fn parse_issuer(text: &str) -> Result<String, Malformed> {
    let url = parse_endpoint(text)?;
    match url.starts_with("https://") && !url.contains('?') && !url.ends_with('/') && !url.contains('@') {
        true => Ok(url),
        false => Err(Malformed::new(
            format!("{} is not the URL of an issuer", quoted(text)),
            "write `https://broker.example.com:8443`: no query, and no slash at its end",
        )),
    }
}

fn parse_rotation(text: &str) -> Result<Duration, Malformed> {
    let rotate = parse_duration(text)?;
    match rotate >= SHORTEST_ROTATION {
        true => Ok(rotate),
        false => Err(Malformed::new(
            format!("{} is too short: verifiers keep keys for a while before they look again", quoted(text)),
            "write `1h` or more: `30d`",
        )),
    }
}
