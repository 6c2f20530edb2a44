//! What is skimmed is what is read.

use proptest::prelude::*;

use super::*;

/// Where it is after all of these, and what came of them.
fn after<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    mut push: impl FnMut(&mut Members, &[u8]) -> Result<(), Refusal>,
) -> (bool, usize, String) {
    let mut members = Members::default();
    let refused = pieces.into_iter().any(|piece| push(&mut members, piece).is_err());
    // What a string was that is over, or is within a value, does not matter, nor with what one begins that is too long.
    let open = !refused && !members.cannot_matter() && !matches!(members.at, At::Between);
    let name = if open { format!("{:?}", members.name) } else { String::new() };
    (refused, members.depth, format!("{:?} {name}", members.at))
}

#[test]
fn a_bit_stands_for_each_byte() {
    for place in 0..BLOCK {
        let mut block = [0xff; BLOCK];
        block[place] = b'"';
        assert_eq!(Block::of(&block).bits(0, b'"'), 1 << place);
        assert_eq!(Block::of(&block).bits(0, 0xff), !(1 << place));
        assert_eq!(Block::of(&block).bits(!b'"', 0xff), u64::MAX);
    }
}

#[test]
fn what_is_looked_at_has_all_that_matters_in_it() {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let looked_at = |bits: u8| -> Vec<u8> {
        let blocks = all.as_chunks::<BLOCK>().0.iter();
        let bytes = blocks.flat_map(|block| {
            let bits = Block::of(block).bits(!bits, u8::MAX);
            block.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, &byte)| byte)
        });
        bytes.filter(u8::is_ascii).collect()
    };
    assert_eq!(looked_at(BRACKETS), b"Y[]_y{}\x7f");
    assert_eq!(looked_at(BEGINNINGS), b"XYZ[\\]^_xyz{|}~\x7f");
    let begins = |name: &[u8]| !Members { at: At::Within, depth: 1, name: name.to_vec() }.cannot_matter();
    for name in PARAMETERS {
        for name in [name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
            assert!((0..=LONGEST).all(|length| begins(&name.as_bytes()[..length.min(name.len())])), "{name}");
        }
    }
    assert!(all.iter().filter(|&&byte| begins(&[byte])).eq(b"X\\_x"));
    assert!(!begins(b"_id") && !begins(b"x\"") && !begins(b"xml") && !begins(b"y"));
}

#[test]
fn a_name_is_found_wherever_in_a_block_it_begins_and_in_whatever_way_it_is_written() {
    for name in PARAMETERS {
        let parts = (0..name.len()).map(|at| (&name[..at], name.as_bytes()[at], &name[at + 1..]));
        let digits = parts.clone().map(|(before, byte, behind)| format!("{before}\\u{byte:04x}{behind}"));
        let capital =
            parts.clone().map(|(before, byte, behind)| format!("{before}\\u{:04X}{behind}", byte.to_ascii_uppercase()));
        // Where that is no escape of a control character, some take it for the letter.
        let letter = parts.map(|(before, byte, behind)| (byte, format!("{before}\\{}{behind}", char::from(byte))));
        let letter = letter.filter(|(byte, _)| !b"bfnrtu".contains(byte)).map(|(_, text)| text);
        let whole = [name.to_owned(), name.to_ascii_uppercase()].into_iter();
        for text in whole.chain(digits).chain(capital).chain(letter) {
            for before in 0..2 * BLOCK {
                let object = format!("{{{}\"{text}\":1, {}", " ".repeat(before), " ".repeat(2 * BLOCK));
                assert!(after([object.as_bytes()], Members::push).0, "{object}");
                let value = format!("{{{}\"a\":\"{text}\", {}", " ".repeat(before), " ".repeat(2 * BLOCK));
                assert!(!after([value.as_bytes()], Members::push).0, "{value}");
            }
        }
    }
}

#[test]
fn a_backslash_says_of_the_next_byte_alone_that_it_is_escaped() {
    let escaped = |text: &str, before| {
        let bits = text.bytes().rev().fold(0, |bits, byte| bits << 1 | u64::from(byte == b'\\'));
        escaped_by(bits, before)
    };
    assert_eq!(escaped(r#"a\\b\"c\\\"#, 0), (1 << 2 | 1 << 5 | 1 << 8 | 1 << 10, false));
    assert_eq!(escaped(r"\\\", 1), (0b101, false));
    assert_eq!(escaped_by(u64::MAX, 0), (0xaaaa_aaaa_aaaa_aaaa, false));
    assert_eq!(escaped_by(u64::MAX, 1), (0x5555_5555_5555_5555, true));
    assert_eq!(escaped_by(1 << 63, 0), (0, true));
}

#[test]
fn a_name_is_not_taken_for_the_text_before_it() {
    let opens = " ".repeat(BLOCK - 1) + "\"";
    let read = format!("\":1,\"b\":\"\\n\"{}", " ".repeat(3 * BLOCK));
    let pieces = [r#"{"a":"_method","#.as_bytes(), (opens + &read).as_bytes()].map(<[u8]>::to_vec);
    assert!(!after(pieces.iter().map(Vec::as_slice), Members::push).0);
}

#[test]
fn what_a_longer_name_ends_with_is_no_name_though_a_block_begins_with_it() {
    for name in PARAMETERS {
        let object = format!("{{\"{}{name}\":1, {}", "a".repeat(BLOCK - 2), " ".repeat(BLOCK));
        assert!(!after([object.as_bytes()], Members::push).0, "{object}");
    }
}

#[test]
fn an_escape_without_its_digits_ends_with_the_string() {
    for digits in ["", "0", "00", "005"] {
        let object = format!("{{\"_\\u{digits}\":\"\",\"_method\":1");
        assert!(after([object.as_bytes()], Members::read).0, "{object}");
        assert!(after([object.as_bytes(), &[b' '; BLOCK]], Members::push).0, "{object}");
    }
}

proptest! {
    #[test]
    fn what_is_skimmed_is_what_is_read(
        parts in prop::collection::vec((prop::sample::select(vec![
            "{", "}", "[", "]", "\"", "\"", "\"", ":", ",", " ", "a", "_", "-", "|", "\\", "\\\"", "\\n", "\\u", "\\u006d", "_method", "\"_method\"", "X-HTTP-", "Method",
            "-override", "_httpM", "ethod", "{\"a\":[1,{\"b\":\"c]\"}]}", "\u{e9}", "0123456789abcdefghijklmnopqrstuvwxyz",
        ]), 1usize..30), 0..40),
        cut in 1usize..400,
    ) {
        let text: String = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
        let read = after([text.as_bytes()], Members::read);
        prop_assert_eq!(&after([text.as_bytes()], Members::push), &read, "{}", text);
        prop_assert_eq!(&after(text.as_bytes().chunks(cut), Members::push), &read, "{} by {}", text, cut);
    }
}
