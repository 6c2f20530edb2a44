//! A table in Markdown.
//!
//! Enters: heads and cells. Leaves: text. Never: a row with fewer cells than there are heads goes unseen: it shows as a gap.

use std::fmt::Write;

/// A heading, what is said about it, and rows.
pub struct Table {
    text: String,
}

impl Table {
    /// A table without rows. `about` is told above it.
    pub fn new(title: &str, about: &str, heads: &[&str]) -> Self {
        Self::headed("##", title, about, heads)
    }

    /// The same for a part of something that has a heading.
    pub fn part(title: &str, about: &str, heads: &[&str]) -> Self {
        Self::headed("###", title, about, heads)
    }

    fn headed(marks: &str, title: &str, about: &str, heads: &[&str]) -> Self {
        let rule = heads.iter().map(|_| "---").collect::<Vec<_>>().join("|");
        Self { text: format!("{marks} {title}\n\n{about}\n\n| {} |\n|{rule}|\n", heads.join(" | ")) }
    }

    /// One more row.
    pub fn row(&mut self, cells: &[String]) {
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// The text, an empty line after it.
    pub fn end(self) -> String {
        self.text + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new("Title", "About.", &["a", "b"]);
        table.row(&["1".to_owned(), "2".to_owned()]);
        assert_eq!(table.end(), "## Title\n\nAbout.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n");
    }
}
