//! A request's path in its one normal form.
//!
//! Enters: the raw path, without the query. Leaves: the normal form, which is what goes upstream, and beside it the
//! decoded form, which is what rules are matched on. Never: a path that two servers could read differently; it is
//! refused. The one exception is an escaped slash within a segment (`/@scope%2Fname`): it is kept as it is, and goes out
//! only by a rule that says `encoded_slash = true`.

use std::fmt;
use std::sync::Arc;

/// Longer than any path seen in practice; keeps matching cheap whatever a client sends.
const MAX_PATH: usize = 16 * 1024;

/// A path that every server reads alike: absolute, without dot segments, each character in one spelling. Shared, as permits and records
/// repeat it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NormalPath {
    normal: Arc<str>,
    /// `None` where nothing in it is escaped.
    decoded: Option<Arc<str>>,
    /// Whether servers may still differ in what they do with it.
    ambiguous: bool,
}

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It does not start with a slash.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// It is longer than 16 KiB.
    #[error("the path is longer than 16 KiB")]
    TooLong,
    /// A `%` without two hexadecimal digits.
    #[error("the path has a `%` that is not followed by two hexadecimal digits")]
    BadEscape,
    /// A backslash, raw or escaped.
    #[error("the path has a backslash, which servers read in different ways")]
    Separator,
    /// An escaped slash with nothing, or with a dot segment, on one side of it.
    #[error(
        "the path has an escaped slash (`%2F`) beside an empty or dot segment, which servers read in different ways"
    )]
    SlashEdge,
    /// A control character, raw or escaped.
    #[error("the path has a control character")]
    Control,
    /// A raw `?`, `#` or space.
    #[error("the path has a raw `?`, `#` or space")]
    Delimiter,
    /// Escapes that do not decode to UTF-8.
    #[error("the path's escapes do not decode to UTF-8")]
    NotUtf8,
    /// An escape inside an escape.
    #[error("the path is escaped twice, which servers read in different ways")]
    DoubleEscape,
    /// Two slashes in a row, or nothing but parameters between two.
    #[error("the path has an empty segment (`//`), which servers read in different ways")]
    EmptySegment,
    /// More `..` than segments before it.
    #[error("the path climbs above its root")]
    AboveRoot,
    /// `..;` or `.;`: a dot segment for some, a plain one for others.
    #[error("the path has a dot segment with parameters, which servers read in different ways")]
    DotParameters,
}

impl NormalPath {
    /// Normalises a raw path. What it returns, parsed again, is itself.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if raw.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        if is_normal(raw) {
            return Ok(Self { normal: raw.into(), decoded: None, ambiguous: false });
        }
        let normal = without_dot_segments(&respelled(raw)?)?;
        if normal.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        let decoded = decoded(&normal)?;
        let ambiguous = decoded.contains([';', '%', ENCODED_SLASH]);
        let decoded = (decoded != normal).then(|| decoded.into());
        Ok(Self { normal: normal.into(), decoded, ambiguous })
    }

    /// The normal form: what is logged and sent.
    pub fn as_str(&self) -> &str {
        &self.normal
    }

    /// Every escape decoded: what rules are matched on, so that `/@me` and `/%40me` are judged alike. An escaped slash is
    /// [`ENCODED_SLASH`], so its slashes are the path's own.
    pub(crate) fn decoded(&self) -> &str {
        self.decoded.as_ref().unwrap_or(&self.normal)
    }

    /// Whether it has parameters, a percent sign that is left after decoding, or an escaped slash.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// Whether a segment has an escaped slash in it.
    pub fn has_encoded_slash(&self) -> bool {
        self.ambiguous && self.decoded().contains(ENCODED_SLASH)
    }

    /// The decoded form as a server sees it that takes `%2F` for a separator; `None` where there is none.
    pub(crate) fn with_slashes_decoded(&self) -> Option<String> {
        self.has_encoded_slash().then(|| self.decoded().replace(ENCODED_SLASH, "/"))
    }
}

/// What stands for an escaped slash in a decoded path, which has no control character of its own.
const ENCODED_SLASH: char = '\0';

