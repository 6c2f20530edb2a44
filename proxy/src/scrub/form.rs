//! One spelling of a credential, and the like spelling of its placeholder.
//!
//! Enters: a credential and its placeholder. Leaves: pairs of texts. Never: a pair so short that it would hit by chance.

use zeroize::Zeroizing;

use crate::spelling::{ESCAPINGS, Edge, FULL_ESCAPINGS, alignments};

/// Six bytes' worth of base64: what is shorter turns up by chance.
const SHORTEST_BASE64: usize = 8;

/// What is replaced by what.
pub(super) struct Form {
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) with: Vec<u8>,
    /// In base64, the character before depends on the first byte of either.
    edges: Option<(Edge, Edge)>,
}

/// Adds every spelling of `secret` that is not among `forms` yet.
pub(super) fn add(secret: &[u8], placeholder: &[u8], forms: &mut Vec<Form>) {
    if secret.is_empty() || secret == placeholder {
        return;
    }
    for way in ESCAPINGS.iter().chain(&FULL_ESCAPINGS) {
        push(way.spell(secret), way.spell(placeholder).to_vec(), None, forms);
    }
    // Padded so that what follows it in the same base64 still decodes.
    let mut filled = placeholder.to_vec();
    while filled.len() % 3 != secret.len() % 3 {
        filled.push(b'_');
    }
    for base64 in alignments().filter(|base64| base64.inner(secret).len() >= SHORTEST_BASE64) {
        let edges = base64.edge(secret).zip(base64.edge(placeholder));
        let pairs =
            [(base64.inner(secret), base64.inner(&filled)), (base64.ending(secret), base64.ending(placeholder))];
        for (text, with) in pairs.iter().filter(|(text, _)| *text == pairs[0].0 || text.ends_with(b"=")) {
            // PHP escapes the slash in JSON, a query the plus.
            for way in &ESCAPINGS {
                push(way.spell(text), way.spell(with).to_vec(), edges, forms);
            }
        }
    }
}

fn push(text: Zeroizing<Vec<u8>>, with: Vec<u8>, edges: Option<(Edge, Edge)>, forms: &mut Vec<Form>) {
    // Two alphabets mostly spell alike; an edge may tell them apart all the same.
    if !forms.iter().any(|form| form.text == text && form.edges == edges) {
        forms.push(Form { text, with, edges });
    }
}

impl Form {
    /// What the character before becomes, where it belongs to this form.
    pub(super) fn edge(&self, before: u8) -> Option<u8> {
        self.edges.filter(|(secret, _)| secret.fits(before)).map(|(_, placeholder)| placeholder.put(before))
    }

    /// Each pair of bytes that [`Form::is_begun_by`] takes for a beginning.
    pub(super) fn openings(&self, mut each: impl FnMut(u8, u8)) {
        if let [first, second, ..] = self.text[..] {
            each(first, second);
        }
        let (Some((secret, _)), Some(&first)) = (self.edges, self.text.first()) else { return };
        (0..=u8::MAX).filter(|&before| secret.fits(before)).for_each(|before| each(before, first));
    }

    /// Whether all of `end` is a beginning of this form, and there is more to it.
    pub(super) fn is_begun_by(&self, end: &[u8]) -> bool {
        let begun = |end: &[u8]| end.len() < self.text.len() && self.text.starts_with(end);
        match (end, self.edges) {
            (_, _) if begun(end) => true,
            ([before, rest @ ..], Some((secret, _))) => secret.fits(*before) && begun(rest),
            _ => false,
        }
    }
}
