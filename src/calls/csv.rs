//! Rows as comma-separated values (RFC 4180).
//!
//! Enters: cells. Leaves: a header row and a row for each, quoted where they have to be. Never: a cell that a spreadsheet takes for a formula: what
//! an agent calls is the agent's to choose.

use std::borrow::Cow;
use std::io::{self, Write};

use super::row::Row;
use crate::plain::plain;

/// The header row.
pub(super) fn head(out: &mut impl Write) -> io::Result<()> {
    line(out, Row::columns().iter().map(|column| (*column).to_owned()))
}

/// A row.
pub(super) fn row(out: &mut impl Write, row: &Row) -> io::Result<()> {
    line(out, row.cells().iter().map(|text| cell(text)))
}

fn line(out: &mut impl Write, cells: impl Iterator<Item = String>) -> io::Result<()> {
    let mut line = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    line.write_record(cells.map(String::into_bytes))?;
    line.flush()
}

/// A cell that is text, whatever it begins with, and whatever comes behind a `;` of it: where commas are for decimals, that is another cell.
fn cell(text: &str) -> String {
    let text = plain(text);
    text.split(';').map(unformulated).collect::<Vec<_>>().join(";")
}

/// Neither spaces nor quotes before a sign make it less of a formula.
fn unformulated(text: &str) -> Cow<'_, str> {
    let bare = text.trim_start_matches(|c: char| c.is_whitespace() || c == '"');
    match bare.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '|', '%']) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_what_divides_cells_is_quoted() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "＝1", "\t=1", "\r=1", "|calc", "%0A=1"] {
            assert!(cell(formula).starts_with(['\'', '?']), "{formula}");
        }
        for (text, shown) in [
            ("/a;=1+1", "/a;'=1+1"),
            ("/a; \"=1;b;-2", "/a;' \"=1;b;'-2"),
            ("=1;@x;;", "'=1;'@x;;"),
            ("/a;b=c;d", "/a;b=c;d"),
        ] {
            assert_eq!(cell(text), shown);
        }
        assert_eq!(cell("/a\t=1"), "/a?=1", "no tab is left that could divide it");
        assert_eq!((cell("/a=b").as_str(), cell("3.5").as_str(), cell("").as_str()), ("/a=b", "3.5", ""));
        let mut out = Vec::new();
        line(&mut out, ["a,b", "say \"no\"", "=x", "two\nlines", ""].iter().map(|text| cell(text))).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\"a,b\",\"say \"\"no\"\"\",'=x,two?lines,\r\n");
    }
}
