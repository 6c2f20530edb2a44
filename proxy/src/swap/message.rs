//! The messages of a WebSocket, in which placeholders are swapped where that is granted.
//!
//! Enters: the payload of a client's frames, in order. Leaves: the same, that of text with the credential in the places of its
//! placeholders; or whose placeholder is where it may not be. Never: a placeholder.

use bytes::Bytes;

use super::finder::Finder;
use super::syntax::Syntax;
use super::{BodyWatch, Misdirected, Plan};

/// Examines all that a client sends on one WebSocket.
#[derive(Debug)]
pub struct Messages {
    plan: Option<Plan>,
    watch: BodyWatch,
    /// What control frames carry is not part of the message around them.
    control: BodyWatch,
    /// The message under way, once it is clear how it is written.
    reading: Option<(Syntax, Finder)>,
}

impl Messages {
    pub(super) fn new(plan: Option<Plan>, text: BodyWatch, other: BodyWatch) -> Self {
        Self { plan, watch: text, control: other, reading: None }
    }

    /// The credential that may be put into messages of text.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// Examines the next piece of a message that passes as it is.
    ///
    /// # Errors
    /// When a placeholder ends in it.
    pub fn other(&mut self, piece: &[u8]) -> Result<(), Misdirected> {
        self.watch.push(piece)
    }

    /// Examines the next piece of a control frame.
    ///
    /// # Errors
    /// When a placeholder ends in it.
    pub fn control(&mut self, piece: &[u8]) -> Result<(), Misdirected> {
        self.control.push(piece)
    }

    /// Swaps the placeholders in the next piece of a message of text, and says how many. JSON is told by how the message begins.
    ///
    /// # Errors
    /// When a placeholder that may not be swapped ends in it.
    pub fn text(&mut self, piece: &[u8], ends: bool, secret: &str) -> Result<(Bytes, usize), Misdirected> {
        let Some(plan) = &self.plan else { return Ok((Bytes::copy_from_slice(piece), 0)) };
        if self.reading.is_none()
            && let Some(syntax) = Syntax::of_text(piece)
        {
            self.reading = Some((syntax, Finder::new(syntax, plan.placeholder().value())));
        }
        // White space before the message begins.
        let Some((syntax, finder)) = &mut self.reading else { return Ok((Bytes::copy_from_slice(piece), 0)) };
        let mut gapped = finder.push(piece);
        if ends {
            gapped.append(&finder.finish());
        }
        self.watch.gapped(&gapped)?;
        let (gaps, spelt) = (gapped.gaps(), syntax.spell(secret));
        if ends {
            self.reading = None;
        }
        Ok((gapped.filled(&spelt), gaps))
    }
}
