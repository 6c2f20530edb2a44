//! The voice of the demo: few, aligned, plain lines.
//!
//! Enters: what is done, what came back, whether that is as it should be. Leaves: lines on standard output, and the count of
//! what did not behave. Never: colours where nobody asked for them; a control character that came from elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::out::out;
use crate::plain::plain;

const BOLD: &str = "1";
const FAINT: &str = "2";
const GREEN: &str = "32";
const RED: &str = "1;31";

/// Tells one demo.
#[derive(Debug)]
pub(super) struct Narrator {
    /// Nothing is said before the end.
    silent: bool,
    coloured: bool,
    width: Option<usize>,
    steps: usize,
    /// The steps that did not behave, by number.
    failed: Vec<usize>,
}

impl Narrator {
    /// Looks at the terminal, if there is one.
    pub(super) fn new(silent: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let size = terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten();
        let width = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        Self { silent, coloured: terminal && !plain, width, steps: 0, failed: Vec::new() }
    }

    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(BOLD, text);
        self.say(&text)
    }

    /// A list of things and what is to be known of each.
    pub(super) fn facts(&mut self, facts: &[(&str, &str)]) -> io::Result<()> {
        let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
        for (label, text) in facts {
            let label = self.paint(FAINT, &format!("{label:<width$}"));
            self.say(&format!("    {label}  {}", plain(text)))?;
        }
        Ok(())
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, title: &str) -> io::Result<()> {
        self.steps += 1;
        let title = self.paint(BOLD, title);
        self.say(&format!("\n{:>2}  {title}", self.steps))
    }

    /// What was typed.
    pub(super) fn command(&mut self, text: &str) -> io::Result<()> {
        let prompt = self.paint(FAINT, "$");
        self.say(&format!("    {prompt} {}", plain(text)))
    }

    /// A line of what came back.
    pub(super) fn output(&mut self, text: &str) -> io::Result<()> {
        self.folded(6, text)
    }

    /// A line of a table.
    pub(super) fn row(&mut self, text: &str) -> io::Result<()> {
        self.folded(4, text)
    }

    /// Prints a line which may be wider than the terminal; what goes on below is set in.
    fn folded(&self, indent: usize, text: &str) -> io::Result<()> {
        const DEEPER: usize = 4;
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(indent + DEEPER).max(20));
        for (i, line) in fold(&plain(text), room).iter().enumerate() {
            let indent = if i == 0 { indent } else { indent + DEEPER };
            self.say(&format!("{:indent$}{line}", ""))?;
        }
        Ok(())
    }

    /// Whether something was as `expected`.
    pub(super) fn verdict(&mut self, behaved: bool, expected: &str) -> io::Result<()> {
        if behaved {
            let mark = self.paint(GREEN, "✓");
            return self.say(&format!("    {mark} {expected}"));
        }
        if self.failed.last() != Some(&self.steps) {
            self.failed.push(self.steps);
        }
        let line = self.paint(RED, &format!("✗ expected: {}", plain(expected)));
        self.say(&format!("    {line}"))
    }

    /// Whether every verdict so far was good.
    pub(super) fn all_behaved(&self) -> bool {
        self.failed.is_empty()
    }

    /// The last verdict.
    pub(super) fn conclude(&mut self, took: Duration) -> io::Result<()> {
        let (steps, took) = (self.steps, took.as_secs_f64());
        let line = if self.all_behaved() {
            self.paint(GREEN, &format!("✓ all {steps} steps behaved, in {took:.1} s"))
        } else {
            let failed: Vec<String> = self.failed.iter().map(ToString::to_string).collect();
            self.paint(RED, &format!("✗ did not behave: {} of {steps} steps, in {took:.1} s", failed.join(", ")))
        };
        self.say(&format!("\n{line}"))
    }

    fn say(&self, line: &str) -> io::Result<()> {
        if self.silent {
            return Ok(());
        }
        let mut out = out();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// How it went, for a program.
    pub(super) fn json(&self, took: Duration) -> Value {
        json!({
            "schema": "exeat-demo/1",
            "version": env!("CARGO_PKG_VERSION"),
            "seconds": took.as_secs_f64(),
            "steps": self.steps,
            "failed": self.failed,
        })
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.coloured { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Breaks a line at spaces, where it has any, so that no piece is longer than `room`.
fn fold(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((end, next)) = rest.char_indices().nth(room) {
        // A space before the first word is no place to break.
        let space = rest[..end + next.len_utf8()].rfind(' ').filter(|at| !rest[..*at].trim().is_empty());
        let at = space.unwrap_or(end);
        lines.push(rest[..at].trim_end().to_owned());
        rest = rest[at..].trim_start();
    }
    lines.push(rest.to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_breaks_at_spaces_and_loses_nothing() {
        assert_eq!(fold("one two three", 8), ["one two", "three"]);
        assert_eq!(fold("  äöüäöüäöü x", 6), ["  äöüä", "öüäöü", "x"]);
        assert_eq!(fold("short", usize::MAX), ["short"]);
        assert_eq!(fold("", 5), [""]);
    }
}
