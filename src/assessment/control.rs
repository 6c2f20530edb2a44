//! A control of a list, and what its evidence comes to.
//!
//! Enters: what was looked at for it, each either measured and so, or open. Leaves: *evidenced*, *partly* or *not covered*. Never: a status
//! that is written down anywhere: it follows from what was looked at, and where nothing was measured it is *not covered*.

use std::fmt;

use serde::Serialize;

/// A list of controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum List {
    /// OWASP Non-Human Identities Top 10, 2025.
    OwaspNhi2025,
    /// OWASP Top 10 for Agentic Applications, 2026.
    OwaspAgentic2026,
    /// NIST Cybersecurity Framework 2.0, PR.AA.
    NistCsf2PrAa,
}

impl List {
    /// All, in the order in which they are told.
    pub const ALL: [List; 3] = [List::OwaspNhi2025, List::OwaspAgentic2026, List::NistCsf2PrAa];

    /// What it is called.
    pub fn title(self) -> &'static str {
        match self {
            List::OwaspNhi2025 => "OWASP Non-Human Identities Top 10, 2025",
            List::OwaspAgentic2026 => "OWASP Top 10 for Agentic Applications, 2026",
            List::NistCsf2PrAa => "NIST CSF 2.0, PR.AA: Identity Management, Authentication, and Access Control",
        }
    }
}

/// What the evidence comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All that was looked at was measured, and is so.
    Evidenced,
    /// Some of it was; the rest is open.
    Partly,
    /// None of it was.
    NotCovered,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Evidenced => "evidenced",
            Status::Partly => "partly",
            Status::NotCovered => "not covered",
        })
    }
}

/// Something that was measured, and is as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Point {
    /// What is so, with its numbers.
    pub says: String,
    /// Where that was read: the file, and the record.
    pub source: String,
    /// By what it can be read again.
    pub command: String,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It was measured and is so.
    Met(Point),
    /// It was not measured, or is not so; in words that say what would cover it.
    Open(String),
}

/// A control, and what there is of it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Assessed {
    /// The list that it is of.
    pub list: List,
    /// Its number there.
    pub id: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What is asked of exeat and of the agent's configuration for it, in this project's words.
    pub asks: &'static str,
    /// What the evidence comes to.
    pub status: Status,
    /// The evidence.
    pub evidence: Vec<Point>,
    /// What is open, and what would cover it.
    pub open: Vec<String>,
}

impl Assessed {
    /// By what was looked at.
    pub fn new(list: List, id: &'static str, name: &'static str, asks: &'static str, looks: Vec<Look>) -> Assessed {
        let (mut evidence, mut open) = (Vec::new(), Vec::new());
        for look in looks {
            match look {
                Look::Met(point) => evidence.push(point),
                Look::Open(what) => open.push(what),
            }
        }
        let status = match (evidence.is_empty(), open.is_empty()) {
            (true, _) => Status::NotCovered,
            (false, true) => Status::Evidenced,
            (false, false) => Status::Partly,
        };
        Assessed { list, id, name, asks, status, evidence, open }
    }
}
