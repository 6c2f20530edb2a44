//! A query string with one reading.
//!
//! Enters: what stands behind the question mark. Leaves: names and values, decoded once. Never: what servers split or decode in
//! different ways.

use percent_encoding::percent_decode_str;

use super::objection::Why;

/// Reads `name=value` pairs that `&` separates.
pub(super) fn read(query: &str) -> Result<Vec<(String, String)>, Why> {
    if query.contains(';') {
        return Err(Why::shape("`;` in the query string separates for some servers and not for others"));
    }
    let pieces = query.split('&').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// Whether some server takes `name` for `other`: PHP drops blanks before a name and what is behind a NUL in it; to PHP and others, brackets
/// and dots lead into the value of the name before them.
pub(super) fn may_mean(name: &str, other: &str) -> bool {
    let outer = name.trim_start().split(['\0', '[', '.']).next().unwrap_or_default();
    outer.trim_end().eq_ignore_ascii_case(other)
}

fn decoded(text: &str) -> Result<String, Why> {
    let escapes = text.split('%').skip(1);
    let whole = |escape: &str| escape.len() >= 2 && escape.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !escapes.into_iter().all(whole) {
        return Err(Why::shape("a `%` in the query string escapes nothing"));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| Why::shape("the query string is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_whatever_way_a_server_reads_it() {
        for name in [
            "method",
            "Method",
            " method",
            "\u{a0}method ",
            "method\0x",
            "method[]",
            "method[x]",
            "method.x",
            " METHOD[\0",
        ] {
            assert!(may_mean(name, "method"), "{name:?}");
        }
        for name in ["", "methods", "x.method", "[method]", "\0method", "the method", "met hod"] {
            assert!(!may_mean(name, "method"), "{name:?}");
        }
    }

    #[test]
    fn a_query_is_decoded_once_or_not_read() {
        let pairs = read("query=%7Ba+b%7D&x&&y=%2525").unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("query", "{a b}"), ("x", ""), ("y", "%25")]);
        for query in ["a=1;b=2", "a=%", "a=%2", "a=%zz", "a=%ff", "%c0%af=1"] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
