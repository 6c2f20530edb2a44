//! A body as it came and with its escapes undone, as far back as a placeholder may have begun.
//!
//! Enters: chunks. Leaves: the ends of both views, if there is no placeholder in either. Never: more kept than the longest spelling; a search
//! twice through what is the same in both views, which is nearly everything.

use memchr::memchr2;

use super::search::Search;
use super::unescape::unescape;

/// What is looked at at once: with its copies it stays in a core's first cache.
const BLOCK: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Views {
    /// The end of what came, as it came.
    pub(super) raw: Vec<u8>,
    /// The end of the same with its escapes undone.
    pub(super) plain: Vec<u8>,
    /// The beginning of an escape.
    pub(super) cut: Vec<u8>,
}

impl Views {
    /// Both views behind `chunk`; `None` if there is a placeholder in either.
    pub(super) fn without_any(&self, search: &Search, chunk: &[u8]) -> Option<Self> {
        let kept = search.longest.saturating_sub(1);
        let mut views = self.clone();
        let (mut room, mut undone) = (Vec::new(), Vec::new());
        for block in chunk.chunks(BLOCK) {
            if search.sieve.holds(folded(&mut room, &views.raw, block)) {
                return None;
            }
            let escaped = !views.cut.is_empty() || memchr2(b'%', b'\\', block).is_some();
            let mut differs: &[u8] = &[];
            if escaped {
                undone.clear();
                views.cut.extend_from_slice(block);
                let rest = unescape(&views.cut, &mut undone);
                views.cut.drain(..rest);
                differs = &undone;
            } else if views.raw != views.plain {
                // Behind the last escape both are the same.
                differs = &block[..kept.min(block.len())];
            }
            if !differs.is_empty() && search.sieve.holds(folded(&mut room, &views.plain, differs)) {
                return None;
            }
            keep(&mut views.raw, block, kept);
            keep(&mut views.plain, if escaped { &undone } else { block }, kept);
        }
        Some(views)
    }
}

/// `end` and what came behind it, in lower case.
fn folded<'r>(room: &'r mut Vec<u8>, end: &[u8], more: &[u8]) -> &'r [u8] {
    room.clear();
    room.reserve(end.len() + more.len());
    room.extend_from_slice(end);
    room.extend_from_slice(more);
    room.make_ascii_lowercase();
    room
}

/// The last bytes of `end` and `more`.
fn keep(end: &mut Vec<u8>, more: &[u8], kept: usize) {
    end.extend_from_slice(&more[more.len().saturating_sub(kept)..]);
    end.drain(..end.len().saturating_sub(kept));
}
