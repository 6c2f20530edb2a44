//! gzip (RFC 1952) with the fixed codes of DEFLATE (RFC 1951), which leave no byte of the text as it was.
//!
//! Enters: a text. Leaves: what any decoder makes that text of again. Never: a shorter one; that is not what it is for.

/// The text as one gzip member of one block.
pub(crate) fn compressed(text: &[u8]) -> Vec<u8> {
    member(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], text)
}

/// The same with a file name in its head.
pub(super) fn named(name: &str, text: &[u8]) -> Vec<u8> {
    member(&[&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0xff], name.as_bytes(), b"\0"].concat(), text)
}

fn member(head: &[u8], text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [head, &deflated(text), &crc(text).to_le_bytes(), &length.to_le_bytes()].concat()
}

/// The text in zlib's format (RFC 1950), which is what HTTP calls deflate.
pub(super) fn zlib(text: &[u8]) -> Vec<u8> {
    [&[0x78, 0x01][..], &deflated(text), &adler(text).to_be_bytes()].concat()
}

/// The text as DEFLATE alone has it (RFC 1951).
pub(super) fn deflated(text: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    // The last block, and the one with fixed codes; then each byte, and the end of the block, which is seven zeroes.
    bits.push(0b1, 1);
    bits.push(0b10, 2);
    for byte in text {
        match byte {
            0..144 => bits.push(0x30 + u16::from(*byte), 8),
            _ => bits.push(0x190 + u16::from(byte - 144), 9),
        }
    }
    bits.push(0, 7);
    bits.bytes
}

/// Bits in the order of DEFLATE: each byte from its lowest on, a code from its highest on.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, code: u16, length: u32) {
        for at in (0..length).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if code >> at & 1 == 1
                && let Some(last) = self.bytes.last_mut()
            {
                *last |= 1 << (self.used % 8);
            }
            self.used += 1;
        }
    }
}

fn crc(text: &[u8]) -> u32 {
    !text.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn adler(text: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    let (a, b) = text.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % MODULUS;
        (a, (b + a) % MODULUS)
    });
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_text_has_its_known_form() {
        // As Python writes it: zlib.compressobj(9, zlib.DEFLATED, -15, 8, zlib.Z_FIXED), with codes of eight bits and one of nine.
        let known = [0x4b, 0xad, 0x78, 0x52, 0x02, 0x00];
        let bytes = compressed(b"ex\xe4t");
        assert_eq!(bytes[10..bytes.len() - 8], known);
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(named("x", b"")[3..12], [8, 0, 0, 0, 0, 0, 0xff, b'x', 0]);
    }
}
