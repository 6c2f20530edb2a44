//! Answers without credentials: wherever one would show, its placeholder does.
//!
//! Enters: the head, body and trailers of an answer, and the credentials that this worker was given. Leaves: the same with
//! every spelling of each credential (`crate::spelling`) replaced by the like spelling of its placeholder, however the
//! chunks fall. Never: an answer in a content coding that it cannot read; more of a body held back than could become a
//! credential; a length that is no longer true.
//!
//! What it cannot see: a credential in pieces that the upstream keeps apart (an answer per range, so `Range` is not
//! forwarded to where a credential goes), or in a spelling of the upstream's own making (reversed,
//! encrypted, in an archive, some letters in another case, in lines of quoted-printable), or rendered and shorter than 16 bytes.

mod body;
mod escape;
mod form;
mod head;
mod known;
mod pattern;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aho_corasick::{AhoCorasick, Input, MatchKind};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderMap;
use zeroize::Zeroizing;

pub use crate::coding::{Coding, UnreadableCoding, accept};
pub use body::{BodyError, ScrubbedBody};
pub use head::Plan;
pub use known::Known;

use form::Form;

/// As many bytes of each spelling are searched for, and the rest compared: enough to be rare, and the searcher, which cannot
/// be zeroised, holds no more of a credential.
const HEAD: usize = 8;

/// Knows what to replace. Made once per set of credentials; cheap to clone. A worker's own learns what comes later.
#[derive(Clone)]
pub struct Scrub(Arc<Forms>, Option<Live>);

/// What there is to replace at this moment.
type Live = Arc<ArcSwap<Forms>>;

struct Forms {
    heads: AhoCorasick,
    forms: Vec<Form>,
    /// What the name of a field may show of them.
    names: Vec<Zeroizing<Vec<u8>>>,
    longest: usize,
    /// The bytes that occur in some spelling.
    occurring: [bool; 256],
    /// Which two bytes, in this order, begin a spelling: a bit for each of the pairs.
    openings: Box<[u64; 1024]>,
}

impl Scrub {
    /// A scrub of `pairs` of a credential and its placeholder.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut forms: Vec<Form> = Vec::new();
        for (secret, placeholder) in pairs {
            form::add(secret.as_bytes(), placeholder, &mut forms);
            // All but the last letters, and then a placeholder that begins with these, would show it again.
            for length in 1..(secret.len() + 1).saturating_sub(HEAD).min(placeholder.len()) {
                if secret.as_bytes().ends_with(&placeholder.as_bytes()[..length]) {
                    form::add(&secret.as_bytes()[..secret.len() - length], placeholder, &mut forms);
                }
            }
        }
        let mut heads: Vec<Vec<u8>> = forms.iter().flat_map(|form| form.heads(HEAD)).collect();
        heads.sort_unstable();
        heads.dedup();
        let heads = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(heads);
        let heads = heads.expect("a worker's credentials have fewer than 2^28 spellings");
        let longest = forms.iter().map(Form::longest).max().unwrap_or(0);
        let mut occurring = [false; 256];
        let mut openings = Box::new([0; 1024]);
        for form in &forms {
            form.openings(|first, second| {
                let (place, bit) = opening(first, second);
                openings[place] |= bit;
            });
            form.bytes(|byte| occurring[usize::from(byte)] = true);
        }
        let names = forms.iter().flat_map(Form::names).collect();
        Self(Arc::new(Forms { heads, forms, names, longest, occurring, openings }), None)
    }

    /// Whether there is nothing to replace and never will be, so that answers pass as they are.
    pub fn is_empty(&self) -> bool {
        self.0.forms.is_empty() && self.1.is_none()
    }

    /// Learns what came since.
    fn catch_up(&mut self) {
        if let Some(live) = &self.1 {
            let now = live.load();
            if !Arc::ptr_eq(&now, &self.0) {
                self.0 = Arc::clone(&now);
            }
        }
    }

    /// A scrub of one body, which adds what it replaces to `count`.
    pub fn body(&self, count: Arc<AtomicU64>) -> BodyScrub {
        BodyScrub { scrub: self.clone(), held: Bytes::new(), count }
    }

    /// `text` scrubbed as a whole, and how often something was replaced; `None` where nothing was.
    pub fn text(&self, text: &[u8]) -> Option<(Vec<u8>, u64)> {
        let (cuts, _) = self.0.cuts(text, false);
        (!cuts.is_empty()).then(|| (put_together(text, &cuts, text.len()), cuts.len() as u64))
    }
}

impl std::fmt::Debug for Scrub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scrub({} spellings)", self.0.forms.len())
    }
}

/// The scrub of one body, chunk by chunk.
#[derive(Debug)]
pub struct BodyScrub {
    scrub: Scrub,
    /// The end of what came so far, as far as it may be the beginning of a credential.
    held: Bytes,
    count: Arc<AtomicU64>,
}

