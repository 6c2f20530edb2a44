//! What is wrong with a value or a file, said so that the person who wrote it can mend it.
//!
//! Enters: the text that was refused. Leaves: a reason, a hint, and for files a place. Never: control characters of the
//! refused text, which may be hostile and will be printed on a terminal.

use std::fmt;

/// A single value that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    reason: String,
    hint: String,
}

impl Malformed {
    pub(crate) fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: hint.into() }
    }

    /// What to write instead.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named to us.
    pub file: String,
    /// Line, from 1; 0 where the mistake is about the whole file.
    pub line: usize,
    /// Column, from 1, counted in characters; 0 where the mistake is about the whole file.
    pub column: usize,
    /// Where in the file's structure, like `allow[2].to`; empty where the file is not TOML.
    pub key: String,
    /// Why it can't be taken as it stands.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.reason)?;
        if !self.remedy.is_empty() {
            write!(f, "\n  hint: {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Every mistake of one file, in the order of its lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    mistakes: Vec<Mistake>,
}

impl LoadError {
    pub(crate) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        Self { mistakes }
    }

    /// A mistake about the file as a whole: it can't be read, or is not named for an agent.
    pub(crate) fn whole_file(file: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (reason, remedy) = (reason.into(), remedy.into());
        Self::new(vec![Mistake { file: file.to_owned(), line: 0, column: 0, key: String::new(), reason, remedy }])
    }

    /// The mistakes, first line first.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.mistakes.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// Text in backticks, without control characters and not without end.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown = String::from("`");
    for c in text.chars().take(SHOWN) {
        // Besides control characters, the invisible ones that reorder or hide text on a terminal.
        match c {
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                shown.extend(c.escape_unicode());
            }
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown.push('`');
    shown
}

/// Names in backticks with commas, for messages that list what there is; of many, the first ones.
pub(crate) fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    listed_of(items, 0)
}

/// The same of the first ones of a list that has so many more.
pub(crate) fn listed_of<T: fmt::Display>(items: impl IntoIterator<Item = T>, more: usize) -> String {
    const SHOWN: usize = 12;
    let mut items = items.into_iter().map(|item| format!("`{item}`"));
    let mut shown: Vec<String> = items.by_ref().take(SHOWN).collect();
    match items.count() + more {
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_reads_as_place_key_reason_hint() {
        let mistake = Mistake {
            file: "agents/x.toml".into(),
            line: 14,
            column: 3,
            key: "allow[2].to".into(),
            reason: "`api.github.com/` is not a host name".into(),
            remedy: "write paths under `paths`".into(),
        };
        assert_eq!(
            mistake.to_string(),
            "agents/x.toml:14: allow[2].to: `api.github.com/` is not a host name\n  hint: write paths under `paths`"
        );
    }

    #[test]
    fn quoting_escapes_what_would_move_the_cursor_and_cuts_what_is_long() {
        assert_eq!(quoted("a\u{1b}[2Jb\nc\u{202e}"), "`a\\u{1b}[2Jb\\nc\\u{202e}`");
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), 83);
    }
}
