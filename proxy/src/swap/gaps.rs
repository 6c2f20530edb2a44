//! A piece of a body without the placeholders that were in it.
//!
//! Enters: text, and where in it a placeholder stood. Leaves: the same with a credential in every gap. Never: which credential.

use bytes::Bytes;

/// What came, less its placeholders.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Gapped {
    text: Vec<u8>,
    gaps: Vec<usize>,
}

impl Gapped {
    /// Text in which no placeholder was.
    pub fn of(text: &[u8]) -> Self {
        Self { text: text.to_vec(), gaps: Vec::new() }
    }

    /// Nothing yet, and room for so much.
    pub(super) fn with_room(length: usize) -> Self {
        Self { text: Vec::with_capacity(length), gaps: Vec::new() }
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// A placeholder, behind what is there.
    pub fn gap(&mut self) {
        self.gaps.push(self.text.len());
    }

    /// How many placeholders were in it.
    pub fn gaps(&self) -> usize {
        self.gaps.len()
    }

    /// How long it is without them.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.gaps.is_empty()
    }

    /// The text on both sides of each gap, as if nothing had been between.
    pub fn left(&self) -> &[u8] {
        &self.text
    }

    /// The text between the gaps: one part more than there are gaps.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.gaps.iter().copied());
        let ends = self.gaps.iter().copied().chain([self.text.len()]);
        begins.zip(ends).map(|(begin, end)| &self.text[begin..end])
    }

    /// `with` in every gap.
    pub fn filled(self, with: &[u8]) -> Bytes {
        if self.gaps.is_empty() {
            return self.text.into();
        }
        // Room for all: a buffer that grew would leave a copy of the credential behind.
        let mut filled = Vec::with_capacity(self.text.len() + self.gaps.len() * with.len());
        for (index, part) in self.parts().enumerate() {
            if index > 0 {
                filled.extend_from_slice(with);
            }
            filled.extend_from_slice(part);
        }
        filled.into()
    }

    /// Adds what came after it.
    pub fn append(&mut self, next: &Self) {
        let before = self.text.len();
        self.gaps.extend(next.gaps.iter().map(|gap| before + gap));
        self.text(&next.text);
    }
}
