//! A text in all its spellings at once: each character that some encoder escapes, as it is or escaped in any way.
//!
//! Enters: a text. Leaves: where it ends in another, however that spells it, or whether it may have begun there. Never: a list of all its
//! spellings, which would double with every such character.

use zeroize::Zeroizing;

use super::escape::{spellings, varies};

pub(super) struct Pattern(Vec<Part>);

enum Part {
    /// What everybody writes as it is.
    Plain(Zeroizing<Vec<u8>>),
    /// One character, in these ways.
    One(char, Vec<(usize, Vec<u8>)>),
}

/// What was found at the beginning of a text.
#[derive(Default)]
pub(super) struct Found {
    /// Where the longest spelling ends, and the ways in which its characters are written.
    pub(super) whole: Option<(usize, Vec<(char, usize)>)>,
    /// Whether all of the text is the beginning of a spelling, and there is more to that.
    pub(super) begun: bool,
}

impl Pattern {
    /// `text` and nothing else.
    pub(super) fn plain(text: &[u8]) -> Self {
        Self(vec![Part::Plain(Zeroizing::new(text.to_vec()))])
    }

    /// `text` in all its spellings. What is no text in it is not escaped.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut parts = Vec::new();
        let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
        for chunk in text.utf8_chunks() {
            for character in chunk.valid().chars() {
                if varies(character) {
                    flush(&mut plain, &mut parts);
                    parts.push(Part::One(character, spellings(character)));
                } else {
                    plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            plain.extend_from_slice(chunk.invalid());
        }
        flush(&mut plain, &mut parts);
        Self(parts)
    }

    /// Looks at the beginning of `text`.
    pub(super) fn find(&self, text: &[u8]) -> Found {
        if let [Part::Plain(plain)] = &self.0[..] {
            let whole = text.starts_with(plain).then(|| (plain.len(), Vec::new()));
            return Found { begun: whole.is_none() && plain.starts_with(text), whole };
        }
        let mut found = Found::default();
        let mut places: Vec<(usize, Vec<(char, usize)>)> = vec![Default::default()];
        for part in &self.0 {
            let mut next: Vec<(usize, Vec<(char, usize)>)> = Vec::new();
            for (at, ways) in places {
                let rest = &text[at..];
                part.each(|way, spelt| {
                    if !rest.starts_with(spelt) {
                        found.begun |= spelt.starts_with(rest);
                    } else if !next.iter().any(|(end, _)| *end == at + spelt.len()) {
                        let mut ways = ways.clone();
                        ways.extend(way.filter(|way| !ways.contains(way)));
                        next.push((at + spelt.len(), ways));
                    }
                });
            }
            places = next;
        }
        found.whole = places.into_iter().max_by_key(|(end, _)| *end);
        found
    }

    /// The beginnings of all spellings, cut to `length`.
    pub(super) fn heads(&self, length: usize) -> Vec<Vec<u8>> {
        let (mut heads, mut shorter) = (Vec::new(), vec![Vec::new()]);
        for part in &self.0 {
            for head in std::mem::take(&mut shorter) {
                part.each(|_, spelt| {
                    let longer = [&head[..], &spelt[..spelt.len().min(length - head.len())]].concat();
                    if longer.len() == length { heads.push(longer) } else { shorter.push(longer) }
                });
            }
        }
        heads.append(&mut shorter);
        heads.sort_unstable();
        heads.dedup();
        heads
    }

    /// How long the longest spelling is.
    pub(super) fn longest(&self) -> usize {
        let longest = |part: &Part| {
            let mut longest = 0;
            part.each(|_, spelt| longest = longest.max(spelt.len()));
            longest
        };
        self.0.iter().map(longest).sum()
    }

    /// Each byte that is in some spelling.
    pub(super) fn bytes(&self, mut each: impl FnMut(u8)) {
        self.0.iter().for_each(|part| part.each(|_, spelt| spelt.iter().copied().for_each(&mut each)));
    }
}

impl Part {
    fn each(&self, mut each: impl FnMut(Option<(char, usize)>, &[u8])) {
        match self {
            Self::Plain(text) => each(None, text),
            Self::One(character, spellings) => {
                spellings.iter().for_each(|(way, spelt)| each(Some((*character, *way)), spelt));
            }
        }
    }
}

/// Makes a part of what is there so far.
fn flush(plain: &mut Zeroizing<Vec<u8>>, parts: &mut Vec<Part>) {
    if !plain.is_empty() {
        parts.push(Part::Plain(plain.clone()));
        plain.clear();
    }
}
