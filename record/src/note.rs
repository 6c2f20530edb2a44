//! A text with signatures: C2SP signed-note, version 1, with Ed25519 keys.
//!
//! Enters: text that was signed, or a file of notes as anybody may have written it. Leaves: the text, where a key that the reader trusts has
//! signed it. Never: a text of which only an unknown key says something; nor a key that signs.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What stands before the name of a signature line.
const DASH: &str = "\u{2014} ";
/// What a key of Ed25519 begins with.
const ED25519_KEY: u8 = 1;
/// A checkpoint has some 200 bytes; whoever cosigns it adds a line.
pub const LONGEST: usize = 64 * 1024;
/// More signatures than anybody adds.
const MOST_SIGNATURES: usize = 16;

/// A key that verifies notes: `NAME+ID+KEY`, as the specification writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: [u8; 32],
}

/// Not a verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a key of signed notes: `NAME+ID+KEY`, where ID is eight hexadecimal digits that belong to NAME and KEY, and KEY is base64"
)]
pub struct NotAKey;

impl VerifierKey {
    /// The public half of a key with this name.
    ///
    /// # Errors
    /// When no line could have the name.
    pub fn new(name: &str, key: [u8; 32]) -> Result<VerifierKey, NotAKey> {
        let fits = !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control());
        fits.then(|| VerifierKey { name: name.to_owned(), key }).ok_or(NotAKey)
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a signature names it by.
    pub fn id(&self) -> [u8; 4] {
        let mut context = Context::new(&SHA256);
        context.update(self.name.as_bytes());
        context.update(b"\n");
        context.update(&[ED25519_KEY]);
        context.update(&self.key);
        let digest = context.finish();
        // SHA-256 has more.
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// A text with this key's signature.
    pub fn note(&self, text: &str, signature: &[u8]) -> String {
        let signed = STANDARD.encode([&self.id()[..], signature].concat());
        format!("{text}\n{DASH}{} {signed}\n", self.name)
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode([&[ED25519_KEY], &self.key[..]].concat()))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<VerifierKey, NotAKey> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(NotAKey) };
        let key = STANDARD.decode(key).map_err(|_| NotAKey)?;
        let Some((&ED25519_KEY, key)) = key.split_first() else { return Err(NotAKey) };
        let key = VerifierKey::new(name, key.try_into().map_err(|_| NotAKey)?)?;
        // The id is not trusted but made again.
        if key.to_string() == text { Ok(key) } else { Err(NotAKey) }
    }
}

/// Why a note is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// It is no note.
    #[error("not a signed note")]
    Malformed,
    /// No key that the reader trusts has signed it.
    #[error("no key that is trusted here has signed it, but {}", .by.join(", "))]
    Unknown {
        /// The names that its signatures have, which may be anybody's.
        by: Vec<String>,
    },
    /// A signature says it is of a trusted key, and is not.
    #[error("the signature is not `{by}`'s, or is over another text")]
    Forged {
        /// Whose it says it is.
        by: String,
    },
}

/// The text of a note, once one of these keys has signed it, and none that names one of them has not.
///
/// # Errors
/// [`Unsigned`].
pub fn open<'n>(note: &'n str, trusted: &[VerifierKey]) -> Result<(&'n str, VerifierKey), Unsigned> {
    if note.len() > LONGEST || note.bytes().any(|byte| byte < b' ' && byte != b'\n' || byte == 0x7f) {
        return Err(Unsigned::Malformed);
    }
    // A blank line in the text is allowed; one between signatures is not.
    let (text, signatures) = note.rfind("\n\n").map(|at| note.split_at(at + 2)).ok_or(Unsigned::Malformed)?;
    let text = &text[..text.len() - 1];
    let lines: Vec<&str> = signatures.strip_suffix('\n').ok_or(Unsigned::Malformed)?.split('\n').collect();
    if lines.len() > MOST_SIGNATURES {
        return Err(Unsigned::Malformed);
    }
    let (mut by, mut good) = (Vec::new(), None);
    for line in lines {
        let (name, signed) =
            line.strip_prefix(DASH).and_then(|line| line.split_once(' ')).ok_or(Unsigned::Malformed)?;
        let signed = STANDARD.decode(signed).map_err(|_| Unsigned::Malformed)?;
        let (id, signature) = signed.split_first_chunk::<4>().ok_or(Unsigned::Malformed)?;
        let known = trusted.iter().find(|key| key.name == name && key.id() == *id);
        match known {
            Some(key) if key.verifies(text, signature) => good = good.or(Some(key)),
            Some(key) => return Err(Unsigned::Forged { by: key.name.clone() }),
            None => by.push(name.to_owned()),
        }
    }
    good.map(|key| (text, key.clone())).ok_or(Unsigned::Unknown { by })
}