/// Whether a path is plainly in normal form already, with nothing escaped and nothing that could be read in two ways: nearly every one is.
fn is_normal(raw: &str) -> bool {
    let mut before = b'/';
    let plain = raw.bytes().skip(1).all(|byte| {
        let fits = match byte {
            b'/' | b'.' => before != b'/',
            byte => byte.is_ascii_alphanumeric() || b"-_~!$&'()*+,=:@".contains(&byte),
        };
        before = byte;
        fits
    });
    raw.starts_with('/') && plain
}

/// Each byte in its one spelling: unreserved characters plain, other escapes in capitals, everything that RFC 3986
/// keeps out of a path escaped.
fn respelled(raw: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'\\' => return Err(PathError::Separator),
            b'?' | b'#' | b' ' => return Err(PathError::Delimiter),
            b'%' => {
                let byte = escaped_byte(tail).ok_or(PathError::BadEscape)?;
                rest = &tail[2..];
                match byte {
                    b'\\' => return Err(PathError::Separator),
                    byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
                    byte => escape(byte, &mut out),
                }
            }
            byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte) => out.push(char::from(*byte)),
            byte => escape(*byte, &mut out),
        }
    }
    Ok(out)
}

fn escaped_byte(digits: &[u8]) -> Option<u8> {
    let digit = |i: usize| digits.get(i).and_then(|&b| char::from(b).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Resolves `.` and `..` (RFC 3986 §5.2.4), refusing where that section would quietly repair.
fn without_dot_segments(path: &str) -> Result<String, PathError> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" if !last => return Err(PathError::EmptySegment),
            "." => {}
            ".." => {
                kept.pop().ok_or(PathError::AboveRoot)?;
            }
            segment if has_parameters_only(segment) => return Err(PathError::EmptySegment),
            segment if has_dot_parameters(segment) => return Err(PathError::DotParameters),
            segment if has_slash_edge(segment) => return Err(PathError::SlashEdge),
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    Ok(format!("/{}", kept.join("/")))
}

/// `;x`: empty for a server that takes parameters off.
fn has_parameters_only(segment: &str) -> bool {
    segment.starts_with(';') || segment.starts_with("%3B")
}

fn has_dot_parameters(segment: &str) -> bool {
    let rest = segment.strip_prefix("..").or_else(|| segment.strip_prefix('.'));
    rest.is_some_and(has_parameters_only)
}

/// `a%2F..` and the like: with `%2F` read as a separator, a path that is not in normal form.
fn has_slash_edge(segment: &str) -> bool {
    let odd = |piece: &str| matches!(piece, "" | "." | "..") || has_parameters_only(piece) || has_dot_parameters(piece);
    segment.contains("%2F") && segment.split("%2F").any(odd)
}

/// Every escape decoded; refuses what would be read differently by a server that decodes twice or decodes leniently.
fn decoded(normal: &str) -> Result<String, PathError> {
    let bytes = percent_encoding::percent_decode_str(normal).collect::<Vec<u8>>();
    let decoded = String::from_utf8(bytes).map_err(|_| PathError::NotUtf8)?;
    if decoded.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    // After one decoding, an escape that is still there was escaped twice. Harmless ones (`100%25ab`, read as `100%ab`)
    // stay, as text may hold a percent sign.
    for (at, _) in decoded.match_indices('%') {
        if let Some(byte) = escaped_byte(&decoded.as_bytes()[at + 1..])
            && (b"/\\.%".contains(&byte) || byte.is_ascii_control())
        {
            return Err(PathError::DoubleEscape);
        }
    }
    Ok(decoded_keeping_slashes(normal))
}

/// The text with every escape decoded, but an escaped slash as [`ENCODED_SLASH`].
pub(crate) fn decoded_keeping_slashes(text: &str) -> String {
    let decoded = |piece| percent_encoding::percent_decode_str(piece).decode_utf8_lossy();
    text.split("%2F").map(decoded).collect::<Vec<_>>().join(ENCODED_SLASH.encode_utf8(&mut [0; 4]))
}

impl fmt::Display for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normal)
    }
}

