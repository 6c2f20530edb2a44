//! Frames are read alike however the bytes are cut; nothing of what came is lost or added; the payload is what the mask makes of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::exchange::{Frames, NoFrame};

/// All that came in frames, their payload, and how many messages and control frames have ended.
fn read<'a>(masked: bool, pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<u8>, Vec<u8>, usize), NoFrame> {
    let mut frames = Frames::new(masked);
    let (mut raw, mut payload, mut ends) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        for part in frames.push(piece)? {
            assert!(part.raw.len() >= part.payload.len());
            raw.extend(part.raw);
            payload.extend(part.payload);
            ends += usize::from(part.ends);
        }
    }
    Ok((raw, payload, ends))
}

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (masked, cut, bytes) = input;
    let whole = read(masked, std::iter::once(bytes));
    let cut = usize::from(cut).min(bytes.len());
    assert_eq!(whole, read(masked, [&bytes[..cut], &bytes[cut..]].into_iter()));
    assert_eq!(whole, read(masked, bytes.chunks(1)));
    if let Ok((raw, _, _)) = whole {
        assert!(bytes.starts_with(&raw));
        // What is missing is the beginning of a head.
        assert!(bytes.len() - raw.len() < 14);
    }
});
