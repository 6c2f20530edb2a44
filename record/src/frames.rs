//! A closed segment as it lies compressed: frames of zstd (RFC 8878), each by itself, each of at most a mebibyte of plain text.
//!
//! Enters: plain text, or a file of such frames. Leaves: the other. Never: more than one frame in memory, a frame whose checksum is not that
//! of its text, or one that says of itself that it is larger.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, compress_bound, find_frame_compressed_size, get_frame_content_size};

/// As much plain text as a frame has: enough for zstd to find what repeats, and little to decompress for whoever wants one line.
pub(crate) const FRAME: usize = 1 << 20;
/// zstd's own default: records become a tenth, at some hundred megabytes a second.
const LEVEL: i32 = 3;

/// Makes frames.
pub(crate) struct Packer {
    compressor: Compressor<'static>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    pub fn new() -> io::Result<Packer> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Packer { compressor, plain: Vec::new(), packed: Vec::new() })
    }

    /// One more frame; how much plain text it has, 0 at the end.
    pub fn step(&mut self, from: &mut impl Read, to: &mut impl Write) -> io::Result<usize> {
        self.plain.clear();
        from.take(FRAME as u64).read_to_end(&mut self.plain)?;
        if !self.plain.is_empty() {
            self.packed.clear();
            self.packed.reserve(compress_bound(self.plain.len()));
            self.compressor.compress_to_buffer(&self.plain, &mut self.packed)?;
            to.write_all(&self.packed)?;
        }
        Ok(self.plain.len())
    }
}

/// Reads them.
pub(crate) struct Frames {
    file: File,
    /// What of the file is in memory: from `at` on, what is before `taken` is done with.
    packed: Vec<u8>,
    taken: usize,
    at: u64,
    at_end: bool,
    decompressor: Decompressor<'static>,
    plain: Vec<u8>,
    given: usize,
}

/// A frame that is wholly in memory.
struct Next {
    packed: usize,
    plain: usize,
}

impl Frames {
    /// From this byte of the plain text on; frames that are before it are not decompressed.
    pub fn open(file: File, offset: u64) -> io::Result<Frames> {
        let decompressor = Decompressor::new()?;
        let (packed, plain) = (Vec::new(), Vec::new());
        let mut frames = Frames { file, packed, taken: 0, at: 0, at_end: false, decompressor, plain, given: 0 };
        let mut before = offset;
        while let Some(next) = frames.next()? {
            if before < next.plain as u64 {
                frames.unpack(&next)?;
                frames.given = usize::try_from(before).unwrap_or(next.plain);
                break;
            }
            before -= next.plain as u64;
            frames.taken += next.packed;
        }
        Ok(frames)
    }

    /// The next frame, not taken yet. `None`: there are no more.
    fn next(&mut self) -> io::Result<Option<Next>> {
        loop {
            let rest = &self.packed[self.taken..];
            match find_frame_compressed_size(rest) {
                _ if rest.is_empty() && self.at_end => return Ok(None),
                Ok(packed) => {
                    let plain = get_frame_content_size(&rest[..packed]).ok().flatten();
                    let plain = plain.and_then(|plain| usize::try_from(plain).ok()).filter(|plain| *plain <= FRAME);
                    let plain = plain.ok_or_else(|| self.damaged("is larger than those that exeat writes"))?;
                    return Ok(Some(Next { packed, plain }));
                }
                // It may go on in what is not in memory yet, if that much of it is not.
                Err(_) if !self.at_end && rest.len() < compress_bound(FRAME) => self.fill()?,
                Err(_) => return Err(self.damaged("is damaged or cut off")),
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.packed.drain(..self.taken);
        self.at += self.taken as u64;
        self.taken = 0;
        let missing = compress_bound(FRAME) - self.packed.len();
        let read = (&mut self.file).take(missing as u64).read_to_end(&mut self.packed)?;
        self.at_end = read < missing;
        Ok(())
    }

    fn unpack(&mut self, next: &Next) -> io::Result<()> {
        self.plain.clear();
        self.plain.reserve(next.plain);
        let packed = &self.packed[self.taken..self.taken + next.packed];
        let unpacked = self.decompressor.decompress_to_buffer(packed, &mut self.plain);
        unpacked.map_err(|error| self.damaged(&format!("cannot be decompressed ({error})")))?;
        self.taken += next.packed;
        self.given = 0;
        Ok(())
    }

    fn damaged(&self, what: &str) -> io::Error {
        let at = self.at + self.taken as u64;
        io::Error::new(io::ErrorKind::InvalidData, format!("the compressed frame at byte {at} {what}"))
    }
}

impl BufRead for Frames {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.given == self.plain.len() {
            let Some(next) = self.next()? else { break };
            self.unpack(&next)?;
        }
        Ok(&self.plain[self.given..])
    }

    fn consume(&mut self, amount: usize) {
        self.given += amount;
    }
}

impl Read for Frames {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use proptest::prelude::*;

