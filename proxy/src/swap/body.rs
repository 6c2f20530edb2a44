//! The body of a request, examined chunk by chunk.
//!
//! Enters: the chunks, in order. Leaves: nothing, or whose placeholder is in them. Never: more kept than the longest
//! spelling of a placeholder.

use super::search::{Seen, unescape};
use super::{Misdirected, Place, Swap};

/// Finds placeholders across the borders of chunks. How much of a body is examined is for the caller to say.
#[derive(Debug)]
pub struct BodyWatch {
    swap: Swap,
    /// The end of what came, as it came.
    raw: Vec<u8>,
    /// The end of the same with its escapes undone.
    plain: Vec<u8>,
    /// The beginning of an escape.
    cut: Vec<u8>,
}

impl BodyWatch {
    pub(super) fn new(swap: Swap) -> Self {
        Self { swap, raw: Vec::new(), plain: Vec::new(), cut: Vec::new() }
    }

    /// Examines the next chunk. Nothing of it may go upstream before.
    ///
    /// # Errors
    /// When a placeholder ends in it.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Misdirected> {
        let search = &self.swap.0;
        let kept = search.longest.saturating_sub(1);
        let look = |window: &mut Vec<u8>| -> Option<Seen> {
            let seen = search.seen(window).next();
            window.drain(..window.len().saturating_sub(kept));
            seen
        };
        self.raw.extend_from_slice(chunk);
        self.cut.extend_from_slice(chunk);
        let rest = unescape(&self.cut, &mut self.plain);
        self.cut.drain(..rest);
        match look(&mut self.raw).or_else(|| look(&mut self.plain)) {
            Some(seen) => Err(self.swap.out_of_place(seen, Place::Body)),
            None => Ok(()),
        }
    }

    /// Examines what is left at the end: an escape that was none.
    ///
    /// # Errors
    /// When that makes a placeholder.
    pub fn finish(mut self) -> Result<(), Misdirected> {
        self.plain.append(&mut self.cut);
        match self.swap.0.seen(&self.plain).next() {
            Some(seen) => Err(self.swap.out_of_place(seen, Place::Body)),
            None => Ok(()),
        }
    }
}
