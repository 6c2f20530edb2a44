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
use crate::log_file::ClientFiles;
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
    let fields = certificate_and_key(reader, field)?;
    match reader.leaves_secrets_out() {
        true => Some(None),
        false => read_client_certificate(reader, &fields).map(Some),
    }
}

/// The same, with the two files' paths, which are known also where secrets are left out.
pub(super) fn client_files(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<ClientFiles> {
    let fields = certificate_and_key(reader, field)?;
    let [certificate, key] = fields.each_ref().map(|field| path(reader, field));
    let (certificate, key) = (certificate?, key?);
    let read = match reader.leaves_secrets_out() {
        true => None,
        false => Some(read_client_certificate(reader, &fields)?),
    };
    Some(ClientFiles { certificate, key, read })
}

fn certificate_and_key<'f>(reader: &mut Reader<'_>, field: &Field<'f>) -> Option<[Field<'f>; 2]> {
    named(reader, field, ["certificate", "key"], "write `{ certificate = \"client.pem\", key = \"client-key.pem\" }`")
}

fn read_client_certificate(
    reader: &mut Reader<'_>,
    [certificate_field, key_field]: &[Field<'_>; 2],
) -> Option<ClientCertificate> {
    let (certificate_file, certificate) = read(reader, certificate_field)?;
    let (key_file, key) = read(reader, key_field)?;
    match ClientCertificate::read((certificate_file.clone(), &certificate), (key_file.clone(), &key)) {
        Ok(read) => Some(read),
        Err(Wrong::Certificate(reason)) => {
            let reason = format!("`{}` is not a certificate: {reason}", certificate_file.display());
            reader.mistake_at(certificate_field, reason, "it has to be PEM: the certificate first, then its chain");
            None
        }
        Err(Wrong::Key(reason)) => {
            let reason = format!("`{}` does not do: {reason}", key_file.display());
            reader.mistake_at(key_field, reason, "name the certificate's own key, PEM and not encrypted");
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

/// The path that a field names, relative to the file that it stands in.
fn path(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<PathBuf> {
    let path = reader.value(field, parse_path)?;
    Some(beside(reader.file(), Path::new(&path)))
}

/// The bytes of a file that a field names, and its path.
fn read(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
    let path = path(reader, field)?;
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
