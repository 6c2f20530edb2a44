//! What an upstream sends, examined for credentials.
//!
//! Enters: parts of its frames. Leaves: the same bytes, as soon as it is clear that no credential begins in them. Never: even the
//! beginning of one; it ends the connection instead, for a message cannot be taken back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::End;
use super::frames::Part;
use crate::scrub::{BodyScrub, Scrub};

/// What may be the beginning of a credential is held back; this much of one is too short to tell, and passes with the message
/// that it ends. Otherwise a message that happens to end like a credential begins would wait for the next.
const TELLING: u64 = 8;
/// Held back at most, until it is clear what it is.
const HELD: usize = 1024 * 1024;

pub(super) struct Inward {
    count: Arc<AtomicU64>,
    messages: Seen,
    /// Control frames come in between; what is in them is not part of a message.
    control: Seen,
    waiting: Vec<u8>,
}

struct Seen {
    body: BodyScrub,
    held: u64,
    clear: bool,
}

impl Inward {
    pub(super) fn new(scrub: &Scrub) -> Self {
        let count = Arc::default();
        let seen = || Seen { body: scrub.body(Arc::clone(&count)), held: 0, clear: true };
        Self { messages: seen(), control: seen(), waiting: Vec::new(), count: Arc::clone(&count) }
    }

    /// Takes the next part; adds what may be sent on to `out`.
    pub(super) fn push(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), End> {
        let seen = if part.control { &mut self.control } else { &mut self.messages };
        let clear = seen.body.push(Bytes::copy_from_slice(&part.payload));
        if self.count.load(Ordering::Relaxed) > 0 {
            let reason = "the upstream sent a credential, which does not enter the sandbox";
            return Err(End::Broke(reason.to_owned()));
        }
        // Nothing was replaced, so what did not come out is what is held.
        seen.held = seen.held + part.payload.len() as u64 - clear.len() as u64;
        seen.clear = seen.held == 0 || part.ends && seen.held < TELLING;
        self.waiting.extend_from_slice(&part.raw);
        if self.messages.clear && self.control.clear {
            out.append(&mut self.waiting);
        } else if self.waiting.len() > HELD {
            return Err(End::Broke("what the upstream sends looks like a credential without end".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cret-of-the-upstream";

    fn part(payload: &str, control: bool, ends: bool) -> Part {
        Part { raw: payload.into(), payload: payload.into(), control, text: !control, ends }
    }

    #[test]
    fn a_credential_around_a_control_frame_is_seen_before_it_begins() {
        let mut inward = Inward::new(&Scrub::new([(SECRET, "exeat_1")]));
        let mut out = Vec::new();
        for (payload, control) in [("it is ", false), (&SECRET[..9], false), ("ping", true)] {
            assert!(inward.push(&part(payload, control, control), &mut out).is_ok());
        }
        assert_eq!(out, b"it is ");
        assert!(matches!(inward.push(&part(&SECRET[9..], false, true), &mut out), Err(End::Broke(_))));
        assert_eq!(out, b"it is ");
    }

    #[test]
    fn what_turns_out_to_be_none_passes_in_its_order() {
        let mut inward = Inward::new(&Scrub::new([(SECRET, "exeat_1")]));
        let mut out = Vec::new();
        for (payload, control, ends) in
            [(&SECRET[..9], false, false), ("ping", true, true), (" no", false, true), ("s3", false, true)]
        {
            assert!(inward.push(&part(payload, control, ends), &mut out).is_ok());
        }
        assert_eq!(out, format!("{}ping nos3", &SECRET[..9]).as_bytes());
    }
}
