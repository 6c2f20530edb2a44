//! The voice of the demo: few, aligned, plain lines.
//!
//! Enters: what is done, what came back, whether that is as it should be. Leaves: lines on standard output, and the count of
//! what did not behave. Never: colours where nobody asked for them; a control character that came from elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

const BOLD: &str = "1";
const FAINT: &str = "2";
const GREEN: &str = "32";
const RED: &str = "1;31";

/// Tells one demo.
#[derive(Debug)]
pub(super) struct Narrator {
    coloured: bool,
    width: Option<usize>,
    steps: usize,
    /// The steps that did not behave, by number.
    failed: Vec<usize>,
}

impl Narrator {
    /// Looks at the terminal, if there is one.
    pub(super) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let size = terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten();
        let width = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        Self { coloured: terminal && !plain, width, steps: 0, failed: Vec::new() }
    }

    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(BOLD, text);
        say(&text)
    }

    /// A line of a list.
    pub(super) fn fact(&mut self, label: &str, text: &str) -> io::Result<()> {
        let label = self.paint(FAINT, &format!("{label:<22}"));
        say(&format!("    {label} {text}"))
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, title: &str) -> io::Result<()> {
        self.steps += 1;
        let title = self.paint(BOLD, title);
        say(&format!("\n{:>2}  {title}", self.steps))
    }

    /// What was typed.
    pub(super) fn command(&mut self, text: &str) -> io::Result<()> {
        let prompt = self.paint(FAINT, "$");
        say(&format!("    {prompt} {}", printable(text)))
    }

    /// A line of what came back.
    pub(super) fn output(&mut self, text: &str) -> io::Result<()> {
        say(&format!("      {}", printable(text)))
    }

    /// A line of a table, no longer than the terminal is wide.
    pub(super) fn row(&mut self, text: &str) -> io::Result<()> {
        const INDENT: usize = 4;
        let text = printable(text);
        let shown = match self.width {
            Some(width) if text.chars().count() + INDENT > width => {
                text.chars().take(width.saturating_sub(INDENT + 1)).chain(['…']).collect()
            }
            _ => text,
        };
        say(&format!("{:INDENT$}{shown}", ""))
    }

    /// Whether something was as `expected`.
    pub(super) fn verdict(&mut self, behaved: bool, expected: &str) -> io::Result<()> {
        if behaved {
            let mark = self.paint(GREEN, "✓");
            return say(&format!("    {mark} {expected}"));
        }
        if self.failed.last() != Some(&self.steps) {
            self.failed.push(self.steps);
        }
        let line = self.paint(RED, &format!("✗ this was expected and is not so: {}", printable(expected)));
        say(&format!("    {line}"))
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
        say(&format!("\n{line}"))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.coloured { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
