//! Escapes, undone.
//!
//! Enters: text with percent-encoding and the escapes of JSON strings. Leaves: the same without, and where the last escape may be cut short.
//! Never: a second time over what came out.

use memchr::memchr2;

/// What no digit is.
const NONE: u8 = 0xff;

/// What each byte is as a hexadecimal digit.
const DIGITS: [u8; 256] = {
    let mut digits = [NONE; 256];
    let mut value = 0;
    while value < 10 {
        digits[(b'0' + value) as usize] = value;
        value += 1;
    }
    while value < 16 {
        digits[(b'a' + value - 10) as usize] = value;
        digits[(b'A' + value - 10) as usize] = value;
        value += 1;
    }
    digits
};

/// The value of hexadecimal digits, if all are.
pub(super) fn hex<const N: usize>(digits: &[u8; N]) -> Option<u32> {
    let values = digits.map(|digit| DIGITS[usize::from(digit)]);
    // Of a digit the upper half is empty.
    let are_digits = values.iter().fold(0, |all, value| all | value) < 16;
    are_digits.then(|| values.iter().fold(0, |sum, value| sum << 4 | u32::from(*value)))
}

/// Undoes percent-encoding and the escapes of JSON strings, once; where the last escape may be cut short, says where it
/// begins.
pub(super) fn unescape(text: &[u8], plain: &mut Vec<u8>) -> usize {
    plain.reserve(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte != b'%' && byte != b'\\' {
            let end = memchr2(b'%', b'\\', &text[at..]).map_or(text.len(), |next| at + next);
            plain.extend_from_slice(&text[at..end]);
            at = end;
            continue;
        }
        let (value, length) = match &text[at..] {
            [b'%', a, b, ..] => (hex(&[*a, *b]), 3),
            [b'\\', b'u', a, b, c, d, ..] => (hex(&[*a, *b, *c, *d]), 6),
            // Not `\\`: of several, as JSON within JSON has them, the last one counts.
            [b'\\', c @ (b'/' | b'"'), ..] => (Some(u32::from(*c)), 2),
            [b'%'] | [b'%', _] | [b'\\'] => return at,
            [b'\\', b'u', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => return at,
            _ => (None, 1),
        };
        // Placeholders are ASCII; what else an escape stands for needs only not be taken for one.
        plain.push(value.map_or(byte, |value| u8::try_from(value).unwrap_or(b'?')));
        at += if value.is_some() { length } else { 1 };
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::swap::oracle;

    fn plain(text: &str) -> (String, usize) {
        let mut plain = Vec::new();
        let rest = unescape(text.as_bytes(), &mut plain);
        (String::from_utf8(plain).unwrap(), text.len() - rest)
    }

    #[test]
    fn escapes_are_undone_and_cut_ones_wait() {
        let whole = |text: &str| (text.to_owned(), 0);
        assert_eq!(plain("a%62c\\u0064\\/\\\"e"), whole("abcd/\"e"));
        assert_eq!(plain("\\\\\\u0067"), whole("\\\\g"));
        assert_eq!(plain("100%, 5%x \\n \\u12g \\u20ac"), whole("100%, 5%x \\n \\u12g ?"));
        for (text, waits) in [("a%", 1), ("a%6", 2), ("a\\", 1), ("a\\u", 2), ("a\\u006", 5)] {
            assert_eq!(plain(text), ("a".to_owned(), waits), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_undone_but_what_a_reader_of_single_bytes_undoes(text in "([ -~]|%[0-9A-Fa-g]{0,2}|\\\\u[0-9a-g]{0,4}|\\\\[\\\\/\"u]|é){0,40}") {
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            prop_assert_eq!(unescape(text.as_bytes(), &mut fast), oracle::unescape(text.as_bytes(), &mut slow));
            prop_assert_eq!(fast, slow);
        }
    }
}
