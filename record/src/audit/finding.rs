//! What can be wrong with a log.
//!
//! Enters: nothing. Leaves: names of faults, which programs compare, and sentences, which people read.

use serde::Serialize;

use crate::note::Unsigned;
use crate::read::Position;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Of what kind.
    pub fault: Fault,
    /// In plain words.
    pub says: String,
    /// The number of the record, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// Where that begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Position>,
}

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A record was changed, removed, moved or put in: the next one does not follow from it.
    Changed,
    /// The same, and all that follows was made to fit; but not what was signed.
    Resigned,
    /// Records at the end are gone that were signed for.
    Cut,
    /// There are records behind the last one.
    Appended,
    /// A file of the log is gone.
    SegmentMissing,
    /// A file of it cannot be read, or a record.
    Unreadable,
    /// The whole log is gone.
    LogMissing,
    /// What the broker keeps of it is gone, or older than it was.
    CountMissing,
    /// What lies beside it of signatures is gone, or ends before the last.
    CheckpointsMissing,
    /// It belongs to another log.
    Foreign,
    /// Two logs of one length were signed for.
    Forked,
    /// There is no signature at all.
    Unsigned,
    /// A signature is not what it says.
    Forged,
    /// Only a key that is not trusted has signed.
    UnknownKey,
    /// Not a signed note, or one that says nothing.
    Malformed,
    /// Its worker is not on the broker's roll.
    NotOnRoll,
    /// The roll itself was changed.
    RollBroken,
}

impl Fault {
    /// That of a note which cannot be believed.
    pub(super) fn of(unsigned: &Unsigned) -> Fault {
        match unsigned {
            Unsigned::Malformed => Fault::Malformed,
            Unsigned::Unknown { .. } => Fault::UnknownKey,
            Unsigned::Forged { .. } => Fault::Forged,
        }
    }

    /// Whether nothing behind it was looked at.
    pub(super) fn breaks_off(self) -> bool {
        matches!(self, Fault::Changed | Fault::Unreadable | Fault::SegmentMissing)
    }
}
