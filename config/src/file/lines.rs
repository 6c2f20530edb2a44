//! Where in a file something stands, as a person counts.
//!
//! Enters: text, and places in bytes. Leaves: lines and columns. Never: a look through the whole text for one place.

/// The lines of a text.
pub(super) struct Lines<'a> {
    text: &'a str,
    /// Where each begins.
    starts: Vec<usize>,
    /// Whether a byte is a character, in all of it.
    ascii: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let behind = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self { text, starts: std::iter::once(0).chain(behind).collect(), ascii: text.is_ascii() }
    }

    /// The line, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// Line and column, from 1.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let line = self.line(at);
        let before = self.text.get(self.starts[line - 1]..at).unwrap_or_default();
        let characters = if self.ascii { before.len() } else { before.chars().count() };
        (line, characters + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn lines_and_columns_are_counted_from_one_in_characters() {
        for (text, at, place) in [
            ("", 0, (1, 1)),
            ("ab\ncd", 1, (1, 2)),
            ("ab\ncd", 2, (1, 3)),
            ("ab\ncd", 3, (2, 1)),
            ("ab\n", 3, (2, 1)),
            ("ä\näb", 5, (2, 2)),
            ("\n\n", 2, (3, 1)),
        ] {
            assert_eq!(Lines::of(text).place(at), place, "{text:?} {at}");
        }
    }
}
