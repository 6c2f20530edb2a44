//! Inputs in which one byte is a credential in some spelling; and who finds one in any, which is the judge of the proxy's own tests.

#[path = "../../proxy/tests/pieces/judge.rs"]
mod judge;

use std::sync::LazyLock;

use judge::{ESCAPES, Piece, RENDERINGS};
#[allow(unused_imports, reason = "requests are judged by one, answers by the other")]
pub use judge::{shows, shows_rendered};

/// Where `MARKS` has a byte that stands for it.
static SPELLINGS: LazyLock<Vec<Piece>> = LazyLock::new(|| {
    let bools = [(false, false), (false, true), (true, false), (true, true)];
    let mut all: Vec<Piece> = bools.into_iter().map(|(lower, all)| Piece::Percent { lower, all }).collect();
    all.extend([Piece::Form, Piece::Json { slash: false }, Piece::Json { slash: true }]);
    all.extend([false, true].map(|lower| Piece::JsonAll { lower }));
    all.extend((0..ESCAPES.len()).map(|way| Piece::Partly { way, left: 0 }));
    all.extend((0..RENDERINGS.len()).map(Piece::Rendered));
    let base64 = |(lead, form, slash)| Piece::Base64 { before: vec![b'x'; lead], after: Vec::new(), form, slash };
    all.extend([(0, 0, false), (1, 3, false), (2, 1, true)].map(base64));
    all
});

/// Control characters: those that a text may have are not among them.
const MARKS: [u8; 28] =
    [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31];

/// As much as is looked at, which is some times the longest spelling: the scrub takes long for one byte at a time.
const LONGEST: usize = 2048;

/// `text` with `secret` where a `$` is, and a spelling of it for each byte of [`MARKS`]: so one mutation makes one, instead of thirteen or more.
pub fn spelt(text: &[u8], secret: &str) -> Vec<u8> {
    let mut all = Vec::with_capacity(text.len());
    for &byte in text {
        if all.len() >= LONGEST {
            break;
        }
        match MARKS.iter().position(|&mark| mark == byte) {
            Some(which) => all.extend(judge::spelt(&SPELLINGS[which..=which], secret)),
            None if byte == b'$' => all.extend(secret.as_bytes()),
            None => all.push(byte),
        }
    }
    all
}

/// Whether all of `secret` is there, or all but its ends, which in base64 may stand in characters, and in groups of them, with their neighbours: that
/// is enough for the scrub.
#[allow(dead_code, reason = "requests are refused, and nothing in them is changed")]
pub fn shows_nearly(text: &[u8], secret: &str) -> bool {
    shows_rendered(text, secret) || shows(text, &secret[2..secret.len() - 2])
}
