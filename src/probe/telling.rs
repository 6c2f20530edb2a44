//! The findings, for a person or for a pipeline.
//!
//! Enters: all findings. Leaves: a line for each, by group, or one JSON document; and how many there are of each verdict. Never: a control
//! character that came from elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::finding::{Finding, Verdict};
use crate::plain::plain;

/// Changes when a field changes its meaning or goes; fields may be added.
const SCHEMA: &str = "exeat-probe/1";

/// What a pipeline gets.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'static str,
    agent: &'a str,
    worker: &'a str,
    policy: &'a str,
    seconds: f64,
    held: usize,
    broke: usize,
    not_applicable: usize,
    findings: &'a [Finding],
}

/// Whose findings these are.
pub(super) struct Told<'a> {
    pub(super) agent: &'a str,
    pub(super) worker: &'a str,
    pub(super) policy: &'a str,
    pub(super) took: Duration,
    pub(super) findings: &'a [Finding],
}

impl Told<'_> {
    fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// Whether any wall did not hold.
    pub(super) fn broke(&self) -> bool {
        self.count(Verdict::Broke) > 0
    }

    /// One JSON document.
    pub(super) fn json(&self, out: &mut impl Write) -> io::Result<()> {
        let document = Document {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            agent: self.agent,
            worker: self.worker,
            policy: self.policy,
            seconds: self.took.as_secs_f64(),
            held: self.count(Verdict::Held),
            broke: self.count(Verdict::Broke),
            not_applicable: self.count(Verdict::NotApplicable),
            findings: self.findings,
        };
        serde_json::to_writer_pretty(&mut *out, &document)?;
        writeln!(out)
    }

    /// A line for each finding, and one at the end.
    pub(super) fn text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "exeat probe: agent {}, worker {}", self.agent, self.worker)?;
        let width = self.findings.iter().map(|finding| finding.name().len()).max().unwrap_or_default();
        let mut group = "";
        for finding in self.findings {
            if finding.group() != group {
                group = finding.group();
                writeln!(out, "\n{group}")?;
            }
            let Finding { verdict, tried, seen, .. } = finding;
            writeln!(out, "  {verdict:<14}  {:<width$}  {}: {}", finding.name(), plain(tried), plain(seen))?;
        }
        let (held, broke) = (self.count(Verdict::Held), self.count(Verdict::Broke));
        let (other, took) = (self.count(Verdict::NotApplicable), self.took.as_secs_f64());
        writeln!(out, "\n{held} held, {broke} broke, {other} not applicable, in {took:.1} s")
    }
}