    use super::*;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let (mut packer, mut from, mut to) = (Packer::new().unwrap(), plain, Vec::new());
        while packer.step(&mut from, &mut to).unwrap() > 0 {}
        to
    }

    fn read(packed: &[u8], offset: u64) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(packed).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut plain = Vec::new();
        Frames::open(file, offset)?.read_to_end(&mut plain).map(|_| plain)
    }

    /// Text that repeats, and text that does not.
    fn text(length: usize, spread: u8) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(spread));
            state.to_le_bytes()[7] & spread
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_was_packed_is_read_from_anywhere() {
        for (length, spread) in [(0, 1), (1, 1), (FRAME, 255), (3 * FRAME + 7, 255), (9 * FRAME, 3)] {
            let plain = text(length, spread);
            let packed = packed(&plain);
            for offset in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 3 * FRAME + 6, 9 * FRAME, 10 * FRAME] {
                let expected = plain.get(offset..).unwrap_or_default();
                assert!(read(&packed, offset as u64).unwrap() == expected, "{length} {offset}");
            }
        }
    }

    #[test]
    fn a_damaged_frame_is_named_and_those_before_it_are_read() {
        let plain = text(3 * FRAME, 15);
        let whole = packed(&plain);
        let first = find_frame_compressed_size(&whole).unwrap();
        let mut damaged = whole.clone();
        damaged[first + 5000] ^= 1;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&damaged).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut frames = Frames::open(file, 0).unwrap();
        let mut read_first = vec![0; FRAME];
        frames.read_exact(&mut read_first).unwrap();
        assert!(read_first == plain[..FRAME]);
        let error = frames.read_exact(&mut [0]).unwrap_err().to_string();
        assert!(error.contains(&format!("frame at byte {first} ")), "{error}");
        // Behind it one can still look.
        assert!(read(&damaged, 2 * FRAME as u64).unwrap() == plain[2 * FRAME..]);
        let cut = read(&whole[..whole.len() - 1], 0).unwrap_err().to_string();
        assert!(cut.contains("cut off"), "{cut}");
    }

    #[test]
    fn a_frame_of_another_making_is_not_decompressed() {
        let large = zstd::bulk::compress(&vec![0; FRAME + 1], 1).unwrap();
        assert!(large.len() < 1000 && read(&large, 0).unwrap_err().to_string().contains("larger"));
        // One that does not say how large it is.
        let unsaid = zstd::encode_all(&b"text"[..], 1).unwrap();
        assert!(read(&unsaid, 0).is_err() || read(&unsaid, 0).unwrap() == b"text");
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_seen_or_changes_nothing(at in 0..30_000_usize, bit in 0..8) {
            let plain = text(40_000, 31);
            let mut packed = packed(&plain);
            let at = at % packed.len();
            packed[at] ^= 1_u8 << bit;
            if let Ok(read) = read(&packed, 0) {
                prop_assert!(read == plain, "byte {at}, bit {bit}");
            }
        }

        #[test]
        fn bytes_of_anybodys_are_read_to_their_end_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), offset in 0..500_u64) {
            let framed = [&[0x28, 0xb5, 0x2f, 0xfd][..], &bytes].concat();
            let _ = read(&bytes, offset);
            let _ = read(&framed, offset);
        }
    }
}
