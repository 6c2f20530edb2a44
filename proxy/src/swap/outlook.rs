//! How far a chunk can be passed over, because no placeholder begins there.
//!
//! Enters: a chunk, and a place in it where none has begun. Leaves: the next place at which one may begin, or the next escape. Never: a place too far;
//! what is found to be none is looked at once more, byte by byte. Each byte is searched once, however often it is asked.

use memchr::memmem::Finder;
use memchr::{memchr, memchr2_iter};

use super::syntax::Syntax;

/// A placeholder, as far as it is written in one way only where nothing is escaped.
#[derive(Debug)]
pub(super) struct Sought {
    /// Folded.
    pub(super) wanted: Vec<u8>,
    syntax: Syntax,
    part: Finder<'static>,
    /// Where in the placeholder it is.
    offset: usize,
}

impl Sought {
    /// In a form a `+` may come as a space; so what is searched for has none.
    pub(super) fn new(syntax: Syntax, wanted: Vec<u8>) -> Self {
        let (mut part, mut offset, mut at) = (&wanted[..0], 0, 0);
        for piece in wanted.split(|&byte| syntax == Syntax::Form && byte == b'+') {
            if piece.len() > part.len() {
                (part, offset) = (piece, at);
            }
            at += piece.len() + 1;
        }
        let part = Finder::new(part).into_owned();
        Self { wanted, syntax, part, offset }
    }
}

/// What lies ahead in one chunk.
pub(super) struct Outlook<'a> {
    sought: &'a Sought,
    chunk: &'a [u8],
    escape: Option<u8>,
    /// The next escape, or the end; with what lies before it.
    run: Option<Run>,
}

#[derive(Clone, Copy)]
struct Run {
    end: usize,
    /// The next place where the part that is searched for is.
    part: Option<usize>,
    /// The first place from which on all that is left of the run begins a placeholder, or the end.
    open: usize,
}

impl<'a> Outlook<'a> {
    pub(super) fn new(sought: &'a Sought, chunk: &'a [u8], escape: Option<u8>) -> Self {
        Self { sought, chunk, escape, run: None }
    }

    /// Where a placeholder may begin, at `at` or behind it; or where the next escape does; or the end. Asked from front to back.
    pub(super) fn begins(&mut self, at: usize) -> usize {
        let mut run = match self.run {
            Some(run) if run.end >= at => run,
            _ => {
                let escape = self.escape.and_then(|escape| memchr(escape, &self.chunk[at..]));
                let end = escape.map_or(self.chunk.len(), |escape| at + escape);
                Run { end, part: self.part(at, end), open: self.open(at, end) }
            }
        };
        if run.part.is_some_and(|part| part < at + self.sought.offset) {
            run.part = self.part(at, run.end);
        }
        if run.open < at {
            run.open = self.open(at, run.end);
        }
        self.run = Some(run);
        let begins = run.part.map_or(run.end, |part| part - self.sought.offset);
        begins.min(run.open)
    }

    /// The next part that belongs to a placeholder which begins at `at` or behind it.
    fn part(&self, at: usize, end: usize) -> Option<usize> {
        let from = at + self.sought.offset;
        self.sought.part.find(self.chunk.get(from..end)?).map(|found| from + found)
    }

    fn open(&self, at: usize, end: usize) -> usize {
        let near = at.max((end + 1).saturating_sub(self.sought.wanted.len()));
        let begun = |from: &usize| {
            let rest = self.chunk[*from..end].iter();
            rest.zip(&self.sought.wanted).all(|(&byte, &wanted)| self.sought.syntax.folded(byte) == wanted)
        };
        // A space may stand for the one character that is folded.
        let Some(&first) = self.sought.wanted.first() else { return end };
        let also = if self.sought.syntax.folded(b' ') == first { b' ' } else { first };
        memchr2_iter(first, also, &self.chunk[near.min(end)..end]).map(|at| near + at).find(begun).unwrap_or(end)
    }
}
