//! The payload of WebSocket frames (RFC 6455 section 5), unmasked, for examination.
//!
//! Enters: bytes of one direction, in pieces that fall anywhere. Leaves: the payload of every frame, in order, without the
//! heads between. Never: a frame with reserved bits (no extension was negotiated that could give them a meaning).

/// Reads frames as they come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: Vec<u8>,
    left: u64,
    mask: [u8; 4],
    position: usize,
    /// Whether more frames of a message have to come (FIN was not set).
    unfinished: bool,
}

/// What came is not a frame of this version and without extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoFrame;

impl Frames {
    /// Takes a piece; gives the payload in it.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<Vec<u8>, NoFrame> {
        let mut payload = Vec::with_capacity(piece.len());
        while !piece.is_empty() {
            if self.left == 0 {
                self.head.push(piece[0]);
                piece = &piece[1..];
                self.open()?;
                continue;
            }
            let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
            payload.extend(piece[..here].iter().enumerate().map(|(i, byte)| byte ^ self.mask[(self.position + i) % 4]));
            self.position = (self.position + here) % 4;
            self.left -= here as u64;
            piece = &piece[here..];
        }
        Ok(payload)
    }

    /// Whether what came so far ends with the end of a message.
    pub(super) fn between_messages(&self) -> bool {
        self.left == 0 && self.head.is_empty() && !self.unfinished
    }

    /// Opens the frame once its head is whole.
    fn open(&mut self) -> Result<(), NoFrame> {
        let head = &self.head;
        if head[0] & 0x70 != 0 {
            return Err(NoFrame);
        }
        let Some(second) = head.get(1) else { return Ok(()) };
        let lengths = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masks = if second & 0x80 == 0 { 0 } else { 4 };
        if head.len() < 2 + lengths + masks {
            return Ok(());
        }
        let long = head[2..2 + lengths].iter().fold(0u64, |length, &byte| (length << 8) | u64::from(byte));
        self.left = if lengths == 0 { u64::from(second & 0x7f) } else { long };
        self.mask = head[2 + lengths..].try_into().unwrap_or([0; 4]);
        self.position = 0;
        // Control frames (opcodes from 8 on) come between the frames of a message and do not end it.
        if head[0] & 0x08 == 0 {
            self.unfinished = head[0] & 0x80 == 0;
        }
        self.head.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut frame = vec![0x81];
        let bit = if mask.is_some() { 0x80 } else { 0 };
        match payload.len() {
            n @ 0..126 => frame.push(bit | u8::try_from(n).unwrap()),
            n => {
                frame.push(bit | 126);
                frame.extend(u16::try_from(n).unwrap().to_be_bytes());
            }
        }
        frame.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
        frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask.unwrap_or([0; 4])[i % 4]));
        frame
    }

    proptest! {
        #[test]
        fn the_payload_comes_out_however_the_pieces_fall(
            payloads in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<Option<[u8; 4]>>()), 0..5),
            cut in 1usize..50,
        ) {
            let wire: Vec<u8> = payloads.iter().flat_map(|(payload, mask)| frame(payload, *mask)).collect();
            let mut frames = Frames::default();
            let read: Vec<u8> = wire.chunks(cut).flat_map(|piece| frames.push(piece).unwrap()).collect();
            prop_assert_eq!(read, payloads.into_iter().flat_map(|(payload, _)| payload).collect::<Vec<u8>>());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Frames::default().push(&bytes);
        }
    }

    #[test]
    fn a_message_ends_with_its_last_frame_whatever_control_frames_come_between() {
        let mut frames = Frames::default();
        let mut after = |piece: &[u8]| frames.push(piece).map(|_| frames.between_messages());
        assert_eq!(after(&[0x01, 2, b'a']), Ok(false));
        assert_eq!(after(b"b"), Ok(false));
        assert_eq!(after(&[0x89, 0]), Ok(false));
        assert_eq!(after(&[0x80, 1, b'c']), Ok(true));
        assert_eq!(after(&[0x81]), Ok(false));
    }

    #[test]
    fn a_compressed_frame_is_none() {
        assert_eq!(Frames::default().push(&[0xc1, 0]), Err(NoFrame));
    }
}
