//! What of a request's body is kept, so that it can be sent once more.
//!
//! Enters: a body as it passes, without its placeholders. Leaves: the whole of it, with another credential in their place. Never: a
//! credential, more than a bound, or anything of a body that has not passed to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::Lease;
use http::HeaderMap;

use super::body::{Upload, full};
use crate::limit;
use crate::swap::{Gapped, Spelling};
use crate::upstream::Body;

/// What a place for a credential counts for: few are longer.
const GAP: usize = 256;

/// The body of one call; nothing, where it carries no credential that could be refused. Clones are of one body.
#[derive(Clone, Default)]
pub(super) struct Kept(Option<Arc<Mutex<Inner>>>);

struct Inner {
    so_far: Gapped,
    /// How a credential is written in it, where one may be.
    spelling: Option<Spelling>,
    trailers: Option<HeaderMap>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Passing,
    Whole,
    TooLong,
}

impl Kept {
    /// To be filled as the body passes.
    pub(super) fn passing(spelling: Option<Spelling>) -> Self {
        let inner = Inner { so_far: Gapped::default(), spelling, trailers: None, state: State::Passing };
        Self(Some(Arc::new(Mutex::new(inner))))
    }

    /// One that is there already.
    pub(super) fn whole(so_far: &Gapped, spelling: Option<Spelling>, trailers: Option<&HeaderMap>) -> Self {
        let kept = Self::passing(spelling);
        kept.piece(so_far);
        kept.ends(trailers);
        kept
    }

    /// The next piece has passed, with the gaps that it has.
    pub(super) fn piece(&self, piece: &Gapped) {
        self.add(cost(piece), |so_far| so_far.append(piece));
    }

    /// The same for one in which no placeholder may be.
    pub(super) fn text(&self, text: &[u8]) {
        self.add(text.len(), |so_far| so_far.append(&Gapped::of(text)));
    }

    /// What is not kept is not copied either.
    fn add(&self, length: usize, add: impl FnOnce(&mut Gapped)) {
        let Some(mut inner) = self.inner() else { return };
        if inner.state == State::Passing && cost(&inner.so_far) + length <= limit::KEPT_BODY {
            add(&mut inner.so_far);
        } else {
            (inner.so_far, inner.state) = (Gapped::default(), State::TooLong);
        }
    }

    /// All has passed.
    pub(super) fn ends(&self, trailers: Option<&HeaderMap>) {
        if let Some(mut inner) = self.inner().filter(|inner| inner.state == State::Passing) {
            (inner.trailers, inner.state) = (trailers.cloned(), State::Whole);
        }
    }

    /// Whether it can be sent once more.
    pub(super) fn is_whole(&self) -> bool {
        self.inner().is_some_and(|inner| inner.state == State::Whole)
    }

    /// The body once more, with this lease's credential; `None` where not all of it was kept.
    pub(super) fn again(&self, lease: &Lease, upload: &Upload) -> Option<Body> {
        let inner = self.inner().filter(|inner| inner.state == State::Whole)?;
        let spelt = inner.spelling.map(|spelling| spelling.spell(lease.secret.expose()));
        if inner.so_far.gaps() > 0 && spelt.is_none() {
            return None;
        }
        upload.sent().swapped(inner.so_far.gaps());
        let bytes = inner.so_far.clone().filled(spelt.as_deref().map_or(&[], Vec::as_slice));
        Some(full(bytes, inner.trailers.clone(), upload))
    }

    fn inner(&self) -> Option<MutexGuard<'_, Inner>> {
        self.0.as_ref().map(|inner| inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What keeping a piece costs.
fn cost(piece: &Gapped) -> usize {
    piece.len() + piece.gaps() * GAP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[usize]) -> Kept {
        let kept = Kept::passing(None);
        for length in pieces {
            kept.text(&vec![b'x'; *length]);
        }
        kept.ends(None);
        kept
    }

    #[test]
    fn what_is_longer_than_the_bound_is_not_kept_whatever_comes_after_it() {
        assert!(kept(&[limit::KEPT_BODY - 1, 1]).is_whole() && kept(&[]).is_whole());
        for pieces in [&[limit::KEPT_BODY, 1][..], &[limit::KEPT_BODY + 1], &[limit::KEPT_BODY, 1, 1]] {
            let kept = kept(pieces);
            assert!(!kept.is_whole());
            assert_eq!(kept.inner().unwrap().so_far.len(), 0, "and takes no room");
        }
    }

    #[test]
    fn places_for_a_credential_count_as_well() {
        let mut gap = Gapped::default();
        gap.gap();
        let kept = Kept::passing(None);
        for _ in 0..limit::KEPT_BODY / GAP {
            kept.piece(&gap);
        }
        kept.piece(&gap);
        kept.ends(None);
        assert!(!kept.is_whole());
    }

    #[test]
    fn what_has_not_passed_to_its_end_is_not_sent_once_more() {
        let kept = Kept::passing(None);
        kept.text(b"half");
        assert!(!kept.is_whole() && !Kept::default().is_whole());
    }
}
