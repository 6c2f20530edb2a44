//! How one text is spelt on its way through HTTP: as it is, percent-encoded, escaped in JSON or HTML, in hexadecimal digits, or inside base64.
//!
//! Enters: a credential or a placeholder. Leaves: its spellings. Never: a search; `swap` and `scrub` do that.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Some bytes are escaped, in one way; the others stay.
pub(crate) struct Escaping {
    escapes: fn(u8) -> bool,
    write: fn(u8, &mut Vec<u8>),
}

impl Escaping {
    /// The text in this spelling.
    pub(crate) fn spell(&self, text: &[u8]) -> Zeroizing<Vec<u8>> {
        // Room for the longest escape of every byte: a buffer that grew would leave a copy behind.
        let mut spelt = Zeroizing::new(Vec::with_capacity(text.len() * 6));
        for &byte in text {
            if (self.escapes)(byte) { (self.write)(byte, &mut spelt) } else { spelt.push(byte) }
        }
        spelt
    }
}

/// For a query or a form.
const PERCENT: Escaping = Escaping { escapes: reserved, write: percent };
/// JSON: what must be.
const JSON: Escaping = Escaping { escapes: quoted, write: json };

/// Those that escape every byte, needed or not.
pub(crate) const FULL_ESCAPINGS: [Escaping; 4] = [
    Escaping { escapes: |_| true, write: percent },
    Escaping { escapes: |_| true, write: percent_lower },
    Escaping { escapes: |b| b.is_ascii(), write: |b, out| hex(b"\\u00", LOWER, b, out) },
    Escaping { escapes: |b| b.is_ascii(), write: json_upper },
];

const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const LOWER: &[u8; 16] = b"0123456789abcdef";

/// Not unreserved in the sense of RFC 3986 section 2.3.
fn reserved(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte)
}

/// Escaped in every JSON string (RFC 8259 section 7).
fn quoted(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn hex(lead: &[u8], digits: &[u8; 16], byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(lead);
    out.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
}

fn percent(byte: u8, out: &mut Vec<u8>) {
    hex(b"%", UPPER, byte, out);
}

fn percent_lower(byte: u8, out: &mut Vec<u8>) {
    hex(b"%", LOWER, byte, out);
}

fn json(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' | b'/' => out.extend([b'\\', byte]),
        _ => hex(b"\\u00", LOWER, byte, out),
    }
}

fn json_upper(byte: u8, out: &mut Vec<u8>) {
    hex(b"\\u00", UPPER, byte, out);
}

/// Every byte as two digits.
pub(crate) fn hex_lower(text: &[u8]) -> Zeroizing<Vec<u8>> {
    Escaping { escapes: |_| true, write: |byte, out| hex(b"", LOWER, byte, out) }.spell(text)
}

/// The same in capitals.
pub(crate) fn hex_upper(text: &[u8]) -> Zeroizing<Vec<u8>> {
    Escaping { escapes: |_| true, write: |byte, out| hex(b"", UPPER, byte, out) }.spell(text)
}

/// For a query or a form: everything but unreserved characters is escaped.
pub(crate) fn percent_encoded(text: &[u8]) -> Zeroizing<Vec<u8>> {
    PERCENT.spell(text)
}

/// For a string of JSON: what must be escaped is.
pub(crate) fn json_escaped(text: &[u8]) -> Zeroizing<Vec<u8>> {
    JSON.spell(text)
}

/// The two alphabets of RFC 4648, and the three ways in which a text can lie in base64's groups of three bytes.
pub(crate) fn alignments() -> impl Iterator<Item = Alignment> {
    [false, true].into_iter().flat_map(|url_safe| (0..3).map(move |lead| Alignment { url_safe, lead }))
}

/// How a text lies in base64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alignment {
    url_safe: bool,
    /// Bytes before the text in its first group of three.
    lead: usize,
}

impl Alignment {
    /// The characters that depend on the text alone, whatever stands before and after it.
    pub(crate) fn inner(self, text: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut spelt = self.encoded(text, false);
        spelt.truncate((self.lead + text.len()) * 8 / 6 - self.first());
        spelt
    }

