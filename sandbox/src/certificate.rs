//! As much of an X.509 certificate as a directory of trusted ones needs: its bytes and the hash of its subject.
//!
//! For: `trust` and `keystore`. In: PEM. Out: DER, and the number OpenSSL looks a certificate up by. Never: a judgement about
//! the certificate. What cannot be read is skipped; the bundle still has it, as it was.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, engine::general_purpose::STANDARD};

/// One certificate, DER.
pub(crate) struct Certificate(Vec<u8>);

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// Every certificate of a PEM text.
pub(crate) fn from_pem(text: &[u8]) -> Vec<Certificate> {
    let mut found = Vec::new();
    each_in_pem(text, |body| found.extend(STANDARD.decode(body).ok().map(Certificate)));
    found
}

/// Appends the DER of every certificate of a PEM text, with `before` each what the caller writes there, who is told `after` each where it begins. One that
/// cannot be read leaves nothing.
pub(crate) fn append_each(
    text: &[u8],
    to: &mut Vec<u8>,
    before: impl Fn(&mut Vec<u8>),
    mut after: impl FnMut(&mut Vec<u8>, usize),
) {
    each_in_pem(text, |body| {
        let was = to.len();
        before(to);
        let begin = to.len();
        match STANDARD.decode_vec(body, to) {
            Ok(()) => after(to, begin),
            Err(_) => to.truncate(was),
        }
    });
}

/// Calls for the base64 of each certificate, its lines joined.
fn each_in_pem(text: &[u8], mut found: impl FnMut(&[u8])) {
    let (mut body, mut within) = (Vec::with_capacity(4096), false);
    for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        if line == BEGIN {
            body.clear();
            within = true;
        } else if within && line == END {
            found(&body);
            within = false;
        } else if within {
            body.extend_from_slice(line);
        }
    }
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const UTF8: u8 = 0x0c;
impl Certificate {
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// `X509_NAME_hash`: SHA-1 over the canonical subject, its first four bytes read little-endian.
    pub fn subject_hash(&self) -> Option<u32> {
        let canonical = canonical_name(self.subject()?)?;
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &canonical);
        Some(u32::from_le_bytes(hash.as_ref().get(..4)?.try_into().ok()?))
    }

    /// What a store looks it up by.
    pub fn names(&self) -> Option<Names> {
        let fields = self.fields()?;
        let [serial, issuer, subject] = [0, 2, 4].map(|place| encode(fields[place].0, fields[place].1));
        Some(Names { serial, issuer, subject })
    }

    /// The content of the subject.
    fn subject(&self) -> Option<&[u8]> {
        match self.fields()?[4] {
            (SEQUENCE, subject) => Some(subject),
            _ => None,
        }
    }

    /// RFC 5280 TBSCertificate, after the version: serial number, algorithm, issuer, validity, subject.
    fn fields(&self) -> Option<[(u8, &[u8]); 5]> {
        let (_, certificate, _) = element(&self.0)?;
        let (_, body, _) = element(certificate)?;
        let (first, _, after_version) = element(body)?;
        let mut rest = if first == VERSION { after_version } else { body };
        let mut fields = [(0, &[][..]); 5];
        for field in &mut fields {
            let (tag, content, after) = element(rest)?;
            (*field, rest) = ((tag, content), after);
        }
        Some(fields)
    }
}

/// Who certified whom, under which number: each in DER.
pub(crate) struct Names {
    pub serial: Vec<u8>,
    pub issuer: Vec<u8>,
    pub subject: Vec<u8>,
}

/// One DER element: tag, content, what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|&&byte| byte == 0).count()..];
    let mut bytes = vec![tag];
    if content.len() < 0x80 {
        bytes.push(content.len().to_le_bytes()[0]);
    } else {
        bytes.push(0x80 | digits.len().to_le_bytes()[0]);
        bytes.extend(digits);
    }
    bytes.extend(content);
    bytes
}

/// The name as OpenSSL compares it: no outer sequence; strings in UTF-8, lower case, white space trimmed and single.
fn canonical_name(mut name: &[u8]) -> Option<Vec<u8>> {
    let mut canonical = Vec::new();
    while !name.is_empty() {
        let (SET, mut set, after) = element(name)? else { return None };
        name = after;
        let mut content = Vec::new();
        while !set.is_empty() {
            let (SEQUENCE, pair, after) = element(set)? else { return None };
            set = after;
            let (kind, oid, value) = element(pair)?;
            let (tag, text, _) = element(value)?;
            let value = match text_of(tag, text) {
                Some(text) => {
                    let words: Vec<String> = text.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
                    encode(UTF8, words.join(" ").as_bytes())
                }
                None => encode(tag, text),
            };
            content.extend(encode(SEQUENCE, &[encode(kind, oid), value].concat()));
        }
        canonical.extend(encode(SET, &content));
    }
    Some(canonical)
}

/// A string type's text. What OpenSSL takes for no text, or is none, is compared as the bytes it is.
fn text_of(tag: u8, bytes: &[u8]) -> Option<String> {
    match tag {
        0x13 | 0x16 | 0x1a | UTF8 => String::from_utf8(bytes.to_vec()).ok(), // printable, IA5, visible
        0x14 => Some(bytes.iter().copied().map(char::from).collect()),       // T61, read as Latin-1
        0x1e => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])); // BMP
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// The machine's own directory says what each hash must be: `<hash>.<n>` links to the certificate.
    #[test]
    fn subject_hashes_are_those_of_the_machines_own_links() {
        let directory = Path::new("/etc/ssl/certs");
        let mut checked = 0;
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let Some((hash, _)) = name.split_once('.').filter(|(hash, n)| hash.len() == 8 && n.len() == 1) else {
                continue;
            };
            let certificates = from_pem(&fs::read(entry.path()).unwrap());
            assert_eq!(format!("{:08x}", certificates[0].subject_hash().unwrap()), hash);
            checked += 1;
        }
        assert!(checked > 50, "only {checked} links: install ca-certificates");
    }

    #[test]
    fn a_certificate_cut_anywhere_has_no_hash_and_does_no_harm() {
        let whole = fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap();
        let first = from_pem(&whole).swap_remove(0).0;
        for cut in 0..first.len() {
            let cut = Certificate(first[..cut].to_vec());
            assert!(cut.subject_hash().is_none() && cut.names().is_none());
        }
    }
}
