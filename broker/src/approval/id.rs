//! The name of a request for permission, short enough to be typed.
//!
//! Enters: randomness, or what somebody typed. Leaves: eight characters that are not mistaken for one another. It is no secret: who may
//! decide is told by where they come in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const LENGTH: usize = 8;
/// Without those that look like others: a power of two of them, so that each is drawn as often as any other.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The name of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApprovalId([u8; LENGTH]);

/// A text that is no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the id of a request, which has {LENGTH} small letters and digits; `exeat approvals` lists them")]
pub struct NoApprovalId;

impl ApprovalId {
    /// Draws one. 40 bits: of a thousand that are open at once two are the same once in two million times, and then none is drawn twice,
    /// as the desk looks.
    pub(crate) fn draw() -> Result<ApprovalId, aws_lc_rs::error::Unspecified> {
        let mut drawn = [0; LENGTH];
        aws_lc_rs::rand::fill(&mut drawn)?;
        Ok(ApprovalId(drawn.map(|byte| ALPHABET[usize::from(byte) % ALPHABET.len()])))
    }
}

impl FromStr for ApprovalId {
    type Err = NoApprovalId;

    fn from_str(text: &str) -> Result<ApprovalId, NoApprovalId> {
        let bytes: [u8; LENGTH] = text.as_bytes().try_into().map_err(|_| NoApprovalId)?;
        if bytes.iter().all(|byte| ALPHABET.contains(byte)) { Ok(ApprovalId(bytes)) } else { Err(NoApprovalId) }
    }
}

impl TryFrom<String> for ApprovalId {
    type Error = NoApprovalId;

    fn try_from(text: String) -> Result<ApprovalId, NoApprovalId> {
        text.parse()
    }
}

impl From<ApprovalId> for String {
    fn from(id: ApprovalId) -> String {
        id.to_string()
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.0))
    }
}
