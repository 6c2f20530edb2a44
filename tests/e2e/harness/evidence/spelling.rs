//! How a credential may be written, and where it is.
//!
//! Enters: credentials; bytes. Leaves: which credential is in them, how it is written, and below which heading. Never: a form that
//! exeat's own search for credentials is the judge of: this one is written anew.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::kept::HEADING;

/// What RFC 3986 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// All ways of writing some credentials.
pub struct Sought {
    automaton: AhoCorasick,
    /// Which of the credentials each pattern is of, and how it is written.
    patterns: Vec<(usize, &'static str)>,
    credentials: Vec<String>,
}

impl Sought {
    /// Looks for these.
    pub fn new<'c>(credentials: impl IntoIterator<Item = &'c str>) -> Self {
        let credentials: Vec<String> = credentials.into_iter().map(str::to_owned).collect();
        let (mut texts, mut patterns) = (Vec::new(), Vec::new());
        for (number, credential) in credentials.iter().enumerate() {
            for (how, text) in spellings(credential) {
                texts.push(text);
                patterns.push((number, how));
            }
        }
        let automaton =
            AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(texts).expect("fits into memory");
        Self { automaton, patterns, credentials }
    }

    /// What is in it, a line for each credential that is.
    pub fn found_in(&self, packed: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for at in self.automaton.find_overlapping_iter(packed) {
            let (number, how) = self.patterns[at.pattern().as_usize()];
            let told = format!(
                "{:?}, a real credential, {how}, is in {}",
                self.credentials[number],
                below(packed, at.start())
            );
            if !found.contains(&told) {
                found.push(told);
            }
        }
        found
    }
}

/// The heading that this byte is below.
fn below(packed: &[u8], at: usize) -> String {
    let heading = packed[..at].windows(HEADING.len()).rposition(|window| window == HEADING.as_bytes());
    let name = &packed[heading.map_or(0, |begin| begin + HEADING.len())..];
    String::from_utf8_lossy(name.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned()
}

/// Each with its name. What comes out the same as what came before is left out.
pub fn spellings(credential: &str) -> Vec<(&'static str, String)> {
    let bytes = credential.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let json = serde_json::to_string(credential).expect("a text");
    let json = &json[1..json.len() - 1];
    let percent = utf8_percent_encode(credential, UNRESERVED).to_string();
    let mut all = vec![
        ("as it is", credential.to_owned()),
        ("JSON-escaped", json.to_owned()),
        ("JSON-escaped", json.replace('/', "\\/")),
        ("percent-escaped", lower_escapes(&percent)),
        ("percent-escaped", percent),
        ("percent-escaped", utf8_percent_encode(credential, NON_ALPHANUMERIC).to_string()),
        ("in hexadecimal", hex.to_ascii_uppercase()),
        ("in hexadecimal", hex),
    ];
    for before in 0..3 {
        all.push(("in base64", within(&BASE64_STANDARD_NO_PAD, before, bytes)));
        all.push(("in base64", within(&BASE64_URL_SAFE_NO_PAD, before, bytes)));
    }
    let mut kept: Vec<(&'static str, String)> = Vec::new();
    for (how, text) in all {
        if !kept.iter().any(|(_, known)| *known == text) {
            kept.push((how, text));
        }
    }
    kept
}

/// What base64 makes of it wherever it stands: so many bytes of a group of three before it. The letters that depend on what is around it
/// are left out.
fn within(base64: &impl Engine, before: usize, bytes: &[u8]) -> String {
    let shifted: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
    let text = base64.encode(&shifted);
    // A letter has six bits, of which the first may have some of the byte before, and the last some of the byte behind.
    let (begin, end) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
    text[begin..end].to_owned()
}

fn lower_escapes(text: &str) -> String {
    let mut letters = text.chars();
    let mut lower = String::new();
    while let Some(letter) = letters.next() {
        lower.push(letter);
        if letter == '%' {
            lower.extend(letters.by_ref().take(2).map(|digit| digit.to_ascii_lowercase()));
        }
    }
    lower
}
