//! One spelling of a credential, or all that escapes make of it, and the like spelling of its placeholder.
//!
//! Enters: a credential and its placeholder. Leaves: pairs of texts. Never: a pair so short that it would hit by chance.

use zeroize::Zeroizing;

use super::escape::alike;
use super::pattern::Pattern;
use crate::spelling::{Edge, FULL_ESCAPINGS, alignments, hex_lower, hex_upper, percent_encoded};

/// Six bytes' worth of base64: what is shorter turns up by chance.
const SHORTEST_BASE64: usize = 8;

/// From here on a credential is looked for in what has fewer characters to choose from, or other case, as well: a shorter one is there by chance.
const LONG: usize = 16;

/// Another form of a text.
type Rendering = fn(&[u8]) -> Zeroizing<Vec<u8>>;

/// What else a server makes of a text that it shows: digits of a dump, the units of Windows and Java, a heading.
const RENDERINGS: [Rendering; 6] = [
    hex_lower,
    hex_upper,
    |text| in_utf16(text, u16::to_le_bytes),
    |text| in_utf16(text, u16::to_be_bytes),
    |text| Zeroizing::new(text.to_ascii_lowercase()),
    |text| Zeroizing::new(text.to_ascii_uppercase()),
];

/// What is replaced by what.
pub(super) struct Form {
    text: Zeroizing<Vec<u8>>,
    pattern: Pattern,
    with: String,
    /// In base64, the character before depends on the first byte of either.
    edges: Option<(Edge, Edge)>,
}

/// Adds every spelling of `secret` that is not among `forms` yet.
pub(super) fn add(secret: &[u8], placeholder: &str, forms: &mut Vec<Form>) {
    if secret.is_empty() || secret == placeholder.as_bytes() {
        return;
    }
    push(Pattern::of(secret), secret, placeholder, None, forms);
    for way in &FULL_ESCAPINGS {
        let (text, with) = (way.spell(secret), way.spell(placeholder.as_bytes()));
        push(Pattern::plain(&text), &text, &String::from_utf8_lossy(&with), None, forms);
    }
    if secret.len() >= LONG {
        for way in &RENDERINGS {
            let (text, with) = (way(secret), way(placeholder.as_bytes()));
            push(Pattern::plain(&text), &text, &String::from_utf8_lossy(&with), None, forms);
        }
    }
    // Padded so that what follows it in the same base64 still decodes.
    let mut filled = placeholder.as_bytes().to_vec();
    while filled.len() % 3 != secret.len() % 3 {
        filled.push(b'_');
    }
    for base64 in alignments().filter(|base64| base64.inner(secret).len() >= SHORTEST_BASE64) {
        let edges = base64.edge(secret).zip(base64.edge(placeholder.as_bytes()));
        let pairs = [
            (base64.inner(secret), base64.inner(&filled)),
            (base64.ending(secret), base64.ending(placeholder.as_bytes())),
        ];
        // PHP escapes the slash in JSON, a query the plus.
        for (text, with) in pairs.iter().filter(|(text, _)| *text == pairs[0].0 || text.ends_with(b"=")) {
            push(Pattern::of(text), text, &String::from_utf8_lossy(with), edges, forms);
        }
    }
}

fn push(pattern: Pattern, text: &[u8], with: &str, edges: Option<(Edge, Edge)>, forms: &mut Vec<Form>) {
    // Two alphabets mostly spell alike; an edge may tell them apart all the same.
    if !forms.iter().any(|form| *form.text == text && form.edges == edges) {
        forms.push(Form { text: Zeroizing::new(text.to_vec()), pattern, with: with.to_owned(), edges });
    }
}

/// In UTF-16; text that is none has no such form, and stays as it is.
fn in_utf16(text: &[u8], bytes: fn(u16) -> [u8; 2]) -> Zeroizing<Vec<u8>> {
    let mut spelt = Zeroizing::new(Vec::with_capacity(2 * text.len()));
    match std::str::from_utf8(text) {
        Ok(text) => text.encode_utf16().for_each(|unit| spelt.extend(bytes(unit))),
        Err(_) => spelt.extend_from_slice(text),
    }
    spelt
}

impl Form {
    /// How long the longest spelling at the beginning of `text` is, and what it becomes.
    pub(super) fn found(&self, text: &[u8]) -> Option<(usize, Vec<u8>)> {
        let (length, ways) = self.pattern.find(text).whole?;
        let with = if ways.is_empty() { self.with.clone() } else { alike(&self.with, &ways) };
        Some((length, with.into_bytes()))
    }

    /// What the character before becomes, where it belongs to this form.
    pub(super) fn edge(&self, before: u8) -> Option<u8> {
        self.edges.filter(|(secret, _)| secret.fits(before)).map(|(_, placeholder)| placeholder.put(before))
    }

    /// The beginnings of all its spellings, cut to `length`.
    pub(super) fn heads(&self, length: usize) -> Vec<Vec<u8>> {
        self.pattern.heads(length)
    }

    /// How long it is at most, with the character before.
    pub(super) fn longest(&self) -> usize {
        self.pattern.longest() + 1
    }

    /// Each byte that occurs in it.
    pub(super) fn bytes(&self, mut each: impl FnMut(u8)) {
        self.pattern.bytes(&mut each);
        (0..=u8::MAX).filter(|&byte| self.edge(byte).is_some()).for_each(each);
    }

    /// Each pair of bytes that [`Form::is_begun_by`] takes for a beginning.
    pub(super) fn openings(&self, mut each: impl FnMut(u8, u8)) {
        for head in self.pattern.heads(2) {
            if let [first, second] = head[..] {
                each(first, second);
            }
        }
        let Some((secret, _)) = self.edges else { return };
        for first in self.pattern.heads(1).into_iter().flatten() {
            (0..=u8::MAX).filter(|&before| secret.fits(before)).for_each(|before| each(before, first));
        }
    }

    /// Whether all of `end` is a beginning of this form, and there is more to it.
    pub(super) fn is_begun_by(&self, end: &[u8]) -> bool {
        let begun = |end: &[u8]| self.pattern.find(end).begun;
        match (end, self.edges) {
            (_, _) if begun(end) => true,
            ([before, rest @ ..], Some((secret, _))) => secret.fits(*before) && begun(rest),
            _ => false,
        }
    }

    /// The spellings that the name of a field may have in it.
    pub(super) fn names(&self) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
        let escaped = Some(percent_encoded(&self.text)).filter(|escaped| *escaped != self.text);
        let spellings = std::iter::once(self.text.clone()).chain(escaped);
        spellings.filter(|text| http::HeaderName::from_bytes(text).is_ok())
    }
}
