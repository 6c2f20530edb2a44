//! A client's HTTP/2 comes out of the counter as it went in, however it is cut; unless it has more frames that carry nothing than any honest
//! one's: then it ends with the very read in which the first of those too many has its head, behind the last frame that is whole there.
#![no_main]

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use proxy::exchange::Counted;
use proxy::limit::IDLE_FRAMES;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Builder;

const PREFACE: usize = 24;
const HEAD: usize = 9;
/// One read at most.
const ROOM: usize = 16 * 1024;
/// Enough for a frame of any length that is taken, and for a flood.
const LONGEST: usize = 128 * 1024;

/// A piece each read; then nothing more comes.
struct Pieces(VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buffer.put_slice(&self.0.pop_front().unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

/// A preface, and for each five bytes some frames: their kind, how long (two bytes), how many, and of what.
fn connection(frames: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'P'; PREFACE];
    let (frames, rest) = frames.as_chunks::<5>();
    for &[kind, high, low, times, filler] in frames {
        let length = usize::from(high) * 512 + usize::from(low);
        for _ in 0..times {
            if bytes.len() + HEAD + length > LONGEST {
                break;
            }
            bytes.extend(&u32::try_from(length).expect("a length").to_be_bytes()[1..]);
            bytes.extend([kind, filler, 0, 0, 0, 1]);
            bytes.resize(bytes.len() + length, filler);
        }
    }
    bytes.extend(rest);
    bytes
}

/// Where each frame begins that is whole or has its whole head there, what kind it is and where it ends.
fn walked(bytes: &[u8]) -> Vec<(usize, u8, usize)> {
    let (mut frames, mut at) = (Vec::new(), PREFACE);
    while let Some(&[a, b, c, kind, ..]) = bytes.get(at..at + HEAD) {
        let end = at + HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
        frames.push((at, kind, end));
        at = end;
    }
    frames
}

/// What comes out, and whether the counter has told of a flood.
fn counted(pieces: &[Vec<u8>]) -> (Vec<u8>, bool) {
    let (mut stream, seen) = Counted::new(Pieces(pieces.iter().cloned().collect()));
    let (mut out, mut room) = (Vec::new(), vec![0; ROOM]);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..=pieces.len() {
        let mut buffer = ReadBuf::new(&mut room);
        if Pin::new(&mut stream).poll_read(&mut cx, &mut buffer).is_pending() {
            break;
        }
        out.extend_from_slice(buffer.filled());
    }
    let told = std::pin::pin!(seen.flood()).poll(&mut cx).is_ready();
    seen.end();
    let mut buffer = ReadBuf::new(&mut room);
    assert!(Pin::new(&mut stream).poll_read(&mut cx, &mut buffer).is_ready() && buffer.filled().is_empty());
    (out, told)
}

// How many pieces are cut, how long each of them is, and the frames.
fuzz_target!(|input: (u8, &[u8])| {
    let (cuts, frames) = input.1.split_at(usize::from(input.0).min(input.1.len()));
    let bytes = connection(frames);
    let mut rest = &bytes[..];
    let mut pieces = Vec::new();
    for cut in cuts.iter().map(|&cut| usize::from(cut)).chain(std::iter::repeat(ROOM)) {
        let (piece, behind) = rest.split_at(cut.clamp(1, ROOM).min(rest.len()));
        if piece.is_empty() {
            break;
        }
        pieces.push(piece.to_vec());
        rest = behind;
    }
    // Time stands still: none is allowed more as it passes.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let (out, told) = runtime.block_on(async { counted(&pieces) });

    let walked = walked(&bytes);
    let mut idle = walked.iter().filter(|(_, kind, _)| ![0, 1, 9].contains(kind));
    let Some((begins, ..)) = idle.nth(usize::try_from(IDLE_FRAMES).expect("a few")) else {
        assert!(!told && out == bytes);
        return;
    };
    assert!(told && bytes.starts_with(&out));
    let (mut from, mut to) = (0, 0);
    for piece in &pieces {
        (from, to) = (to, to + piece.len());
        if to >= begins + HEAD {
            break;
        }
    }
    let whole = walked.iter().map(|(.., end)| *end).chain([PREFACE]).filter(|end| (from + 1..=to).contains(end)).max();
    assert_eq!(out.len(), whole.unwrap_or(from));
});
