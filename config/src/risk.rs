//! What may be wrong with a credential that is written without a mistake: OWASP Non-Human Identities Top 10, 2025.
//!
//! Enters: nothing. Leaves: the risks that files and logs show, by number and title, and findings of them with their places. Never: a
//! finding without what to write instead.

use std::fmt;
use std::str::FromStr;

use crate::agent::{AgentId, CredentialName};
use crate::error::{Malformed, quoted};

/// A risk of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// What nobody needs any more is still there.
    ImproperOffboarding,
    /// More may be done with it than is needed.
    Overprivileged,
    /// It lives longer than it is needed.
    LongLived,
    /// Several share one.
    Reuse,
}

impl Risk {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ImproperOffboarding, Self::Overprivileged, Self::LongLived, Self::Reuse];

    /// Its number in the list of 2025.
    pub fn number(self) -> &'static str {
        match self {
            Self::ImproperOffboarding => "NHI1",
            Self::Overprivileged => "NHI5",
            Self::LongLived => "NHI7",
            Self::Reuse => "NHI9",
        }
    }

    /// Its title there.
    pub fn title(self) -> &'static str {
        match self {
            Self::ImproperOffboarding => "Improper Offboarding",
            Self::Overprivileged => "Overprivileged NHI",
            Self::LongLived => "Long-Lived Secrets",
            Self::Reuse => "NHI Reuse",
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:2025 {}", self.number(), self.title())
    }
}

impl FromStr for Risk {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|risk| risk.number() == text).ok_or_else(|| {
            Malformed::new(
                format!("{} is no risk that `exeat check` finds", quoted(text)),
                "write `NHI1`, `NHI5`, `NHI7` or `NHI9`, as it names them",
            )
        })
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What may come of it.
    pub risk: Risk,
    /// The credential that it is about.
    pub credential: CredentialName,
    /// The agent, where it is about one.
    pub agent: Option<AgentId>,
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Where in the file's structure.
    pub key: String,
    /// What is so.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
    /// Why the file says that it has to be so.
    pub accepted: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { risk, file, line, key, reason, remedy, accepted, .. } = self;
        match accepted {
            None => write!(f, "{file}:{line}: {key}: {risk}: {reason}\n  hint: {remedy}"),
            Some(why) => write!(f, "{file}:{line}: {key}: {risk}, accepted: {reason}\n  accepted: {why}"),
        }
    }
}
