//! What a policy says about files.
//!
//! Enters: `src/*.rs`, `~/.cache/**`, `**/*.key`. Leaves: where to begin to look, and whether the names below that lead on. Never: the
//! file system; nor a match whose cost grows faster than pattern times path.
//!
//! Within a name `*` stands for any characters, `?` for one, `[a-z]` and `[!a-z]` for one of these or of all others. `**` stands alone between
//! slashes, for any number of directories; at the end for at least one name. A backslash takes its meaning from the character after it.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Malformed, quoted};
use crate::text::travels_as_text;

/// Longer than any path a person writes by hand.
const MAX_GLOB: usize = 1024;
/// Also the longest list of places that a walk keeps in mind.
const MAX_SEGMENTS: usize = 64;

/// A path, or a pattern for paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileGlob {
    text: Box<str>,
    below_home: bool,
    literal: PathBuf,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    /// `**`: any number of directories.
    AnyDepth,
    /// One name.
    Name(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Piece {
    Any,
    One,
    Exactly(u32),
    Class { negated: bool, ranges: Vec<(u32, u32)> },
}

/// Whether a wildcard takes a name that begins with a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dots {
    /// As in a shell: only where the pattern has the dot.
    Named,
    /// As any other character.
    Any,
}

/// How far the names of a path have led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress(Vec<usize>);

impl Progress {
    /// Whether nothing below can match.
    pub fn is_dead(&self) -> bool {
        self.0.is_empty()
    }
}

impl FileGlob {
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a path and has no wildcard.
    pub fn is_plain(&self) -> bool {
        self.segments.is_empty()
    }

    /// The path before the first wildcard: in the home directory of whoever starts, or else where they start.
    pub fn begins_in(&self, directory: &Path, home: Option<&Path>) -> Option<PathBuf> {
        match self.below_home {
            true => home.map(|home| home.join(&self.literal)),
            false => Some(directory.join(&self.literal)),
        }
    }

    /// Where a walk begins.
    pub fn begin(&self) -> Progress {
        self.closed(vec![0])
    }

    /// One name further.
    pub fn step(&self, progress: &Progress, name: &OsStr, dots: Dots) -> Progress {
        let units: Vec<u32> = units(name.as_bytes());
        let hidden = dots == Dots::Named && units.first() == Some(&u32::from('.'));
        let mut next = Vec::new();
        for &at in &progress.0 {
            match self.segments.get(at) {
                Some(Segment::AnyDepth) if !hidden => next.push(at),
                Some(Segment::Name(pieces)) => {
                    let named = !hidden || pieces.first() == Some(&Piece::Exactly(u32::from('.')));
                    if named && matches(pieces, &units) {
                        next.push(at + 1);
                    }
                }
                Some(Segment::AnyDepth) | None => {}
            }
        }
        self.closed(next)
    }

    /// Whether the path so far is one that the pattern is for.
    pub fn is_match(&self, progress: &Progress) -> bool {
        progress.0.contains(&self.segments.len())
    }

    /// `**` may stand for no directory at all.
    fn closed(&self, mut places: Vec<usize>) -> Progress {
        let mut at = 0;
        while let Some(&place) = places.get(at) {
            if self.segments.get(place) == Some(&Segment::AnyDepth) && !places.contains(&(place + 1)) {
                places.push(place + 1);
            }
            at += 1;
        }
        places.sort_unstable();
        places.dedup();
        Progress(places)
    }
}

/// Characters; of what is no text, bytes, which are none of them.
fn units(name: &[u8]) -> Vec<u32> {
    const BEYOND_CHARACTERS: u32 = 0x11_0000;
    let mut units = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        units.extend(chunk.valid().chars().map(u32::from));
        units.extend(chunk.invalid().iter().map(|&byte| BEYOND_CHARACTERS + u32::from(byte)));
    }
    units
}

/// After a mismatch only the last `*` is widened: an earlier one that took more could not reach anything that this one can't.
fn matches(pieces: &[Piece], name: &[u32]) -> bool {
    let (mut at, mut piece) = (0, 0);
    let mut widened: Option<(usize, usize)> = None;
    while at < name.len() {
        match pieces.get(piece) {
            Some(Piece::Any) => {
                widened = Some((at, piece + 1));
                piece += 1;
            }
            Some(one) if one.takes(name[at]) => {
                at += 1;
                piece += 1;
            }
            _ => match &mut widened {
                Some((from, behind)) => {
                    *from += 1;
                    (at, piece) = (*from, *behind);
                }
                None => return false,
            },
        }
    }
    pieces[piece..].iter().all(|rest| *rest == Piece::Any)
}

