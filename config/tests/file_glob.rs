//! A pattern for files matches what a slow and plain reading of it matches, and nothing panics.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use config::{Dots, FileGlob};
use proptest::prelude::*;

/// A piece of a name, as a person means it.
#[derive(Clone, Debug)]
enum Meant {
    Any,
    One,
    Exactly(char),
    OneOf(bool, char, char),
}

/// A name, or any depth.
type Segment = Option<Vec<Meant>>;

const LETTERS: [char; 5] = ['a', 'b', '.', '*', 'ü'];

fn meant() -> impl Strategy<Value = Meant> {
    let letter = || prop::sample::select(&LETTERS[..]);
    prop_oneof![
        2 => Just(Meant::Any),
        1 => Just(Meant::One),
        4 => letter().prop_map(Meant::Exactly),
        1 => (any::<bool>(), letter(), letter()).prop_map(|(not, a, b)| Meant::OneOf(not, a.min(b), a.max(b))),
    ]
}

/// Behind a wildcard, so that all of it is judged by names. No two asterisks side by side, which would be another thing.
fn segments() -> impl Strategy<Value = Vec<Segment>> {
    let name = prop::collection::vec(meant(), 1..5).prop_map(|mut name| {
        name.dedup_by(|a, b| matches!((a, b), (Meant::Any, Meant::Any)));
        Some(name)
    });
    prop::collection::vec(prop_oneof![1 => Just(None), 3 => name], 1..4)
}

fn written(segments: &[Segment]) -> String {
    let piece = |piece: &Meant| match piece {
        Meant::Any => "*".to_owned(),
        Meant::One => "?".to_owned(),
        Meant::Exactly(letter) => format!("\\{letter}"),
        Meant::OneOf(not, from, to) => format!("[{}\\{from}-\\{to}]", if *not { "!" } else { "" }),
    };
    let segment = |segment: &Segment| {
        segment.as_ref().map_or_else(|| "**".to_owned(), |name| name.iter().map(piece).collect::<String>())
    };
    segments.iter().map(segment).collect::<Vec<_>>().join("/")
}

fn name_is(pieces: &[Meant], name: &[char]) -> bool {
    match (pieces, name) {
        ([], _) => name.is_empty(),
        ([Meant::Any, rest @ ..], _) => (0..=name.len()).any(|taken| name_is(rest, &name[taken..])),
        ([_, ..], []) => false,
        ([one, rest @ ..], [letter, behind @ ..]) => {
            let takes = match one {
                Meant::Any => unreachable!("above"),
                Meant::One => true,
                Meant::Exactly(this) => this == letter,
                Meant::OneOf(not, from, to) => (from..=to).contains(&letter) != *not,
            };
            takes && name_is(rest, behind)
        }
    }
}

fn path_is(segments: &[Segment], path: &[Vec<char>], dots: Dots) -> bool {
    let hidden = |name: &Vec<char>| dots == Dots::Named && name[0] == '.';
    match (segments, path) {
        ([], _) => path.is_empty(),
        ([None], _) => !path.is_empty() && !path.iter().any(hidden),
        ([None, rest @ ..], _) => (0..=path.len())
            .take_while(|taken| !path[..*taken].iter().any(hidden))
            .any(|taken| path_is(rest, &path[taken..], dots)),
        ([Some(_), ..], []) => false,
        ([Some(name), rest @ ..], [first, behind @ ..]) => {
            let named = matches!(name.first(), Some(Meant::Exactly('.')));
            (named || !hidden(first)) && name_is(name, first) && path_is(rest, behind, dots)
        }
    }
}

/// Two `**` side by side at the end are at least one name too, as one is.
fn as_read(mut segments: Vec<Segment>) -> Vec<Segment> {
    segments.dedup_by(|a, b| a.is_none() && b.is_none());
    segments
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn it_matches_what_a_slow_reading_matches(
        segments in segments().prop_map(as_read),
        path in prop::collection::vec(prop::collection::vec(prop::sample::select(&LETTERS[..]), 1..5), 1..4),
        any_dots in any::<bool>(),
    ) {
        let dots = if any_dots { Dots::Any } else { Dots::Named };
        let text = format!("*/{}", written(&segments));
        let Ok(glob) = text.parse::<FileGlob>() else {
            prop_assert!(text.split('/').any(|segment| segment == "\\.\\."), "{text}");
            return Ok(());
        };
        let below: Vec<String> = path.iter().map(|name| name.iter().collect()).collect();
        let end = below.iter().fold(glob.step(&glob.begin(), OsStr::new("x"), dots), |progress, name| {
            glob.step(&progress, OsStr::new(name), dots)
        });
        prop_assert_eq!(glob.is_match(&end), path_is(&segments, &path, dots), "{} {:?}", text, below);
        prop_assert!(!glob.is_match(&end) || !end.is_dead());
    }

    #[test]
    fn no_text_and_no_name_make_it_panic(text in "[a*?\\[\\]!^\\\\/~.ü-]{0,24}", names in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..4)) {
        let Ok(glob) = text.parse::<FileGlob>() else { return Ok(()) };
        prop_assert_eq!(&glob.to_string().parse::<FileGlob>().unwrap(), &glob);
        let _ = names.iter().fold(glob.begin(), |at, name| glob.step(&at, OsStr::from_bytes(name), Dots::Named));
    }
}
