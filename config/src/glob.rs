//! What a rule says about paths.
//!
//! Enters: `/repos/*/issues`, `/repos/acme/**`. Leaves: a pattern over the segments of a decoded path. Never: a match
//! whose cost grows faster than pattern times path.
//!
//! `*` stands for any characters within one segment, and a segment that has one is never the empty segment behind a
//! last slash. `**` stands alone between slashes, for any number of segments; at the end for at least one, which may
//! be empty: `/repos/acme/**` has `/repos/acme/` and all below it, and not `/repos/acme`; in a deny rule, to which a last slash is
//! nothing, that as well. `%2A` is the character itself.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Malformed, quoted};
use crate::path::{self, NormalPath, PathError};
use crate::reading::folded;
use crate::text::travels_as_text;

/// Longer than any path a person writes by hand.
const MAX_GLOB: usize = 1024;

/// A pattern for paths. Shared, as denials repeat it.
#[derive(Clone, Debug)]
pub struct PathGlob(Arc<Normal>);

/// The text in normal form, and what it was read as.
#[derive(Debug)]
struct Normal {
    text: Box<str>,
    segments: Box<[Segment]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of segments.
    AnyDepth,
    /// One segment, whatever it is.
    Any,
    /// The literal texts between the asterisks.
    Text(Vec<Box<str>>),
}

impl PathGlob {
    /// The pattern in normal form.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether a path as the call log has it matches. One that has no normal form, and was refused for that, is compared as it stands.
    pub fn matches_logged(&self, path: &str) -> bool {
        NormalPath::parse(path).map_or_else(|_| self.matches(path), |path| self.matches(path.decoded()))
    }

    /// Whether the pattern is for every path.
    pub(crate) fn is_every_path(&self) -> bool {
        self.as_str() == "/**"
    }

    /// Whether only a path with an escaped slash can match.
    pub(crate) fn has_encoded_slash(&self) -> bool {
        self.as_str().contains("%2F")
    }

    /// Whether the person who wrote it thought of `;parameters`.
    pub(crate) fn has_parameters(&self) -> bool {
        let mut texts = self.0.segments.iter().filter_map(|segment| match segment {
            Segment::Text(pieces) => Some(pieces),
            _ => None,
        });
        texts.any(|pieces| pieces.iter().any(|piece| piece.contains(';')))
    }

    /// The segments that stand for themselves, and in which place from the path's beginning: a path that matches has them there.
    pub(crate) fn literals(&self) -> impl Iterator<Item = (usize, &str)> {
        let fixed = self.0.segments.iter().take_while(|segment| matches!(segment, Segment::Text(_)));
        fixed.enumerate().filter_map(|(place, segment)| match segment {
            Segment::Text(pieces) if pieces.len() == 1 => Some((place, &*pieces[0])),
            _ => None,
        })
    }

    /// The pattern for paths that were [`folded`](crate::reading::folded): it has each of them of which it had any spelling.
    pub(crate) fn folded(&self) -> Self {
        let fold = |piece: &str| Box::<str>::from(&*folded(piece));
        let segments: Box<[Segment]> = self
            .0
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::AnyDepth => Segment::AnyDepth,
                Segment::Any => Segment::Any,
                Segment::Text(pieces) => Segment::Text(pieces.iter().map(|piece| fold(piece)).collect()),
            })
            .collect();
        // Each pattern has one spelling, so that two that are alike once folded are the same.
        let escaped =
            |piece: &str| percent_encoding::utf8_percent_encode(piece, percent_encoding::NON_ALPHANUMERIC).to_string();
        let text = segments.iter().filter_map(|segment| match segment {
            Segment::AnyDepth => Some("/**".to_owned()),
            Segment::Any => None,
            Segment::Text(pieces) => {
                let pieces: Vec<String> = pieces.iter().map(|piece| escaped(piece)).collect();
                Some(format!("/{}", pieces.join("*")))
            }
        });
        Self(Arc::new(Normal { text: text.collect::<String>().into(), segments }))
    }

    /// Whether a decoded path matches. After a mismatch only the last `**` is widened: an earlier one that took more
    /// could not reach anything that this one can't.
    pub(crate) fn matches(&self, decoded: &str) -> bool {
        let mut segments = &self.0.segments[..];
        // What is left of the path; `None` is behind its last segment.
        let mut left = Some(decoded.strip_prefix('/').unwrap_or(decoded));
        let mut widened: Option<(&str, &[Segment])> = None;
        while let Some(path) = left {
            match segments {
                [Segment::AnyDepth, behind @ ..] => {
                    widened = Some((path, behind));
                    segments = behind;
                    continue;
                }
                [one, behind @ ..] => {
                    if let Some(rest) = one.behind(path) {
                        (left, segments) = (rest, behind);
                        continue;
                    }
                }
                [] => {}
            }
            let Some((from, behind)) = &mut widened else { return false };
            let Some(wider) = first_and_rest(from).1 else { return false };
            *from = wider;
            (left, segments) = (Some(wider), behind);
        }
        segments.iter().all(|rest| *rest == Segment::AnyDepth)
    }
}