impl fmt::Debug for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_path_has_one_form() {
        for (raw, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/./b/../c/", "/a/c/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/%61%7e%2d", "/a~-"),
            ("/a%3ab%c3%bc", "/a%3Ab%C3%BC"),
            ("/ü", "/%C3%BC"),
            ("/{x}|\"^`", "/%7Bx%7D%7C%22%5E%60"),
            ("/a;v=1/@b:c", "/a;v=1/@b:c"),
            ("/...", "/..."),
            ("/100%25ab", "/100%25ab"),
            ("/100%25", "/100%25"),
            ("/@scope%2fname", "/@scope%2Fname"),
        ] {
            assert_eq!(NormalPath::parse(raw).unwrap().as_str(), normal, "{raw}");
        }
        assert_eq!(NormalPath::parse("/%40me/100%25").unwrap().decoded(), "/@me/100%");
    }

    proptest! {
        #[test]
        fn what_is_taken_as_it_stands_is_what_the_long_way_finds(raw in "/?[a/.;%2~é\\\\ ]{0,10}|(/[a.:@]{1,3}){0,4}/?") {
            let normal = respelled(&raw).and_then(|raw| without_dot_segments(&raw));
            let long = normal.and_then(|normal| Ok((decoded(&normal)?, normal)));
            let short = NormalPath::parse(&raw).map(|path| (path.decoded().to_owned(), path.as_str().to_owned()));
            prop_assert_eq!(short, long, "{}", raw);
        }
    }

    #[test]
    fn nearly_every_path_is_taken_as_it_stands() {
        assert!(is_normal("/") && is_normal("/a.b/c/") && is_normal("/repos/acme:x/@me"));
        assert!(["", "a/b", "/a//b", "/a/.b", "/a;b", "/%61", "/é"].into_iter().all(|raw| !is_normal(raw)));
    }

    #[test]
    fn more_than_one_reading_is_refused() {
        use PathError::*;
        for (raw, error) in [
            ("", NotAbsolute),
            ("a", NotAbsolute),
            ("*", NotAbsolute),
            ("http://a/", NotAbsolute),
            ("/a//b", EmptySegment),
            ("//", EmptySegment),
            ("/a/.//b", EmptySegment),
            ("/a/;x/b", EmptySegment),
            ("/a/%3bx", EmptySegment),
            ("/..", AboveRoot),
            ("/a/../../b", AboveRoot),
            ("/%2e%2e/b", AboveRoot),
            ("/a%2f", SlashEdge),
            ("/%2Fb", SlashEdge),
            ("/a%2F%2fb", SlashEdge),
            ("/a%2F../b", SlashEdge),
            ("/a%2f%2e%2E%2fb", SlashEdge),
            ("/a%2f.", SlashEdge),
            ("/a%2f..;x", SlashEdge),
            ("/a%2f;x", SlashEdge),
            ("/a\\b", Separator),
            ("/a%5cb", Separator),
            ("/a%00", Control),
            ("/a%0d%0a", Control),
            ("/a\nb", Control),
            ("/a\u{7f}", Control),
            ("/a%C2%85", Control),
            ("/a%", BadEscape),
            ("/a%2", BadEscape),
            ("/a%zz", BadEscape),
            ("/a%2\u{fc}", BadEscape),
            ("/a%252e", DoubleEscape),
            ("/a%252Fb", DoubleEscape),
            ("/a%25%32%66", DoubleEscape),
            ("/a%25255c", DoubleEscape),
            ("/a%250a", DoubleEscape),
            ("/a%C0%AFb", NotUtf8),
            ("/a%FF", NotUtf8),
            ("/a/..;/b", DotParameters),
            ("/a/..;x=1", DotParameters),
            ("/a/.;x/b", DotParameters),
            ("/a/%2e%2e%3b/b", DotParameters),
            ("/a b", Delimiter),
            ("/a?b", Delimiter),
            ("/a#b", Delimiter),
        ] {
            assert_eq!(NormalPath::parse(raw), Err(error), "{raw}");
        }
        assert_eq!(NormalPath::parse(&format!("/{}", "a".repeat(MAX_PATH))), Err(TooLong));
        assert_eq!(NormalPath::parse(&format!("/{}", "é".repeat(MAX_PATH / 4))), Err(TooLong));
    }
}
