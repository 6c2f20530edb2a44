//! What a client sends, examined for placeholders, which are swapped in messages of text where that is granted.
//!
//! Enters: parts of its frames. Leaves: the same bytes; or, where placeholders are swapped, messages of text framed and masked anew,
//! in one frame as long as they are short. Never: a placeholder.

use std::sync::Arc;

use broker::Lease;

use super::End;
use super::frames::{self, Part};
use crate::limit;
use crate::record::Sent;
use crate::swap::Messages;

pub(super) struct Outward {
    messages: Messages,
    lease: Option<Arc<Lease>>,
    sent: Sent,
    /// What of a message waits to be framed.
    waiting: Vec<u8>,
    /// Whether the message's first frame is still to be written.
    first: bool,
}

impl Outward {
    pub(super) fn new(messages: Messages, lease: Option<Arc<Lease>>, sent: Sent) -> Self {
        Self { messages, lease, sent, waiting: Vec::new(), first: true }
    }

    /// Takes the next part; adds what may be sent on to `out`.
    pub(super) fn push(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), End> {
        if part.control {
            self.messages.control(&part.payload).map_err(End::Misdirected)?;
        } else if let Some(lease) = self.lease.as_deref().filter(|_| part.text && self.messages.plan().is_some()) {
            let swapped = self.messages.text(&part.payload, part.ends, lease.secret.expose());
            let (text, placeholders) = swapped.map_err(End::Misdirected)?;
            self.sent.swapped(placeholders);
            self.waiting.extend_from_slice(&text);
            return self.frame(part.ends, out);
        } else {
            self.messages.other(&part.payload).map_err(End::Misdirected)?;
        }
        out.extend_from_slice(&part.raw);
        Ok(())
    }

    fn frame(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), End> {
        if last || self.waiting.len() > limit::MESSAGE {
            let mut mask = [0; 4];
            let random = aws_lc_rs::rand::fill(&mut mask);
            random.map_err(|_| End::Broke("there are no random bytes for a mask".to_owned()))?;
            frames::text(&self.waiting, (self.first, last), Some(mask), out);
            self.waiting.clear();
            self.first = last;
        }
        Ok(())
    }
}
