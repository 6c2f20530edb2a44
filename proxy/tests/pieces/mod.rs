//! Random texts with a credential in random spellings, and a judge of them.

mod judge;

use bytes::Bytes;
use proptest::prelude::*;

use judge::{ESCAPES, RENDERINGS};
#[allow(unused_imports, reason = "not every test binary asks for both")]
pub use judge::{Piece, shows, shows_rendered, spelt};

/// What stands for the credential.
pub const PLACEHOLDER: &str = "exeat_Zq3vB8nK1xW5cT7yL0pR4sD9fG2hJ6mA";

/// Credentials of all shapes that a header can carry.
#[allow(dead_code, reason = "not every test binary makes them up")]
pub fn secrets() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{9,70}", "gh[ps]_[A-Za-z0-9]{36}", "[A-Za-z0-9/+]{40}", "[ab]{9,20}"]
}

/// What a client may make of a text, and a server too.
#[allow(dead_code, reason = "not every test binary looks at requests")]
pub fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    proptest::collection::vec(piece(), 0..8)
}

/// Also what servers make of one that they show.
#[allow(dead_code, reason = "not every test binary looks at answers")]
pub fn shown_pieces() -> impl Strategy<Value = Vec<Piece>> {
    let rendered = (0..RENDERINGS.len()).prop_map(Piece::Rendered);
    proptest::collection::vec(prop_oneof![9 => piece(), 1 => rendered], 0..8)
}

fn piece() -> impl Strategy<Value = Piece> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..12);
    prop_oneof![
        bytes().prop_map(Piece::Other),
        "[A-Za-z0-9+/=%\\\\\"]{0,12}".prop_map(|text| Piece::Other(text.into_bytes())),
        (1usize..40).prop_map(Piece::Begun),
        Just(Piece::Raw),
        any::<(bool, bool)>().prop_map(|(lower, all)| Piece::Percent { lower, all }),
        Just(Piece::Form),
        any::<bool>().prop_map(|slash| Piece::Json { slash }),
        any::<bool>().prop_map(|lower| Piece::JsonAll { lower }),
        (0..ESCAPES.len(), any::<u128>()).prop_map(|(way, left)| Piece::Partly { way, left }),
        (bytes(), bytes(), 0usize..4, any::<bool>()).prop_map(|(before, after, form, slash)| Piece::Base64 {
            before,
            after,
            form,
            slash
        }),
    ]
}

/// Cuts `text` at the given places, taken modulo what is left.
pub fn chunks(text: &[u8], cuts: &[usize]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(text);
    let mut chunks: Vec<Bytes> = Vec::new();
    for cut in cuts {
        chunks.push(rest.split_to(cut % (rest.len() + 1)));
    }
    chunks.push(rest);
    chunks
}
