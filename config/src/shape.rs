//! What a placeholder looks like, so that SDKs which check a credential's look accept it.
//!
//! Enters: a small part of regular expressions. Leaves: random texts of that shape. Never: a shape so small that a
//! placeholder could be guessed.

use std::fmt;
use std::str::FromStr;

use crate::error::{Malformed, quoted};
use crate::text::travels_as_text;

/// A placeholder must not be guessable, for whoever knows it can have its credential used.
const MIN_ENTROPY_BITS: f64 = 128.0;
/// Header values of 4 KiB pass everywhere.
const MAX_LENGTH: u32 = 4096;

/// Literals, `\`-escapes, `[classes]` with ranges, `{n}` and `{m,n}`; at least 128 bits of choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    text: Box<str>,
    pieces: Vec<Piece>,
}

/// One of `choices`, `least` to `most` times.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    choices: Vec<char>,
    least: u32,
    most: u32,
}

impl Shape {
    /// How hard a text of this shape is to guess, counted for the shortest one.
    pub fn entropy_bits(&self) -> f64 {
        entropy(&self.pieces)
    }

    /// Whether its texts mean themselves in every format that a file or a shell has: letters, digits and `-._~+/=` do, which are
    /// also what a bearer credential is made of (RFC 6750 section 2.1).
    pub fn needs_no_escape(&self) -> bool {
        self.pieces.iter().flat_map(|piece| &piece.choices).all(|c| c.is_ascii_alphanumeric() || "-._~+/=".contains(*c))
    }

    /// A text of this shape. `next(n)` must return a number below `n`, every one equally likely.
    pub fn generate(&self, next: &mut dyn FnMut(u32) -> u32) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            let span = piece.most - piece.least;
            let times = piece.least + if span == 0 { 0 } else { next(span + 1).min(span) };
            for _ in 0..times {
                out.extend(piece.choose(next));
            }
        }
        out
    }
}

impl Piece {
    fn choose(&self, next: &mut dyn FnMut(u32) -> u32) -> Option<char> {
        let bound = u32::try_from(self.choices.len()).ok()?;
        let index = if bound == 1 { 0 } else { next(bound) };
        self.choices.get(usize::try_from(index).ok()?).copied()
    }
}

fn entropy(pieces: &[Piece]) -> f64 {
    let bits =
        |piece: &Piece| f64::from(piece.least) * f64::from(u32::try_from(piece.choices.len()).unwrap_or(1)).log2();
    pieces.iter().map(bits).sum()
}

impl Default for Shape {
    fn default() -> Self {
        let alphanumeric = ('0'..='9').chain('A'..='Z').chain('a'..='z').collect();
        let mut pieces: Vec<Piece> = "exeat_".chars().map(|c| Piece { choices: vec![c], least: 1, most: 1 }).collect();
        pieces.push(Piece { choices: alphanumeric, least: 32, most: 32 });
        Self { text: "exeat_[A-Za-z0-9]{32}".into(), pieces }
    }
}

impl FromStr for Shape {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let refused = |hint: String| Malformed::new(format!("{} is not a shape", quoted(text)), hint);
        if text.len() > 1024 {
            return Err(refused("a shape is written in at most 1024 characters".into()));
        }
        let pieces = parse_pieces(text).map_err(refused)?;
        let longest: u64 = pieces.iter().map(|piece| u64::from(piece.most)).sum();
        if longest > u64::from(MAX_LENGTH) {
            return Err(refused(format!("a placeholder has at most {MAX_LENGTH} characters")));
        }
        let bits = entropy(&pieces);
        if bits < MIN_ENTROPY_BITS {
            let reason = format!("{} leaves {bits:.0} bits to chance and could be guessed", quoted(text));
            return Err(Malformed::new(reason, "leave at least 128: `[A-Za-z0-9]{22}` is enough, `{32}` is better"));
        }
        Ok(Self { text: text.into(), pieces })
    }
}

fn parse_pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '[' => pieces.push(Piece { choices: parse_class(&mut rest)?, least: 1, most: 1 }),
            '{' => {
                let (inside, after) = rest.as_str().split_once('}').ok_or("`{` is not closed")?;
                let piece = pieces.last_mut().filter(|piece| (piece.least, piece.most) == (1, 1));
                let piece = piece.ok_or("`{n}` stands after one character or class")?;
                (piece.least, piece.most) = parse_times(inside)?;
                rest = after.chars();
            }
            '\\' => pieces.push(once(escaped(&mut rest)?)),
            '.' | '*' | '+' | '?' | '|' | '(' | ')' | '^' | '$' | ']' | '}' => {
                return Err(format!("`{c}` is not known here; write `\\{c}` for the character itself"));
            }
            c => pieces.push(once(visible(c)?)),
        }
    }
    Ok(pieces)
}