/// A path's first segment, and what comes behind its slash.
fn first_and_rest(path: &str) -> (&str, Option<&str>) {
    // Segments are short, so that a search by words would begin in vain.
    match path.bytes().position(|byte| byte == b'/') {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

impl PartialEq for PathGlob {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for PathGlob {}

impl Hash for PathGlob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl Segment {
    /// What is left of a path behind its first segment, where that matches.
    fn behind<'p>(&self, path: &'p str) -> Option<Option<&'p str>> {
        if let Self::Text(pieces) = self
            && let [whole] = &pieces[..]
        {
            let rest = path.strip_prefix(&**whole)?;
            return if rest.is_empty() { Some(None) } else { rest.strip_prefix('/').map(Some) };
        }
        let (first, rest) = first_and_rest(path);
        self.matches(first).then_some(rest)
    }

    fn matches(&self, text: &str) -> bool {
        let pieces = match self {
            Self::AnyDepth | Self::Any => return true,
            Self::Text(pieces) => pieces,
        };
        match &pieces[..] {
            [] => false,
            [whole] => **whole == *text,
            [first, middle @ .., last] => {
                let inside = text.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last));
                let Some(mut rest) = inside.filter(|_| !text.is_empty()) else { return false };
                middle.iter().all(|piece| match rest.find(&**piece) {
                    Some(found) => {
                        rest = &rest[found + piece.len()..];
                        true
                    }
                    None => false,
                })
            }
        }
    }
}

impl FromStr for PathGlob {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let refused = |hint: &str| Malformed::new(format!("{} is not a path pattern", quoted(text)), hint);
        if text.len() > MAX_GLOB {
            return Err(refused("a path pattern has at most 1024 characters"));
        }
        let normal = NormalPath::parse(text).map_err(|error| refused(hint_for(error)))?;
        if text.split('/').any(|segment| matches!(&*decoded(segment), "." | "..")) {
            return Err(refused("write the path without `.` and `..`"));
        }
        let mut segments = Vec::new();
        for segment in normal.as_str()[1..].split('/') {
            segments.push(match segment {
                "**" => Segment::AnyDepth,
                segment if segment.contains("**") => {
                    return Err(refused("`**` stands alone between slashes: `/repos/**`; within a segment write `*`"));
                }
                segment => Segment::Text(segment.split('*').map(decoded).collect()),
            });
        }
        if segments.last() == Some(&Segment::AnyDepth) {
            segments.push(Segment::Any);
        }
        Ok(Self(Arc::new(Normal { text: normal.as_str().into(), segments: segments.into() })))
    }
}

fn decoded(piece: &str) -> Box<str> {
    path::decoded_keeping_slashes(piece).into()
}

