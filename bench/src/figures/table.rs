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
        let rule = heads.iter().map(|_| "---").collect::<Vec<_>>().join("|");
        Self { text: format!("## {title}\n\n{about}\n\n| {} |\n|{rule}|\n", heads.join(" | ")) }
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
