//! The issuer `vault` of credentials.toml, and the secrets that `{ vault = … }` names.
//!
//! Enters: the section of a credential, or the table of a secret. Leaves: where, as which role, and what is read. Never: a
//! path that could lead somewhere else than it says.

use std::path::Path;

use super::beside;
use super::credential::{parse_endpoint, parse_visible, required};
use super::oauth::{lifted, parse_audience};
use super::paths::read_paths;
use super::reader::{Reader, Section};
use crate::credential::IssuerSettings;
use crate::error::{Malformed, quoted};
use crate::identity::Audience;
use crate::vault::{VaultLogin, VaultSecret};

/// Where servers mount the method if nothing else is said.
const MOUNT: &str = "jwt";
const ADDRESS: &str = "address = \"https://vault.example.com:8200\"";

/// `issuer = "vault"`
pub(super) fn read_issuer(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IssuerSettings> {
    read(reader, section, file, "read", "read = \"database/creds/readonly\"")
        .map(|secret| IssuerSettings::Vault(Box::new(secret)))
}

/// `{ vault = { … } }`
pub(super) fn read_source(reader: &mut Reader<'_>, mut section: Section<'_>, file: &Path) -> Option<VaultSecret> {
    let secret = read(reader, &mut section, file, "path", "path = \"secret/data/team/api-key\"");
    reader.nothing_else(section);
    secret
}

fn read(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    file: &Path,
    path: &'static str,
    example: &str,
) -> Option<VaultSecret> {
    let login = read_login(reader, section, file);
    let path = required(reader, section, path, example).and_then(|field| reader.value(&field, parse_below));
    let field = section.take("field").map(|field| reader.value(&field, parse_visible));
    Some(VaultSecret { login: login?, path: path?, field: lifted(field)? })
}

fn read_login(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<VaultLogin> {
    let address = required(reader, section, "address", ADDRESS).and_then(|field| reader.value(&field, parse_address));
    let role =
        required(reader, section, "role", "role = \"exeat\"").and_then(|field| reader.value(&field, parse_visible));
    let namespace = section.take("namespace").map(|field| reader.value(&field, parse_below));
    let mount = section.take("mount").map(|field| reader.value(&field, parse_below));
    let name = section.take("identity_audience").map(|field| reader.value(&field, parse_audience));
    let algorithm = section.take("algorithm").map(|field| reader.value(&field, str::parse));
    let roots = section.take("roots").map_or(Some(Vec::new()), |field| read_paths(reader, &field));
    let (name, algorithm, mount) = (lifted(name)?, lifted(algorithm)?, lifted(mount)?);
    let address = address?;
    Some(VaultLogin {
        audience: Audience { name: name.unwrap_or_else(|| address.clone()), algorithm },
        address,
        namespace: lifted(namespace)?,
        mount: mount.unwrap_or_else(|| MOUNT.to_owned()),
        role: role?,
        roots: roots?.iter().map(|path| beside(file, path)).collect(),
    })
}

/// What the API's paths are appended to.
fn parse_address(text: &str) -> Result<String, Malformed> {
    let url = parse_endpoint(text)?;
    match url.contains('?') || url.contains('@') || url.ends_with('/') || url.ends_with("/v1") {
        false => Ok(url),
        true => Err(Malformed::new(
            format!("{} is not the address of a server", quoted(text)),
            "write `https://vault.example.com:8200`: no query, no slash at its end, and without `/v1`",
        )),
    }
}

/// Names between slashes, as they are: what would have to be escaped, or leads elsewhere, is not among them.
fn parse_below(text: &str) -> Result<String, Malformed> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+=:@,".contains(&byte);
    let segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(plain);
    match text.len() <= 512 && text.split('/').all(segment) {
        true => Ok(text.to_owned()),
        false => Err(Malformed::new(
            format!("{} is not a path", quoted(text)),
            "write names between slashes, without one at either end: A-Z, a-z, 0-9 and `-_.~+=:@,`; of KV version 2 the whole \
             path, `secret/data/team/api-key`",
        )),
    }
}
