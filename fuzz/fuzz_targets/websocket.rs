//! Frames are read alike however the bytes are cut; nothing of what came is lost or added; the payload is what the mask makes of it. Messages of
//! text are swapped alike however they are cut and whatever came before them; what comes of one shows no placeholder, and is what it was once
//! the credential is a placeholder again.
#![no_main]

use std::sync::LazyLock;

use config::{Destination, Grant, Placeholder, Places};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use proxy::exchange::{Frames, NoFrame};
use proxy::swap::{Head, Messages, Swap};

const PLACEHOLDER: &str = "ghs_fuzz0Z";
const SECRET: &str = "S3CRET-of-the-fuzzer";

static GRANTED: LazyLock<(Grant, Swap)> = LazyLock::new(|| {
    let to = vec!["api.example.com".parse().expect("a pattern")];
    let places = Places { websocket: true, ..Places::default() };
    let grant = Grant::new("fuzz".parse().expect("a name"), to, places, None);
    let swap = Swap::new(vec![(grant.clone(), Placeholder::from_value(PLACEHOLDER.into()))]);
    (grant, swap)
});

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

fn messages() -> Messages {
    let (grant, swap) = &*GRANTED;
    let to: Destination = "api.example.com:443".parse().expect("a destination");
    let headers = HeaderMap::new();
    let permitted = Some(grant.credential());
    swap.messages(&Head { destination: &to, permitted, path: "/", query: None, headers: &headers })
}

/// What comes of one message that falls into pieces of this size; `None` where it is refused.
fn swapped(messages: &mut Messages, message: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for piece in message.chunks(size) {
        out.extend_from_slice(&messages.text(piece, false, SECRET).ok()?.0);
    }
    out.extend_from_slice(&messages.text(b"", true, SECRET).ok()?.0);
    Some(out)
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

    // The same bytes as messages, a line each. So that a placeholder is found by one mutation instead of ten.
    let text = bytes.split(|&b| b == b'$').collect::<Vec<_>>().join(PLACEHOLDER.as_bytes());
    let (mut at_once, mut in_pieces, mut by_bytes) = (messages(), messages(), messages());
    for message in text.split(|&b| b == b'\n') {
        let whole = swapped(&mut at_once, message, message.len().max(1));
        assert_eq!(whole, swapped(&mut in_pieces, message, cut.max(1)));
        assert_eq!(whole, swapped(&mut by_bytes, message, 1));
        let Some(whole) = whole else { break };
        // A placeholder may be found that goes on from one message to the next; else it makes no difference what came before.
        assert_eq!(swapped(&mut messages(), message, message.len().max(1)).as_ref(), Some(&whole));
        assert!(!whole.windows(PLACEHOLDER.len()).any(|window| window == PLACEHOLDER.as_bytes()));
        let is_plain = !message.contains(&b'\\');
        if let (Ok(before), Ok(after)) = (std::str::from_utf8(message), std::str::from_utf8(&whole))
            && is_plain
        {
            assert_eq!(after.replace(SECRET, PLACEHOLDER), before.replace(SECRET, PLACEHOLDER));
        }
    }
});