fn once(c: char) -> Piece {
    Piece { choices: vec![c], least: 1, most: 1 }
}

/// What stands behind `[`, up to and with `]`.
fn parse_class(rest: &mut std::str::Chars<'_>) -> Result<Vec<char>, String> {
    let mut choices = Vec::new();
    loop {
        let first = match rest.next().ok_or("`[` is not closed")? {
            ']' if choices.is_empty() => return Err("a class `[]` needs at least one character".into()),
            ']' => break,
            '^' if choices.is_empty() => return Err("a class can't be negated; list what it has".into()),
            '\\' => escaped(rest)?,
            c => visible(c)?,
        };
        // A hyphen before `]` is itself.
        let is_range = rest.as_str().starts_with('-') && !rest.as_str().starts_with("-]");
        if !is_range {
            choices.push(first);
            continue;
        }
        rest.next();
        let last = match rest.next().ok_or("`[` is not closed")? {
            '\\' => escaped(rest)?,
            c => visible(c)?,
        };
        if last < first {
            return Err(format!("the range `{first}-{last}` runs backwards"));
        }
        choices.extend(first..=last);
    }
    choices.sort_unstable();
    choices.dedup();
    Ok(choices)
}

fn escaped(rest: &mut std::str::Chars<'_>) -> Result<char, String> {
    match rest.next() {
        Some(c) if c.is_ascii_punctuation() => Ok(c),
        Some(c) if c.is_ascii_alphanumeric() => Err(format!("`\\{c}` is not known here; write a class like `[0-9]`")),
        _ => Err("`\\` stands before a punctuation character".into()),
    }
}

/// Placeholders stand in header values: visible ASCII only.
fn visible(c: char) -> Result<char, String> {
    if c.is_ascii_graphic() { Ok(c) } else { Err("a placeholder has visible ASCII characters only".into()) }
}

fn parse_times(inside: &str) -> Result<(u32, u32), String> {
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let times = match inside.split_once(',') {
        Some((least, most)) => number(least).zip(number(most)),
        None => number(inside).map(|times| (times, times)),
    };
    let times = times.ok_or("write `{n}` or `{m,n}` with numbers")?;
    if times.1 == 0 || times.1 < times.0 || times.1 > MAX_LENGTH {
        return Err(format!("`{{m,n}}` runs from a smaller to a larger number, at most {MAX_LENGTH}"));
    }
    Ok(times)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

travels_as_text!(Shape);

#[cfg(test)]
mod tests {
    use super::*;

    fn lowest(shape: &str) -> String {
        shape.parse::<Shape>().unwrap().generate(&mut |_| 0)
    }

    #[test]
    fn shapes_generate_what_they_say() {
        assert_eq!(lowest("ghs_[A-Za-z0-9]{36}"), format!("ghs_{}", "0".repeat(36)));
        assert_eq!(lowest(r"sk\-a\.[a-c]{81}x{3}"), format!("sk-a.{}xxx", "a".repeat(81)));
        assert_eq!(lowest("[0-9a-f]{32,40}"), "0".repeat(32));
        assert_eq!("[0-9a-f]{32,40}".parse::<Shape>().unwrap().generate(&mut |n| n - 1), "f".repeat(40));
        assert_eq!(lowest(r"[\]a_-]{64}"), "-".repeat(64));
    }

    #[test]
    fn the_default_is_what_its_text_says() {
        assert_eq!(Shape::default(), Shape::default().to_string().parse().unwrap());
        assert!(Shape::default().entropy_bits() > 190.0);
    }

    #[test]
    fn small_strange_and_endless_shapes_are_refused() {
        for text in [
            "",
            "abc",
            "[a-z]{27}",
            "[0-9a-f]{0,99}",
            "[aaaaaaaa]{200}",
            "[a-z",
            "[]",
            "[^a]{99}",
            "[z-a]{99}",
            "[a-z]{",
            "{3}",
            "[a-z]{x}",
            "[a-z]{40}{2}",
            "[a-z]{9999}",
            "[a-z]{4294967296}",
            "[a-z]{40,30}",
            "a|b",
            "(a)",
            "a+",
            r"\d{99}",
            r"[a-z]{40}\",
            "[a-z]{40} ",
            "[a-zé]{40}",
            "[a-z]{+40}",
            "[a-z]{4000}[a-z]{4000}",
        ] {
            assert!(text.parse::<Shape>().is_err(), "{text:?} was taken");
        }
    }
}