impl Piece {
    fn takes(&self, unit: u32) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Exactly(this) => *this == unit,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&unit)) != *negated
            }
        }
    }
}

impl FromStr for FileGlob {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let refused =
            |hint: &str| Malformed::new(format!("{} is not a path or a pattern for paths", quoted(text)), hint);
        if text.contains('\0') {
            return Err(refused("a path has no NUL character"));
        }
        if text.len() > MAX_GLOB {
            return Err(refused("a path or pattern has at most 1024 characters"));
        }
        let below_home = text == "~" || text.starts_with("~/");
        if text.starts_with('~') && !below_home {
            return Err(refused(
                "`~/` is the home directory of whoever starts; another's is written in full, a file of that name `./~name`",
            ));
        }
        let written = if below_home { text[1..].trim_start_matches('/') } else { text };
        let mut literal = PathBuf::from(if written.starts_with('/') { "/" } else { "" });
        let mut segments = Vec::new();
        for segment in written.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
            let segment = match segment {
                "**" => Segment::AnyDepth,
                _ => Segment::Name(pieces(segment).map_err(refused)?),
            };
            match (&segment, plain(&segment)) {
                (_, Some(name)) if segments.is_empty() => literal.push(name),
                (_, Some(name)) if name == ".." => return Err(refused("write the path without `..`")),
                _ => segments.push(segment),
            }
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(refused("a pattern has at most 64 names with and behind wildcards"));
        }
        if segments.last() == Some(&Segment::AnyDepth) {
            segments.push(Segment::Name(vec![Piece::Any]));
        }
        Ok(Self { text: text.into(), below_home, literal, segments })
    }
}

/// The name that a segment without wildcards stands for.
fn plain(segment: &Segment) -> Option<String> {
    let Segment::Name(pieces) = segment else { return None };
    let character = |piece: &Piece| match piece {
        Piece::Exactly(unit) => char::from_u32(*unit),
        _ => None,
    };
    pieces.iter().map(character).collect()
}

fn pieces(segment: &str) -> Result<Vec<Piece>, &'static str> {
    if segment.contains("**") && !segment.contains('\\') {
        return Err("`**` stands alone between slashes: `src/**`; within a name write `*`");
    }
    let mut pieces = Vec::new();
    let mut rest = segment.chars();
    while let Some(character) = rest.next() {
        pieces.push(match character {
            '*' => Piece::Any,
            '?' => Piece::One,
            '[' => class(&mut rest)?,
            '\\' => Piece::Exactly(escaped(&mut rest)?),
            other => Piece::Exactly(other.into()),
        });
    }
    Ok(pieces)
}

