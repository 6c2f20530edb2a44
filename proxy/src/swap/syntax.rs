//! How the characters of a body are written, as far as a placeholder among them goes.
//!
//! Enters: a body's bytes, one by one. Leaves: its characters, each with the bytes that it came in, once they are whole. Never: a
//! second reading: outside of JSON's strings no character stands for anything, and an escape that is none stands for itself.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memchr_iter;
use zeroize::Zeroizing;

use super::unescape::hex;
use crate::grpc;
use crate::spelling::{json_escaped, percent_encoded};

/// A way to write text in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// RFC 8259.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// Text in which nothing is escaped.
    Plain,
}

impl Syntax {
    /// The syntax that a head announces; `None` for every other, and where it says two things or another character set.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let announced = types.next()?.to_str().ok()?.to_ascii_lowercase();
        if types.next().is_some() {
            return None;
        }
        let mut parts = announced.split(';').map(str::trim);
        let media = parts.next()?;
        let charset =
            parts.filter_map(|parameter| parameter.strip_prefix("charset=")).map(|name| name.trim_matches('"'));
        if !charset.into_iter().all(|name| matches!(name, "utf-8" | "utf8" | "us-ascii")) {
            return None;
        }
        match media {
            "application/x-www-form-urlencoded" => Some(Self::Form),
            "application/json" => Some(Self::Json),
            // The JSON of a message of gRPC or Connect says before it how long it is.
            _ if !matches!(grpc::messages(headers), Ok(None)) => None,
            media if media.starts_with("application/") && media.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }

    /// The syntax of a message that begins so; `None` while it does not.
    pub(super) fn of_text(beginning: &[u8]) -> Option<Self> {
        let first = beginning.iter().find(|byte| !byte.is_ascii_whitespace())?;
        Some(if b"{[\"".contains(first) { Self::Json } else { Self::Plain })
    }

    /// A text as it is written where a placeholder stood.
    pub(super) fn spell(self, text: &str) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Json => json_escaped(text.as_bytes()),
            Self::Form => percent_encoded(text.as_bytes()),
            Self::Plain => Zeroizing::new(text.as_bytes().to_vec()),
        }
    }

    /// A character as it is compared. A form writes a space as `+`; a placeholder may be sent without encoding its own `+`.
    pub(super) fn folded(self, character: u8) -> u8 {
        if self == Self::Form && character == b' ' { b'+' } else { character }
    }
}

/// Reads the characters of one body.
#[derive(Debug)]
pub(super) struct Characters {
    syntax: Syntax,
    /// Within a string of JSON.
    inside: bool,
    /// The beginning of an escape.
    cut: Vec<u8>,
}

