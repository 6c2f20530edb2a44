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
    let open = !refused && members.depth == 1 && !matches!(members.at, At::Between);
    let name = if open && members.name.len() <= LONGEST { format!("{:?}", members.name) } else { String::new() };
    (refused, members.depth, format!("{:?} {name}", members.at))
}

#[test]
fn a_bit_stands_for_each_byte() {
    for place in 0..BLOCK {
        let mut block = [0xff; BLOCK];
        block[place] = b'"';
        assert_eq!(bits(&block, |byte| byte == b'"'), 1 << place);
        assert_eq!(bits(&block, |byte| byte != b'"'), !(1 << place));
    }
}

#[test]
fn what_tells_is_in_every_spelling() {
    for name in PARAMETERS {
        for text in [name.to_owned(), name.to_ascii_uppercase(), name.replace('m', "\\m"), name.replace('d', "\\u0064")]
        {
            assert!(tells(text.as_bytes()), "{text}");
        }
        let broken = |at: usize| format!("{}\\{}", &name[..at], &name[at..]);
        for text in (0..name.len()).map(broken) {
            let read = after([format!("{{\"{text}\":1").as_bytes()], Members::read).0;
            assert!(tells(text.as_bytes()) || !read, "{text}");
        }
    }
    let none = r#"{"a_b":"c-d\n\t\"","name":"a method","Mode":"them"}"#.replace("meth", "math");
    assert!(!tells(none.as_bytes()) || TELLING.is_none());
}

#[test]
fn a_name_is_not_taken_for_the_text_before_it() {
    let opens = " ".repeat(BLOCK - 1) + "\"";
    let read = format!("\":1,\"b\":\"\\n\"{}", " ".repeat(3 * BLOCK));
    let pieces = [r#"{"a":"_method","#.as_bytes(), (opens + &read).as_bytes()].map(<[u8]>::to_vec);
    assert!(!after(pieces.iter().map(Vec::as_slice), Members::push).0);
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