/// The notes of a file to which one after the other was appended, of texts without blank lines. The last may not be whole; it is left out.
pub fn split(file: &str) -> impl Iterator<Item = &str> {
    let mut rest = file;
    std::iter::from_fn(move || {
        let mut end = rest.find("\n\n")? + 2;
        let text = end;
        while rest[end..].starts_with(DASH) {
            end += rest[end..].find('\n')? + 1;
        }
        // Without a signature it is the beginning of one that was being written, if nothing is behind it.
        if end == text && !rest[end..].contains("\n\n") {
            return None;
        }
        let (note, behind) = rest.split_at(end);
        rest = behind;
        Some(note)
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8, name: &str) -> (Ed25519KeyPair, VerifierKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, VerifierKey::new(name, public).unwrap())
    }

    #[test]
    fn the_example_of_gos_implementation_opens_and_nothing_else_does() {
        // golang.org/x/mod/sumdb/note, whose format the specification describes.
        let trusted: VerifierKey =
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let note = format!(
            "{text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        );
        assert_eq!(open(&note, std::slice::from_ref(&trusted)), Ok((text, trusted.clone())));
        let changed = note.replace("answer", "Answer");
        assert_eq!(
            open(&changed, std::slice::from_ref(&trusted)),
            Err(Unsigned::Forged { by: "PeterNeumann".to_owned() })
        );
        let another = key(7, "PeterNeumann").1;
        assert_eq!(open(&note, &[another]), Err(Unsigned::Unknown { by: vec!["PeterNeumann".to_owned()] }));
        assert_eq!(open(&note[..note.len() - 1], &[trusted]), Err(Unsigned::Malformed));
    }

    #[test]
    fn a_key_has_one_spelling_and_an_id_that_belongs_to_it() {
        let (_, key) = key(1, "exeat.example/log");
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        for bad in ["", "a+b", "a+00000000+AQ==", &text.replacen("exeat", "exeas", 1), &format!("{text}\n"), &text[1..]]
        {
            assert_eq!(bad.parse::<VerifierKey>(), Err(NotAKey), "{bad}");
        }
        assert!(VerifierKey::new("a b", [0; 32]).is_err() && VerifierKey::new("a+b", [0; 32]).is_err());
    }

    #[test]
    fn one_of_several_signatures_is_enough_unless_one_is_forged() {
        let ((one, first), (_, second)) = (key(1, "one"), key(2, "two"));
        let note = first.note("text\n", one.sign(b"text\n").as_ref());
        let by_a_stranger = note.clone() + second.note("", &[0; 64]).trim_start();
        assert_eq!(open(&by_a_stranger, std::slice::from_ref(&first)).unwrap().0, "text\n");
        let both = [first, second];
        assert_eq!(open(&by_a_stranger, &both), Err(Unsigned::Forged { by: "two".to_owned() }));
    }

    proptest! {
        #[test]
        fn a_file_of_notes_gives_back_each_of_them(texts in proptest::collection::vec("([a-z0-9/. ]{1,9}\n){1,4}", 0..5), cut in 0usize..100) {
            let (pair, key) = key(3, "k");
            let notes: Vec<String> = texts.iter().map(|text| key.note(text, pair.sign(text.as_bytes()).as_ref())).collect();
            let file = notes.concat();
            prop_assert_eq!(split(&file).collect::<Vec<_>>(), notes.clone());
            for (note, text) in split(&file).zip(&texts) {
                prop_assert_eq!(open(note, std::slice::from_ref(&key)).unwrap().0, text);
            }
            if !notes.is_empty() {
                let file = String::from_utf8_lossy(&file.as_bytes()[..file.len() - 1 - cut]).into_owned();
                prop_assert_eq!(split(&file).collect::<Vec<_>>(), &notes[..notes.len() - 1]);
            }
        }

        #[test]
        fn nothing_that_was_not_signed_opens(note in "([a-z—+= \n]|\n\n— k ){0,40}") {
            prop_assert!(open(&note, &[key(3, "k").1]).is_err());
        }
    }
}