impl BodyScrub {
    /// Takes a chunk; gives what is certain. A chunk in which nothing could begin a credential is given back as it is.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        self.pass(chunk, true)
    }

    /// Takes the last chunk, and gives all that is left.
    fn last(&mut self, chunk: Bytes) -> Bytes {
        self.pass(chunk, false)
    }

    /// How many credentials were found, here and in the rest of the answer.
    fn found(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Gives what was held back.
    pub fn finish(&mut self) -> Bytes {
        self.last(Bytes::new())
    }

    /// What is held back. None, where it has what would be replaced did nothing follow.
    fn held(&mut self) -> Option<Bytes> {
        self.scrub.catch_up();
        let (cuts, _) = self.scrub.0.cuts(&self.held, false);
        cuts.is_empty().then(|| self.held.clone())
    }

    /// Scrubs the trailers of the same body.
    pub fn trailers(&mut self, trailers: &mut HeaderMap) {
        self.scrub.catch_up();
        self.count.fetch_add(self.scrub.headers(trailers), Ordering::Relaxed);
    }

    fn pass(&mut self, chunk: Bytes, more: bool) -> Bytes {
        self.scrub.catch_up();
        let text = if self.held.is_empty() { chunk } else { [&self.held[..], &chunk].concat().into() };
        let (cuts, certain) = self.scrub.0.cuts(&text, more);
        self.held = text.slice(certain..);
        if cuts.is_empty() {
            return text.slice(..certain);
        }
        self.count.fetch_add(cuts.len() as u64, Ordering::Relaxed);
        // What is held must not keep a buffer with the credential in it alive.
        self.held = Bytes::copy_from_slice(&self.held);
        put_together(&text, &cuts, certain).into()
    }
}

/// `text[start..end]` becomes `with`.
struct Cut {
    start: usize,
    end: usize,
    edge: Option<u8>,
    with: Vec<u8>,
}

/// Where two bytes have their bit.
fn opening(first: u8, second: u8) -> (usize, u64) {
    let pair = usize::from(first) << 8 | usize::from(second);
    (pair / 64, 1 << (pair % 64))
}

fn put_together(text: &[u8], cuts: &[Cut], end: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(end + cuts.iter().map(|cut| cut.with.len()).sum::<usize>());
    let mut done = 0;
    for cut in cuts {
        out.extend_from_slice(&text[done..cut.start]);
        out.extend(cut.edge);
        out.extend_from_slice(&cut.with);
        done = cut.end;
    }
    out.extend_from_slice(&text[done..end]);
    out
}

impl Forms {
    /// What to replace, and up to where `text` is certain. Where `more` may follow, that is the earliest place from which
    /// on all of it may be the beginning of a spelling; what is found before that place stays so, whatever follows.
    fn cuts(&self, text: &[u8], more: bool) -> (Vec<Cut>, usize) {
        let mut cuts = Vec::new();
        let mut done = 0;
        let mut certain = if more { self.open(text, 0) } else { text.len() };
        while let Some(cut) = self.find(text, done) {
            if cut.start >= certain {
                break;
            }
            done = cut.end;
            if done > certain {
                certain = self.open(text, done);
            }
            cuts.push(cut);
        }
        (cuts, certain)
    }

    /// The first spelling at or after `from`, and of those at one place the longest.
    fn find(&self, text: &[u8], from: usize) -> Option<Cut> {
        let mut at = from;
        loop {
            let start = self.heads.find(Input::new(text).span(at..text.len()))?.start();
            let rest = &text[start..];
            // The longest that fits is the one that is meant; of equals, the first.
            let found = self.forms.iter().rev().filter_map(|form| Some((form, form.found(rest)?)));
            if let Some((form, (length, with))) = found.max_by_key(|(_, (length, _))| *length) {
                let edge = (start > from).then(|| form.edge(text[start - 1])).flatten();
                return Some(Cut { start: start - usize::from(edge.is_some()), end: start + length, edge, with });
            }
            at = start + 1;
        }
    }

    /// The earliest place at or after `from` from which on all of `text` is the beginning of a spelling, but not all of one.
    fn open(&self, text: &[u8], from: usize) -> usize {
        let near = from.max(text.len().saturating_sub(self.longest));
        let foreign = text[near..].iter().rposition(|&byte| !self.occurring[usize::from(byte)]);
        let near = foreign.map_or(near, |foreign| near + foreign + 1);
        let opens = |at: &usize| match text[*at..] {
            [first, second, ..] => {
                let (place, bit) = opening(first, second);
                self.openings[place] & bit != 0
            }
            _ => true,
        };
        let mut places = (near..text.len()).filter(opens);
        places.find(|&at| self.forms.iter().any(|form| form.is_begun_by(&text[at..]))).unwrap_or(text.len())
    }
}
