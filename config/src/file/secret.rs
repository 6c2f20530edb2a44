//! Secrets that stand in files beside an agent's file, and are named in it.
//!
//! Enters: a field that names files. Leaves: what is in them, checked. Never: a secret written in the agent's file itself, or the
//! contents of a file in an error.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::beside;
use super::paths::parse_path;
use super::reader::{Field, Reader};
use crate::client_certificate::{ClientCertificate, Wrong};
use crate::upstream::ProxyLogin;

/// A login is a line; a certificate with its chain and a key are a few KiB each.
const LONGEST: usize = 64 * 1024;

/// A secret: `None` where there is a mistake, `Some(None)` where secrets are left out.
type Secret<T> = Option<Option<T>>;

/// `{ file = … }`, with `user:password` in it.
pub(super) fn login(reader: &mut Reader<'_>, field: &Field<'_>) -> Secret<ProxyLogin> {
    const REMEDY: &str = "write `{ file = \"…\" }`; the file has `user:password` in one line";
    let [field] = named(reader, field, ["file"], REMEDY)?;
    if reader.leaves_secrets_out() {
        return Some(None);
    }
    let (file, bytes) = read(reader, &field)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end_matches(['\r', '\n']);
    let (user, _) = text.split_once(':').unwrap_or_default();
    if user.is_empty() || text.chars().any(char::is_control) {
        reader.mistake_at(&field, format!("`{}` is not a login", file.display()), REMEDY);
        return None;
    }
    Some(Some(ProxyLogin { file, text: Zeroizing::new(text.to_owned()) }))
}

/// `{ certificate = …, key = … }`, each the path of a PEM file.
pub(super) fn client_certificate(reader: &mut Reader<'_>, field: &Field<'_>) -> Secret<ClientCertificate> {
    const REMEDY: &str = "write `{ certificate = \"client.pem\", key = \"client-key.pem\" }`";
    let [certificate_field, key_field] = named(reader, field, ["certificate", "key"], REMEDY)?;
    if reader.leaves_secrets_out() {
        return Some(None);
    }
    let (certificate_file, certificate) = read(reader, &certificate_field)?;
    let (key_file, key) = read(reader, &key_field)?;
    match ClientCertificate::read((certificate_file.clone(), &certificate), (key_file.clone(), &key)) {
        Ok(read) => Some(Some(read)),
        Err(Wrong::Certificate(reason)) => {
            let reason = format!("`{}` is not a certificate: {reason}", certificate_file.display());
            reader.mistake_at(&certificate_field, reason, "it has to be PEM: the certificate first, then its chain");
            None
        }
        Err(Wrong::Key(reason)) => {
            let reason = format!("`{}` does not do: {reason}", key_file.display());
            reader.mistake_at(&key_field, reason, "name the certificate's own key, PEM and not encrypted");
            None
        }
    }
}

/// The fields of a table that has to have all of these and nothing else.
fn named<'f, const N: usize>(
    reader: &mut Reader<'_>,
    field: &Field<'f>,
    names: [&'static str; N],
    remedy: &str,
) -> Option<[Field<'f>; N]> {
    if !field.is_table() {
        reader.mistake_at(field, "a secret is not written in this file, only where it is found", remedy);
        return None;
    }
    let mut section = reader.section(field)?;
    let found = names.map(|name| section.take(name));
    reader.nothing_else(section);
    let missing = names.iter().zip(&found).find(|(_, found)| found.is_none());
    if let Some((name, _)) = missing {
        reader.mistake_at(field, format!("`{name}` is missing"), remedy);
        return None;
    }
    let found: Vec<Field<'f>> = found.into_iter().flatten().collect();
    found.try_into().ok()
}

/// The bytes of a file that a field names, relative to the agent's, and its path.
fn read(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
    let path = beside(reader.file(), Path::new(&reader.value(field, parse_path)?));
    // A buffer that grew would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let read = File::open(&path).and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut bytes));
    let reason = match read {
        Ok(_) if bytes.len() <= LONGEST => return Some((path, bytes)),
        Ok(_) => format!("is larger than {} KiB", LONGEST / 1024),
        Err(error) => format!("cannot be read: {error}"),
    };
    const REMEDY: &str = "check the path and who may read it; a worker that runs has locked itself in, and reads what is new to it only after a restart";
    reader.mistake_at(field, format!("`{}` {reason}", path.display()), REMEDY);
    None
}