impl Characters {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self { syntax, inside: false, cut: Vec::new() }
    }

    /// What may begin an escape.
    pub(super) fn escape(&self) -> Option<u8> {
        match self.syntax {
            Syntax::Json => Some(b'\\'),
            Syntax::Form => Some(b'%'),
            Syntax::Plain => None,
        }
    }

    /// Whether every byte so far belongs to a character that is whole.
    pub(super) fn is_whole(&self) -> bool {
        self.cut.is_empty()
    }

    /// Passes over characters in which there is no escape.
    pub(super) fn skip(&mut self, run: &[u8]) {
        if self.syntax == Syntax::Json {
            self.inside ^= memchr_iter(b'"', run).count() % 2 == 1;
        }
    }

    /// Takes what `rest` begins with: a byte, or a whole escape at once. Says how much that was.
    pub(super) fn take(&mut self, rest: &[u8], each: &mut impl FnMut(Option<u8>, &[u8])) -> usize {
        let whole = match (self.syntax, rest) {
            _ if !self.cut.is_empty() => None,
            (Syntax::Form, [b'%', a, b, ..]) => hex(&[*a, *b]).map(|value| (Some(value), 3)),
            (Syntax::Json, [b'\\', b'u', a, b, c, d, ..]) if self.inside => {
                hex(&[*a, *b, *c, *d]).map(|value| (Some(value), 6))
            }
            (Syntax::Json, [b'\\', c, ..]) if self.inside && *c != b'u' => {
                Some((Some(u32::from(*c)).filter(|_| b"\"\\/".contains(c)), 2))
            }
            _ => None,
        };
        match whole {
            Some((value, length)) => {
                let value = value.and_then(|value| u8::try_from(value).ok());
                each(value.map(|byte| self.syntax.folded(byte)), &rest[..length]);
                length
            }
            None => {
                rest.iter().take(1).for_each(|&byte| self.push(byte, each));
                1
            }
        }
    }

    /// Takes a byte; gives `each` character that is whole with it, as what it stands for and as it came.
    pub(super) fn push(&mut self, byte: u8, each: &mut impl FnMut(Option<u8>, &[u8])) {
        match (self.syntax, &self.cut[..]) {
            (Syntax::Plain, _) => each(Some(byte), &[byte]),
            (Syntax::Form, []) if byte == b'%' => self.cut.push(byte),
            (Syntax::Form, []) => each(Some(self.syntax.folded(byte)), &[byte]),
            (Syntax::Form, _) => {
                self.cut.push(byte);
                self.percent(each);
            }
            (Syntax::Json, []) if self.inside && byte == b'\\' => self.cut.push(byte),
            (Syntax::Json, []) => {
                let stands_for = (self.inside && byte != b'"').then_some(byte);
                self.inside ^= byte == b'"';
                each(stands_for, &[byte]);
            }
            (Syntax::Json, [_]) if byte == b'u' => self.cut.push(byte),
            (Syntax::Json, [_]) => {
                self.cut.clear();
                each(Some(byte).filter(|byte| b"\"\\/".contains(byte)), &[b'\\', byte]);
            }
            (Syntax::Json, _) if byte.is_ascii_hexdigit() => {
                self.cut.push(byte);
                if self.cut.len() == 6 {
                    each(value(&self.cut[2..]).and_then(|value| u8::try_from(value).ok()), &self.cut);
                    self.cut.clear();
                }
            }
            (Syntax::Json, _) => {
                self.finish(each);
                self.push(byte, each);
            }
        }
    }

    /// Gives what was the beginning of an escape and is none.
    pub(super) fn finish(&mut self, each: &mut impl FnMut(Option<u8>, &[u8])) {
        let cut = std::mem::take(&mut self.cut);
        match self.syntax {
            Syntax::Form => cut.iter().for_each(|&byte| each(Some(self.syntax.folded(byte)), &[byte])),
            Syntax::Plain => {}
            Syntax::Json if cut.is_empty() => {}
            Syntax::Json => each(None, &cut),
        }
    }

    /// After another byte of `%XX`.
    fn percent(&mut self, each: &mut impl FnMut(Option<u8>, &[u8])) {
        match (value(&self.cut[1..]), self.cut.len()) {
            (Some(value), 3) => {
                each(u8::try_from(value).ok().map(|byte| self.syntax.folded(byte)), &self.cut);
                self.cut.clear();
            }
            (Some(_), _) => {}
            (None, _) => {
                let cut = std::mem::take(&mut self.cut);
                each(Some(cut[0]), &cut[..1]);
                cut[1..].iter().for_each(|&byte| self.push(byte, each));
            }
        }
    }
}

fn value(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn json_and_forms_are_known_and_what_says_two_things_is_neither() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            Syntax::of(&headers)
        };
        assert_eq!(of(&["application/json"]), Some(Syntax::Json));
        assert_eq!(of(&["Application/Vnd.API+JSON; charset=\"UTF-8\""]), Some(Syntax::Json));
        assert_eq!(of(&["application/x-www-form-urlencoded;charset=utf-8"]), Some(Syntax::Form));
        for other in [
            &[][..],
            &["text/plain"],
            &["multipart/form-data; boundary=x"],
            &["application/json; charset=utf-16"],
            &["application/json", "application/json"],
            &["application/jsonp"],
            &["application/grpc+json"],
            &["application/Grpc-Web+json"],
            &["application/connect+json"],
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }

    fn read(syntax: Syntax, text: &str) -> String {
        let (mut shown, mut came) = (String::new(), Vec::new());
        let mut characters = Characters::new(syntax);
        let mut each = |stands_for: Option<u8>, bytes: &[u8]| {
            shown.push(stands_for.map_or('.', char::from));
            came.extend_from_slice(bytes);
        };
        text.bytes().for_each(|byte| characters.push(byte, &mut each));
        characters.finish(&mut each);
        assert_eq!(came, text.as_bytes());
        shown
    }

    #[test]
    fn characters_are_read_through_their_escapes() {
        assert_eq!(read(Syntax::Form, "a=%62+%2B&c%zz%4"), "a=b++&c%zz%4");
        assert_eq!(read(Syntax::Form, "%%41%4%41"), "%A%4A");
        assert_eq!(read(Syntax::Json, "a\"b\\u0063\\/\\\"\\\\\\n\\u20ac\"d\"e"), "..bc/\"\\.....e");
        assert_eq!(read(Syntax::Json, "\"\\u00\"b"), "....");
    }
}
