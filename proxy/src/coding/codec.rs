//! A decoder of one coding, and what it takes.
//!
//! Enters: a coding, and a body's first byte. Leaves: the decoder, and how much memory it has and may ask for in a step. Never: a decoder that takes more
//! than it says.

use std::io;

use compression_codecs::zstd::params::DParameter;
use compression_codecs::{DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};

use super::Coding;
use super::brotli::{BrotliDecoder, Taken};

/// RFC 9659: 8 MiB.
const ZSTD_WINDOW: u32 = 23;
/// RFC 7932: 16 MiB.
const BROTLI_WINDOW: u32 = 24;
/// inflate's window and its tables.
const INFLATE: usize = 64 << 10;
/// zstd's tables, and the piece that it reads.
const ZSTD: usize = 256 << 10;
/// What zstd decodes at once, which comes on top of the window.
const ZSTD_BLOCK: usize = 128 << 10;
/// Its window counts in such steps as it is filled: a short text takes one.
const ZSTD_STEP: usize = 256 << 10;
/// What brotli has beside its window and its codes. Of these it may have 256 each for literals, lengths and distances, some 4 MiB, which nobody knows
/// before: they count once they are there.
const BROTLI: usize = 64 << 10;

pub(super) struct Codec {
    pub decodes: Box<dyn DecodeV2 + Send + Sync>,
    /// What came of it so far.
    pub decoded: usize,
    coding: Coding,
    /// What brotli takes for its window, which it fills before it gives anything, and for its codes.
    taken: [Taken; 2],
    most: usize,
}

impl Coding {
    /// What its decoder takes at most.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Identity => 0,
            Self::Gzip | Self::Deflate => INFLATE,
            Self::Brotli => BROTLI + (1 << BROTLI_WINDOW),
            Self::Zstd => ZSTD + ZSTD_BLOCK + (1 << ZSTD_WINDOW),
        }
    }
}

impl Codec {
    /// The decoder of a body that begins with this byte.
    pub fn new(coding: Coding, first: u8) -> io::Result<Self> {
        let mut taken = <[Taken; 2]>::default();
        let decodes: Box<dyn DecodeV2 + Send + Sync> = match coding {
            Coding::Gzip => Box::new(GzipDecoder::new()),
            // RFC 1950's first byte names method 8; as bare deflate it would be a stored block with its padding set.
            Coding::Deflate if first & 0x0f == 8 => Box::new(ZlibDecoder::new()),
            Coding::Deflate => Box::new(DeflateDecoder::new()),
            // The large-window variant of brotli is no content coding and would take up to 1 GiB.
            Coding::Brotli if first & 0x7f == 0x11 => {
                let why = "the brotli window is larger than RFC 7932 allows";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            Coding::Brotli => {
                let decoder = BrotliDecoder::new();
                taken = decoder.taken();
                Box::new(decoder)
            }
            Coding::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW)])),
            Coding::Identity => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self { decodes, decoded: 0, coding, taken, most: most(coding, first) })
    }

    /// What the first step of a body that begins with this byte may take.
    pub fn begins_with(coding: Coding, first: u8) -> usize {
        match coding {
            Coding::Zstd => zstd(0),
            _ => most(coding, first),
        }
    }

    /// What it takes at most once it has decoded a piece more, but for further codes of brotli's.
    pub fn may_take(&self) -> usize {
        match self.coding {
            Coding::Zstd => self.most.min(zstd(self.decoded)),
            _ => self.most + self.taken[1].bytes(),
        }
    }

    /// What it takes.
    pub fn takes(&self) -> usize {
        match self.coding {
            Coding::Brotli => BROTLI + self.taken.iter().map(Taken::bytes).sum::<usize>(),
            _ => self.may_take(),
        }
    }
}

/// By so many bytes a body may be two.
pub(crate) const BEGINNING: usize = 5;

/// Whether a body that begins so is `deflate` in both its forms, so that a server may read another text in it: its second and third bytes are
/// the length of a stored block of bare RFC 1951 as well, and the next two the complement of that.
pub(crate) fn is_either(coding: Coding, begins: &[u8]) -> bool {
    let zlib = |first: u8| first & 0x0f == 8;
    matches!((coding, begins), (Coding::Deflate, &[first, a, b, c, d, ..]) if zlib(first) && [!a, !b] == [c, d])
}

/// What zstd may take that has decoded so much.
fn zstd(decoded: usize) -> usize {
    let filled = decoded.min(1 << ZSTD_WINDOW) + ZSTD_BLOCK;
    ZSTD + ZSTD_BLOCK + filled.next_multiple_of(ZSTD_STEP)
}

/// What the decoder of a body takes at most that begins with this byte, which says how large brotli's window is.
fn most(coding: Coding, first: u8) -> usize {
    let window = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, few) => 8 + few,
        (_, more, _) => 17 + more,
    };
    if coding == Coding::Brotli { BROTLI + (1 << window) } else { coding.most() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_of_brotli_takes_what_its_window_and_its_codes_need() {
        for (first, bits) in [(0x0c, 16), (0x01, 17), (0x03, 18), (0x0f, 24), (0x21, 10), (0x71, 15)] {
            assert_eq!(most(Coding::Brotli, first), BROTLI + (1 << bits), "{first:x}");
        }
        assert_eq!(most(Coding::Zstd, 0x28), Coding::Zstd.most());
    }
}
