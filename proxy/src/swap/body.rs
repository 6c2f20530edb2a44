//! The body of a request, chunk by chunk.
//!
//! Enters: the chunks, in order. Leaves: of a [`BodyWatch`] nothing, of a [`BodySwap`] the text with gaps where its placeholders
//! stood; or whose placeholder is where it may not be. Never: more kept than the longest spelling of a placeholder.

use zeroize::Zeroizing;

use super::finder::Finder;
use super::gaps::Gapped;
use super::search::{Seen, Spelt, unescape};
use super::syntax::Syntax;
use super::{Misdirected, Place, Plan, Swap, Unswappable, Why, digest};

/// Finds placeholders across the borders of chunks. How much of a body is examined is for the caller to say.
#[derive(Debug, Clone)]
pub struct BodyWatch {
    swap: Swap,
    place: Place,
    /// For each placeholder, why it may not be here.
    whys: Vec<Why>,
    /// The end of what came, as it came.
    raw: Vec<u8>,
    /// The end of the same with its escapes undone.
    plain: Vec<u8>,
    /// The beginning of an escape.
    cut: Vec<u8>,
}

impl BodyWatch {
    pub(super) fn new(swap: Swap, place: Place, whys: Vec<Why>) -> Self {
        Self { swap, place, whys, raw: Vec::new(), plain: Vec::new(), cut: Vec::new() }
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
        match (look(&mut self.raw), look(&mut self.plain)) {
            (None, None) => Ok(()),
            (Some(seen), _) => Err(self.caught(seen)),
            (None, Some(seen)) => Err(self.caught(Seen { spelt: Spelt::Otherwise, ..seen })),
        }
    }

    /// Examines what is left at the end: an escape that was none.
    ///
    /// # Errors
    /// When that makes a placeholder.
    pub fn finish(&mut self) -> Result<(), Misdirected> {
        self.plain.append(&mut self.cut);
        match self.swap.0.seen(&self.plain).next() {
            Some(seen) => Err(self.caught(Seen { spelt: Spelt::Otherwise, ..seen })),
            None => Ok(()),
        }
    }

    /// Examines what is left of a chunk.
    pub(super) fn gapped(&mut self, gapped: &Gapped) -> Result<(), Misdirected> {
        for (index, part) in gapped.parts().enumerate() {
            if index > 0 {
                // What stands on both sides of a gap does not stand together.
                self.push(b" ")?;
            }
            self.push(part)?;
        }
        Ok(())
    }

    fn caught(&self, Seen { entry, spelt }: Seen) -> Misdirected {
        let why = match self.whys[entry] {
            Why::Spelling if spelt == Spelt::Plain => Why::Body(Unswappable::Bare),
            why => why,
        };
        self.swap.misdirected(entry, self.place.clone(), why)
    }
}

/// How a credential is written in one body.
#[derive(Debug, Clone, Copy)]
pub struct Spelling(Syntax);

impl Spelling {
    /// A credential, so written.
    pub fn spell(self, secret: &str) -> Zeroizing<Vec<u8>> {
        self.0.spell(secret)
    }
}

/// Takes one credential's placeholders out of a body, and examines what is left.
#[derive(Debug)]
pub struct BodySwap {
    plan: Plan,
    syntax: Syntax,
    finder: Finder,
    watch: BodyWatch,
    found: bool,
}

impl BodySwap {
    pub(super) fn new(plan: Plan, syntax: Syntax, watch: BodyWatch) -> Self {
        let finder = Finder::new(syntax, plan.placeholder().value());
        Self { plan, syntax, finder, watch, found: false }
    }

    /// The credential whose placeholders these are.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The credential as it is written in this body.
    pub fn spell(&self, secret: &str) -> Zeroizing<Vec<u8>> {
        self.syntax.spell(secret)
    }

    /// How any credential is written in it.
    pub fn spelling(&self) -> Spelling {
        Spelling(self.syntax)
    }

    /// Takes the next chunk; gives what may go upstream.
    ///
    /// # Errors
    /// When a placeholder that may not be swapped ends in it.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Gapped, Misdirected> {
        let gapped = self.finder.push(chunk);
        self.found |= gapped.gaps() > 0;
        self.watch.gapped(&gapped)?;
        Ok(gapped)
    }

    /// Gives what was held back.
    ///
    /// # Errors
    /// As [`BodySwap::push`].
    pub fn finish(&mut self) -> Result<Gapped, Misdirected> {
        let gapped = self.finder.finish();
        self.found |= gapped.gaps() > 0;
        self.watch.gapped(&gapped)?;
        self.watch.finish()?;
        Ok(gapped)
    }

    /// Examines the trailers of the same body.
    ///
    /// # Errors
    /// For a placeholder in them, or a digest of a body that is now another.
    pub fn trailers(&self, trailers: &http::HeaderMap) -> Result<(), Misdirected> {
        self.watch.swap.trailers(trailers)?;
        if self.found && digest::is_among(trailers) {
            let credential = self.plan.credential().clone();
            return Err(Misdirected { credential, place: Place::Body, why: Why::Body(Unswappable::Digest) });
        }
        Ok(())
    }
}