fn hint_for(error: PathError) -> &'static str {
    match error {
        PathError::NotAbsolute => "a path pattern starts with `/`: `/repos/**`",
        PathError::TooLong => "a path pattern has at most 1024 characters",
        PathError::BadEscape => "write a percent sign as `%25`",
        PathError::Separator => "backslashes are never let through, so no pattern can have them",
        PathError::SlashEdge => "an escaped slash (`%2F`) stands between two names: `/projects/group%2Fname`",
        PathError::Control => "control characters are never let through, so no pattern can have them",
        PathError::Delimiter => "rules are for the path alone, without the query; a space is written `%20`",
        PathError::NotUtf8 => "paths are UTF-8: write the characters themselves",
        PathError::DoubleEscape => "double escapes are never let through, so no pattern can have them",
        PathError::EmptySegment => "`//` is never let through, so no pattern can have it",
        PathError::AboveRoot | PathError::DotParameters => "write the path without `.` and `..`",
    }
}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

travels_as_text!(PathGlob);

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        glob.parse::<PathGlob>().unwrap().matches(NormalPath::parse(path).unwrap().decoded())
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        assert!(matches("/repos/*/issues", "/repos/acme/issues"));
        assert!(!matches("/repos/*/issues", "/repos/a/b/issues"));
        assert!(!matches("/repos/*", "/repos/"));
        assert!(!matches("/repos/*", "/repos/a/"));
        assert!(!matches("/*", "/"));
        assert!(matches("/v*.*-x", "/v1.2.3-x"));
        assert!(!matches("/a*a", "/a"));
        assert!(matches("/a*a", "/aa"));
        assert!(matches("/*ab*b", "/abab"));
        assert!(!matches("/*ab*b", "/ab"));
    }

    #[test]
    fn two_stars_take_any_depth() {
        assert!(matches("/repos/acme/**", "/repos/acme/"));
        assert!(matches("/repos/acme/**", "/repos/acme/x/y/"));
        assert!(!matches("/repos/acme/**", "/repos/acme"));
        assert!(!matches("/repos/acme/**", "/repos/acme2/x"));
        assert!(matches("/**/issues", "/issues"));
        assert!(matches("/a/**/b/**/c", "/a/b/x/b/c"));
        assert!(!matches("/a/**/b/**/c", "/a/c"));
        assert!(matches("/**", "/"));
        assert!(matches("/**/*.js", "/a/b/c.js"));
        assert!(!matches("/a", "/a/"));
    }

    #[test]
    fn spelling_does_not_matter_and_an_escaped_star_is_a_star() {
        assert!(matches("/users/@me", "/users/%40me"));
        assert!(matches("/users/%40me", "/users/@me"));
        assert!(matches("/a%20b/ü", "/a%20b/%C3%BC"));
        assert!(matches("/a/%2A", "/a/*"));
        assert!(matches("/a/%2a", "/a/%2A"));
        assert!(!matches("/a/%2A", "/a/b"));
    }

    #[test]
    fn an_escaped_slash_is_a_character_and_no_separator() {
        assert!(matches("/@*", "/@scope%2fname"));
        assert!(matches("/@scope%2Fname", "/@scope%2fname"));
        assert!(matches("/projects/*/issues", "/projects/group%2Fname/issues"));
        assert!(!matches("/projects/group/name", "/projects/group%2Fname"));
        assert!(!matches("/projects/group%2Fname", "/projects/group/name"));
        assert!(!matches("/projects/*/name", "/projects/group%2Fname"));
    }

    #[test]
    fn what_can_never_match_is_refused() {
        for text in [
            "",
            "repos",
            "repos/**",
            "/a//b",
            "/a/../b",
            "/a/./b",
            "/a/%2e",
            "/a/**b",
            "/***",
            "/a?b=1",
            "/a b",
            "/a%2f",
            "/a%2f..%2fb",
            "/a%5cb",
            "/a%",
            "/a%252f",
            "/a/..",
            "/\u{7}",
            "/a;/%2f",
            &format!("/{}", "a".repeat(1024)),
        ] {
            assert!(text.parse::<PathGlob>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_hostile_pair_stays_cheap() {
        let glob = format!("/{}x", "**/a*a*a/".repeat(100));
        let path = format!("/{}", "aaaaaaaa/".repeat(1500));
        let started = std::time::Instant::now();
        assert!(!matches(&glob, &path));
        assert!(started.elapsed().as_secs() < 2);
    }
}
