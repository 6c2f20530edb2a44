//! What a broker signs for: so many lines, and the root of the tree over them (C2SP tlog-checkpoint).
//!
//! Enters: whose log it is, and its head. Leaves: the text that is signed, and back. Never: a number with two spellings.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;
use crate::log::Head;

/// The name of the file in a worker's directory to which its checkpoints are appended.
pub const FILE_NAME: &str = "checkpoints";

/// The text of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a URL without its scheme.
    pub origin: String,
    /// How long it was, and what it said.
    pub head: Head,
}

/// Where the log of a worker says it comes from.
pub fn origin(domain: &str, worker: &str) -> String {
    format!("{domain}/workers/{worker}")
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { size, root } = &self.head;
        write!(f, "{}\n{size}\n{}\n", self.origin, STANDARD.encode(root.as_bytes()))
    }
}

/// Not a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a checkpoint: an origin, a size and a root, a line each")]
pub struct NotACheckpoint;

impl FromStr for Checkpoint {
    type Err = NotACheckpoint;

    fn from_str(text: &str) -> Result<Checkpoint, NotACheckpoint> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NotACheckpoint);
        };
        let root: [u8; 32] = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or(NotACheckpoint)?;
        let head = Head { size: size.parse().map_err(|_| NotACheckpoint)?, root: Hash::from(root) };
        let checkpoint = Checkpoint { origin: origin.to_owned(), head };
        // One spelling; lines behind these three are not ours.
        if !origin.is_empty() && checkpoint.to_string() == text { Ok(checkpoint) } else { Err(NotACheckpoint) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_checkpoint_has_one_spelling() {
        let text = "exeat.example/workers/x\n17\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
        let checkpoint: Checkpoint = text.parse().unwrap();
        assert_eq!((checkpoint.head.size, checkpoint.to_string().as_str()), (17, text));
        for bad in [
            "".to_owned(),
            text.replace("17", "017"),
            text.replace("17", "+17"),
            text.replace("17", "18446744073709551616"),
            text.replace("AA=", "AB="),
            text.replacen("exeat.example/workers/x", "", 1),
            format!("{text}more\n"),
            text.trim_end().to_owned(),
        ] {
            assert_eq!(bad.parse::<Checkpoint>(), Err(NotACheckpoint), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_so(text in "([a-z/.]{0,5}\n)?[0-9]{0,4}\n([A-Za-z0-9+/]{43}=|.{0,9})\n?") {
            if let Ok(checkpoint) = text.parse::<Checkpoint>() {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }
    }
}
