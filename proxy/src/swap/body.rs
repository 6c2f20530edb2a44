//! The body of a request, chunk by chunk.
//!
//! Enters: the chunks, in order. Leaves: of a [`BodyWatch`] nothing, of a [`BodySwap`] the text with gaps where its placeholders
//! stood; or whose placeholder is where it may not be. Never: more kept than the longest spelling of a placeholder.

use zeroize::Zeroizing;

use super::finder::Finder;
use super::gaps::Gapped;
use super::search::{Seen, Spelt};
use super::syntax::Syntax;
use super::unescape::unescape;
use super::views::Views;
use super::{Misdirected, Place, Plan, Swap, Unswappable, Why, digest};

/// Finds placeholders across the borders of chunks. How much of a body is examined is for the caller to say.
#[derive(Debug, Clone)]
pub struct BodyWatch {
    swap: Swap,
    place: Place,
    /// For each placeholder, why it may not be here.
    whys: Vec<Why>,
    views: Views,
}

impl BodyWatch {
    pub(super) fn new(swap: Swap, place: Place, whys: Vec<Why>) -> Self {
        Self { swap, place, whys, views: Views::default() }
    }

    /// Examines the next chunk. Nothing of it may go upstream before.
    ///
    /// # Errors
    /// When a placeholder ends in it.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Misdirected> {
        match self.views.without_any(&self.swap.0, chunk) {
            Some(views) => {
                self.views = views;
                Ok(())
            }
            None => self.examine(chunk),
        }
    }

    /// Whose placeholder it is, in a chunk that has one.
    fn examine(&mut self, chunk: &[u8]) -> Result<(), Misdirected> {
        let search = &self.swap.0;
        let kept = search.longest.saturating_sub(1);
        let look = |window: &mut Vec<u8>| -> Option<Seen> {
            let seen = search.seen(window).next();
            window.drain(..window.len().saturating_sub(kept));
            seen
        };
        let Views { raw, plain, cut } = &mut self.views;
        raw.extend_from_slice(chunk);
        cut.extend_from_slice(chunk);
        let rest = unescape(cut, plain);
        cut.drain(..rest);
        match (look(raw), look(plain)) {
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
        let Views { plain, cut, .. } = &mut self.views;
        plain.append(cut);
        let seen = self.swap.0.seen(plain).next();
        match seen {
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

#[cfg(test)]
mod tests {
    use config::{Grant, Placeholder, Places};
    use proptest::prelude::*;

    use super::*;
    use crate::swap::oracle;

    const PLACEHOLDERS: [(&str, &str); 3] = [("one", "ghs_x9Zq+/3v"), ("two", "glpat-7Wk"), ("three", "Aa0")];

    fn swap() -> Swap {
        let grant = |(name, placeholder): (&str, &str)| {
            let to = vec!["api.example.com".parse().unwrap()];
            let grant = Grant::new(name.parse().unwrap(), to, Places::default(), None);
            (grant, Placeholder::from_value(placeholder.to_owned()))
        };
        Swap::new(PLACEHOLDERS.map(grant).to_vec())
    }

    /// Placeholders in every spelling, what they begin with, escapes and what looks like them, and long texts without any.
    fn piece() -> impl Strategy<Value = String> {
        let placeholder = (0..PLACEHOLDERS.len()).prop_map(|entry| PLACEHOLDERS[entry].1.to_owned());
        let escaped = (placeholder.clone(), any::<u16>(), any::<bool>()).prop_map(|(text, which, json)| {
            let spelt = text.bytes().enumerate().map(|(at, byte)| match which >> (at % 16) & 1 {
                0 => char::from(byte).to_string(),
                _ if json => format!("\\u00{byte:02x}"),
                _ => format!("%{byte:02X}"),
            });
            spelt.collect::<String>()
        });
        prop_oneof![
            4 => "[ -~]{0,40}",
            2 => (1_usize..3000).prop_map(|length| "no such thing. ".chars().cycle().take(length).collect()),
            2 => "(%[0-9a-f]{0,2}|\\\\u[0-9a-f]{0,4}|\\\\[nu/\"\\\\]){1,6}",
            1 => placeholder.clone(),
            1 => placeholder.clone().prop_map(|text| text.to_uppercase()),
            1 => (placeholder, 1_usize..8).prop_map(|(text, length)| text[..length.min(text.len())].to_owned()),
            1 => escaped,
        ]
    }

    #[test]
    fn a_placeholder_is_found_wherever_it_is_cut() {
        for (_, placeholder) in PLACEHOLDERS {
            for text in [placeholder.to_owned(), placeholder.bytes().map(|byte| format!("%{byte:02x}")).collect()] {
                for cut in 1..text.len() {
                    let mut watch = BodyWatch::new(swap(), Place::Body, vec![Why::Spelling; PLACEHOLDERS.len()]);
                    assert!(watch.push(&text.as_bytes()[..cut]).is_ok());
                    assert!(watch.push(&text.as_bytes()[cut..]).is_err(), "{text} {cut}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_watch_finds_what_one_finds_who_looks_at_every_byte(
            pieces in proptest::collection::vec(piece(), 0..12),
            cuts in proptest::collection::vec(prop_oneof![1_usize..12, 1_usize..9000], 1..6),
        ) {
            let (swap, body) = (swap(), pieces.concat().into_bytes());
            let (mut chunks, mut rest, mut cuts) = (Vec::new(), &body[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, left) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                chunks.push(chunk);
                rest = left;
            }
            let mut watch = BodyWatch::new(swap.clone(), Place::Body, vec![Why::Spelling; PLACEHOLDERS.len()]);
            let mut found: Vec<_> = chunks.iter().map(|chunk| watch.push(chunk)).collect();
            found.push(watch.finish());
            let expected = oracle::watched(&swap.0, chunks).into_iter().map(|seen| {
                let (entry, spelt) = seen?;
                Some((PLACEHOLDERS[entry].0, if spelt == Spelt::Plain { Why::Body(Unswappable::Bare) } else { Why::Spelling }))
            });
            let found = found.iter().map(|found| found.as_ref().err().map(|told| (told.credential.as_str(), told.why)));
            let (found, expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
            // Behind the first one nothing goes upstream, and nothing is asked.
            let asked = expected.iter().position(Option::is_some).map_or(expected.len(), |first| first + 1);
            prop_assert_eq!(&found[..asked], &expected[..asked]);
        }
    }
}
