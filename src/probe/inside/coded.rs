//! Brotli (RFC 7932) and zstd (RFC 8878) by hand, byte by byte, so that no two bytes of the text stand side by side.
//!
//! Enters: a text. Leaves: what any decoder makes that text of again. Never: a shorter one; that is not what it is for.

/// One meta-block that is not compressed for each byte, and an empty one at the end.
pub(super) fn brotli(text: &[u8]) -> Vec<u8> {
    // ISLAST 0, MNIBBLES 4, MLEN 1, ISUNCOMPRESSED 1: twenty bits. Before the first of them stands WBITS, which is one.
    const FIRST: [u8; 3] = [0, 0, 0x10];
    const NEXT: [u8; 3] = [0, 0, 0x08];
    const LAST: u8 = 0b11;
    let blocks = text.iter().enumerate().flat_map(|(at, byte)| {
        let [a, b, c] = if at == 0 { FIRST } else { NEXT };
        [a, b, c, *byte]
    });
    blocks.chain([LAST]).collect()
}

/// One block for each byte, that has it once.
pub(super) fn zstd(text: &[u8]) -> Vec<u8> {
    // The magic number, a frame of one segment whose length takes four bytes.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut bytes = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &length.to_le_bytes()].concat();
    for (at, byte) in text.iter().enumerate() {
        // Whether it is the last; the type that repeats one byte; how often.
        let header = u8::from(at + 1 == text.len()) | 1 << 1 | 1 << 3;
        bytes.extend([header, 0, 0, *byte]);
    }
    bytes
}

/// A frame that decoders leave out (RFC 8878 section 3.1.2).
pub(super) fn skipped(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&[0x50, 0x2a, 0x4d, 0x18][..], &length.to_le_bytes(), content].concat()
}

/// A few hundred bytes that become sixteen mebibytes, and the text behind them.
pub(super) fn bomb(text: &[u8]) -> Vec<u8> {
    /// Blocks that repeat one byte as often as a block may be long: 128 KiB.
    const BLOCKS: usize = 128;
    const BLOCK: [u8; 4] = [1 << 1, 0, 0x10, b' '];
    // A frame that does not say its length, with a window of one block.
    [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x38][..], &BLOCK.repeat(BLOCKS), &zstd(text)[9..]].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use async_compression::tokio::bufread::BrotliDecoder;
    use tokio::io::AsyncReadExt;

    use super::*;

    const TEXT: &[u8] = b"a placeholder that nobody may see";

    #[tokio::test]
    async fn any_decoder_of_brotli_finds_the_text() {
        let mut found = Vec::new();
        BrotliDecoder::new(&brotli(TEXT)[..]).read_to_end(&mut found).await.unwrap();
        assert_eq!(found, TEXT);
        assert!(!brotli(TEXT).windows(2).any(|pair| pair == b"pl"));
    }

    #[test]
    fn any_decoder_of_zstd_finds_the_text() {
        let mut found = Vec::new();
        zstd::stream::read::Decoder::new(&zstd(TEXT)[..]).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found, TEXT);
        assert!(!zstd(TEXT).windows(2).any(|pair| pair == b"pl"));
    }

    #[test]
    fn a_decoder_finds_what_is_behind_much_and_not_what_it_skips() {
        let decoded = |bytes: &[u8]| {
            let mut found = Vec::new();
            zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut found).unwrap();
            found
        };
        let found = decoded(&bomb(TEXT));
        assert!(found.ends_with(TEXT) && found.len() == (16 << 20) + TEXT.len() && bomb(TEXT).len() < 1000);
        assert_eq!(decoded(&[skipped(TEXT), zstd(b"x")].concat()), b"x");
    }
}