    /// The same up to the padding, where the base64 ends with the text.
    pub(crate) fn ending(self, text: &[u8]) -> Zeroizing<Vec<u8>> {
        self.encoded(text, true)
    }

    /// The character before [`Alignment::inner`], which depends on the byte before the text as well.
    pub(crate) fn edge(self, text: &[u8]) -> Option<Edge> {
        let first = *text.first()?;
        match self.lead {
            0 => None,
            1 => Some(Edge { url_safe: self.url_safe, mask: 0x0f, bits: first >> 4 }),
            _ => Some(Edge { url_safe: self.url_safe, mask: 0x03, bits: first >> 6 }),
        }
    }

    fn first(self) -> usize {
        (self.lead * 8).div_ceil(6)
    }

    fn encoded(self, text: &[u8], padded: bool) -> Zeroizing<Vec<u8>> {
        let engine = match (self.url_safe, padded) {
            (false, false) => &STANDARD_NO_PAD,
            (false, true) => &STANDARD,
            (true, false) => &URL_SAFE_NO_PAD,
            (true, true) => &URL_SAFE,
        };
        let mut bytes = Zeroizing::new(vec![0; self.lead + text.len()]);
        bytes[self.lead..].copy_from_slice(text);
        let mut spelt = Zeroizing::new(engine.encode(bytes).into_bytes());
        spelt.drain(..self.first());
        spelt
    }
}

/// A base64 character whose low bits come from the first byte of a text, and its high bits from the byte before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    url_safe: bool,
    mask: u8,
    bits: u8,
}

impl Edge {
    /// Whether `character` can stand there.
    pub(crate) fn fits(self, character: u8) -> bool {
        sextet(character, self.url_safe).is_some_and(|value| value & self.mask == self.bits)
    }

    /// `character` with this text's bits in place of its own.
    pub(crate) fn put(self, character: u8) -> u8 {
        sextet(character, self.url_safe)
            .map_or(character, |value| letter(value & !self.mask | self.bits, self.url_safe))
    }
}

fn sextet(character: u8, url_safe: bool) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        _ => (62..64).find(|&value| letter(value, url_safe) == character),
    }
}

fn letter(value: u8, url_safe: bool) -> u8 {
    match value {
        0..26 => b'A' + value,
        26..52 => b'a' + value - 26,
        52..62 => b'0' + value - 52,
        62 if url_safe => b'-',
        62 => b'+',
        _ if url_safe => b'_',
        _ => b'/',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_any_text_around_it_contains_the_inner_spelling_after_a_fitting_edge() {
        let text = b"s3cr+t/>>?\xff";
        for alignment in alignments() {
            for before in (0..9).filter(|before| before % 3 == alignment.lead) {
                for after in 0..4 {
                    let whole = [&vec![0xd7; before][..], text, &vec![0xa9; after]].concat();
                    let engine = if alignment.url_safe { &URL_SAFE } else { &STANDARD };
                    let encoded = engine.encode(whole).into_bytes();
                    let inner = alignment.inner(text);
                    let at = encoded.windows(inner.len()).position(|window| window == &inner[..]).unwrap();
                    if let Some(edge) = alignment.edge(text) {
                        assert!(edge.fits(encoded[at - 1]));
                        assert_eq!(edge.put(encoded[at - 1]), encoded[at - 1]);
                    }
                    assert!(after > 0 || encoded.ends_with(&alignment.ending(text)));
                }
            }
        }
    }

    #[test]
    fn what_must_be_is_escaped() {
        assert_eq!([PERCENT, JSON].map(|way| way.spell(b"ghs_aZ09-.").to_vec()), [b"ghs_aZ09-.", b"ghs_aZ09-."]);
        assert_eq!(*percent_encoded(b"a+b/c d~"), b"a%2Bb%2Fc%20d~");
        assert_eq!(*json_escaped("\"a\\b/c\n\u{7f}é".as_bytes()), *"\\\"a\\\\b/c\\u000a\u{7f}é".as_bytes());
    }
}
