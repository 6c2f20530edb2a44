//! Text from a log that does nothing to a terminal but be read.
//!
//! Enters: text that somebody hostile may have written. Leaves: the same, with `?` for what moves, colours, hides or turns round. Never: JSON that says
//! something else than before.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether it does more than stand there: controls, and what Unicode has to change the direction of what follows or to be invisible.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// For a row or a cell.
pub fn plain(text: &str) -> Cow<'_, str> {
    match text.contains(acts) {
        true => Cow::Owned(text.replace(acts, "?")),
        false => Cow::Borrowed(text),
    }
}

/// For an error: it may tell of several lines, and what is quoted in it begins none of its own.
pub fn plain_lines(text: &str) -> String {
    text.replace(|c| acts(c) && c != '\n' && c != '\t', "?")
}

/// For JSON. What is below U+0020 can only stand between its values.
pub fn plain_json(line: &str) -> Cow<'_, str> {
    if !line.contains(acts) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        match acts(c) {
            true if c == '\n' => out.push(c),
            true if c < ' ' => out.push(' '),
            // Writing to a string does not fail.
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(out, "\\u{unit:04x}")),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_not_there_and_json_says_the_same() {
        assert_eq!(plain("/a\u{1b}[2J\u{9b}b\u{202e}\r\n"), "/a?[2J?b???");
        assert_eq!(plain("/äöü→✓"), "/äöü→✓");
        assert_eq!(plain_lines("a\u{1b}[2J\r\n\tb\u{202e}"), "a?[2J?\n\tb?");
        let line = "{\"a\":\t\"\u{9b}2J\u{7f}\u{202e}\u{e0041}ä\"}";
        let shown = plain_json(line);
        assert!(!shown.contains(acts) && shown.contains('ä'), "{shown}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&shown), read(line));
    }
}