fn escaped(rest: &mut std::str::Chars<'_>) -> Result<u32, &'static str> {
    rest.next()
        .map(u32::from)
        .ok_or("a backslash stands before the character that it takes the meaning from: `\\*`, `\\\\`")
}

/// After the bracket. One that closes is a member only with a backslash.
fn class(rest: &mut std::str::Chars<'_>) -> Result<Piece, &'static str> {
    const OPEN: &str = "a class is closed and has members: `[a-z]`; the character itself is written `\\[`";
    let negated = rest.as_str().starts_with(['!', '^']);
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        let from = match rest.next().ok_or(OPEN)? {
            ']' if ranges.is_empty() => return Err(OPEN),
            ']' => return Ok(Piece::Class { negated, ranges }),
            '\\' => escaped(rest)?,
            other => other.into(),
        };
        let is_range = rest.as_str().starts_with('-') && !rest.as_str().starts_with("-]");
        if !is_range {
            ranges.push((from, from));
            continue;
        }
        rest.next();
        let to = match rest.next().ok_or(OPEN)? {
            '\\' => escaped(rest)?,
            other => other.into(),
        };
        if to < from {
            return Err("a range goes from the lower character to the higher: `[a-z]`");
        }
        ranges.push((from, to));
    }
}

impl fmt::Display for FileGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

travels_as_text!(FileGlob);

#[cfg(test)]
mod tests {
    use super::*;

    fn matches_as(glob: &str, path: &str, dots: Dots) -> bool {
        let glob: FileGlob = glob.parse().unwrap();
        let names = path.split('/').map(OsStr::new);
        let end = names.fold(glob.begin(), |progress, name| glob.step(&progress, name, dots));
        glob.is_match(&end)
    }

    fn matches(glob: &str, path: &str) -> bool {
        matches_as(glob, path, Dots::Any)
    }

    fn begins(glob: &str) -> Option<PathBuf> {
        glob.parse::<FileGlob>().unwrap().begins_in(Path::new("/home/me/project"), Some(Path::new("/home/me")))
    }

    #[test]
    fn wildcards_stay_within_a_name() {
        assert!(matches("*.rs", "main.rs") && !matches("*.rs", "src/main.rs") && matches("*.rs", ".rs"));
        assert!(matches("?", "ü") && !matches("?", "ab") && !matches("?", ""));
        assert!(matches("a*b*c", "axxbxbc") && !matches("a*b*c", "axxbx"));
        assert!(
            matches("[a-c]x", "bx") && !matches("[a-c]x", "dx") && matches("[!a-c]x", "dx") && matches("[^a-c]", "-")
        );
        assert!(matches("[a-]", "-") && matches(r"[\]\\]", "]") && matches(r"[\]\\]", r"\"));
        assert!(matches(r"\*?", "*x") && !matches(r"\*?", "xx"));
    }

    #[test]
    fn two_stars_take_any_depth() {
        assert!(matches("**/x", "x") && matches("**/x", "a/b/x") && !matches("**/x", "a/xx"));
        assert!(matches("**", "a") && matches("**", "a/b"));
        assert!(matches("*/**/c", "a/c") && matches("*/**/c", "a/b/b/c") && !matches("*/**/c", "c"));
        assert!(matches("**/a/**/b", "a/x/a/b") && !matches("**/a/**/b", "b"));
    }

    #[test]
    fn a_wildcard_takes_a_dotted_name_only_where_it_is_to_hide() {
        for glob in ["*", "**", "**/x", "?x", "[.]x", "**/*"] {
            assert!(!matches_as(glob, ".x", Dots::Named), "{glob}");
            assert!(!matches_as(glob, ".git/x", Dots::Named), "{glob}");
        }
        assert!(matches_as(".*", ".x", Dots::Named) && matches_as("*/.env", "a/.env", Dots::Named));
        assert!(matches_as("*", ".x", Dots::Any) && matches_as("**/x", ".git/x", Dots::Any));
    }

    #[test]
    fn what_comes_before_the_first_wildcard_is_a_path() {
        assert_eq!(begins("src/./a//b/*.rs"), Some("/home/me/project/src/a/b".into()));
        assert_eq!(begins("/opt/*"), Some("/opt".into()));
        assert_eq!(begins("~"), Some("/home/me/".into()));
        assert_eq!(begins("~/.cache/*"), Some("/home/me/.cache".into()));
        assert_eq!(begins(r"a\*b"), Some("/home/me/project/a*b".into()));
        assert_eq!(begins("../x"), Some("/home/me/project/../x".into()));
        assert!("src".parse::<FileGlob>().unwrap().is_plain() && !"src/*".parse::<FileGlob>().unwrap().is_plain());
        assert_eq!("~/x".parse::<FileGlob>().unwrap().begins_in(Path::new("/home/me/project"), None), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_matched_one_by_one() {
        let glob: FileGlob = "a?b*".parse().unwrap();
        let name = OsStr::from_bytes(b"a\xffb\xfe\xfd");
        assert!(glob.is_match(&glob.step(&glob.begin(), name, Dots::Any)));
    }

    #[test]
    fn what_can_mean_nothing_is_refused() {
        let long = "a".repeat(1025);
        let deep = "*/".repeat(65);
        for text in ["a\0b", "~root/x", "a**", "**b", "[", "[]", "[a", "[b-a]", "[a-", r"a\", "*/../x", &long, &deep] {
            assert!(text.parse::<FileGlob>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_hostile_pair_stays_cheap() {
        let glob: FileGlob = format!("{}x", "*a".repeat(400)).parse().unwrap();
        let name = "a".repeat(255);
        let started = std::time::Instant::now();
        for _ in 0..100 {
            assert!(!glob.is_match(&glob.step(&glob.begin(), OsStr::new(&name), Dots::Any)));
        }
        assert!(started.elapsed().as_secs() < 2);
    }
}
