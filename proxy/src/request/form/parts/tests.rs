//! What is passed over is what is read.

use proptest::prelude::*;

use super::*;

/// Where it is after all of these, and whether one was refused.
fn after<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    mut push: impl FnMut(&mut Parts, &[u8]) -> Result<(), Refusal>,
) -> (bool, Option<usize>, Option<Vec<u8>>) {
    let mut parts = Parts::default();
    let refused = pieces.into_iter().any(|piece| push(&mut parts, piece).is_err());
    (refused, parts.matched.filter(|_| !refused), parts.field.filter(|_| !refused).map(|field| field.text))
}

/// Reads each byte.
fn read(parts: &mut Parts, mut piece: &[u8]) -> Result<(), Refusal> {
    while !piece.is_empty() {
        piece = parts.step(piece)?;
    }
    Ok(())
}

#[test]
fn a_field_is_found_wherever_it_is_cut() {
    let text = b"--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--x--\r\n";
    for cut in 0..text.len() {
        let (before, behind) = text.split_at(cut);
        assert!(after([before, behind], Parts::push).0, "{cut}");
    }
}

proptest! {
    #[test]
    fn what_is_passed_over_is_what_is_read(
        texts in prop::collection::vec((prop::sample::select(vec![
            "\r\n", "\n", " ", "c", "C", "con", "tent-", "CONTENT-", "content-type: text/plain", "Content-Disposition: form-data; ", "name=\"a\"", "name=_method", ":", "\0", "\u{fe}",
            "some text", "Content-ID", "-",
        ]), 1usize..6), 0..20),
        cut in 1usize..60,
    ) {
        let text: String = texts.iter().map(|(text, times)| text.repeat(*times)).collect();
        let whole = after([text.as_bytes()], read);
        prop_assert_eq!(&after([text.as_bytes()], Parts::push), &whole, "{:?}", text);
        prop_assert_eq!(&after(text.as_bytes().chunks(cut), Parts::push), &whole, "{:?} by {}", text, cut);
    }
}
