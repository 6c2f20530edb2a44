//! WebSocket frames (RFC 6455 section 5) as they come, and as they are written anew.
//!
//! Enters: bytes of one direction, in pieces that fall anywhere. Leaves: parts of frames, unmasked, each with the bytes that it came
//! in. Never: a frame with two readings: reserved bits (no extension was negotiated that could give them a meaning) or opcodes, a
//! mask on the wrong side, a length that is longer than it need be, a control frame in pieces, a message within a message.

/// The longest payload of a control frame.
const CONTROL: u64 = 125;
const TEXT: u8 = 1;

/// Reads frames as they come.
#[derive(Debug)]
pub struct Frames {
    /// Whether they are masked, as those of a client are and those of a server are not.
    masked: bool,
    head: Vec<u8>,
    left: u64,
    mask: [u8; 4],
    position: usize,
    frame: Frame,
    /// The opcode of the message of which more frames have to come (FIN was not set).
    message: Option<u8>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    control: bool,
    text: bool,
    last: bool,
}

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Part {
    /// As it came.
    pub raw: Vec<u8>,
    /// The payload in it.
    pub payload: Vec<u8>,
    /// Whether the frame is one of control, which come between the frames of a message.
    pub control: bool,
    /// Whether the message is of text.
    pub text: bool,
    /// Whether the message ends with it, or the control frame.
    pub ends: bool,
}

/// What came is not a frame of this version and without extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoFrame;

impl Frames {
    /// A reader of what a client sends (`masked`), or a server.
    pub fn new(masked: bool) -> Self {
        let (head, left, mask, position, frame, message) = Default::default();
        Self { masked, head, left, mask, position, frame, message }
    }

    /// Takes a piece; gives the parts in it.
    ///
    /// # Errors
    /// [`NoFrame`].
    pub fn push(&mut self, mut piece: &[u8]) -> Result<Vec<Part>, NoFrame> {
        let mut parts = Vec::new();
        let mut part = Part::default();
        while !piece.is_empty() {
            if self.left == 0 {
                self.head.push(piece[0]);
                piece = &piece[1..];
                if !self.open()? {
                    continue;
                }
                part.raw = std::mem::take(&mut self.head);
            }
            let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
            let (came, rest) = piece.split_at(here);
            part.raw.extend_from_slice(came);
            part.payload = came.iter().enumerate().map(|(i, byte)| byte ^ self.mask[(self.position + i) % 4]).collect();
            self.position = (self.position + here) % 4;
            self.left -= here as u64;
            piece = rest;
            part.control = self.frame.control;
            part.text = self.frame.text;
            part.ends = self.left == 0 && self.frame.last;
            parts.push(std::mem::take(&mut part));
        }
        Ok(parts)
    }

    /// Whether what came so far ends with a frame.
    pub fn is_between(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }

    /// Opens the frame once its head is whole.
    fn open(&mut self) -> Result<bool, NoFrame> {
        let head = &self.head;
        let (last, opcode) = (head[0] & 0x80 != 0, head[0] & 0x0f);
        let control = opcode & 0x08 != 0;
        let known = matches!(opcode, 0..=2 | 8..=10);
        // A frame goes on with a message where there is one, and only there.
        let fits = control || (opcode == 0) == self.message.is_some();
        if head[0] & 0x70 != 0 || !known || !fits || control && !last {
            return Err(NoFrame);
        }
        let Some(second) = head.get(1) else { return Ok(false) };
        let lengths = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if (second & 0x80 != 0) != self.masked {
            return Err(NoFrame);
        }
        if head.len() < 2 + lengths + if self.masked { 4 } else { 0 } {
            return Ok(false);
        }
        let long = head[2..2 + lengths].iter().fold(0u64, |length, &byte| (length << 8) | u64::from(byte));
        let (length, least) = match lengths {
            0 => (u64::from(second & 0x7f), 0),
            2 => (long, 126),
            _ => (long, 0x1_0000),
        };
        if length < least || length >> 63 != 0 || control && length > CONTROL {
            return Err(NoFrame);
        }
        self.left = length;
        self.mask = head[2 + lengths..].try_into().unwrap_or([0; 4]);
        self.position = 0;
        let of = if opcode == 0 { self.message.unwrap_or_default() } else { opcode };
        if !control {
            self.message = (!last).then_some(of);
        }
        self.frame = Frame { control, text: of == TEXT, last };
        Ok(true)
    }
}

/// Writes a frame of text: the `first` of its message, the `last`, both, or neither.
pub(super) fn text(payload: &[u8], (first, last): (bool, bool), mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    out.push(if last { 0x80 } else { 0 } | if first { TEXT } else { 0 });
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => out.push(bit | length),
        (_, Ok(length)) => {
            out.push(bit | 126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(bit | 127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A server's close frame: a policy was broken (1008), and how.
pub(super) fn close(reason: &str) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.len().min(usize::try_from(CONTROL).unwrap_or(0) - 2)];
    let length = u8::try_from(reason.len() + 2).unwrap_or(2);
    [&[0x88, length], &1008u16.to_be_bytes()[..], reason].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message in fragments, with a ping after each that has a payload.
    type Message = Vec<(Vec<u8>, Vec<u8>)>;

    fn messages() -> impl Strategy<Value = Vec<Message>> {
        let payload =
            || prop_oneof![prop::collection::vec(any::<u8>(), 0..9), prop::collection::vec(any::<u8>(), 120..400)];
        let ping = prop::collection::vec(any::<u8>(), 0..9);
        prop::collection::vec(prop::collection::vec((payload(), ping), 1..4), 0..4)
    }

    fn wire(messages: &[Message], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut wire = Vec::new();
        for message in messages {
            for (index, (payload, ping)) in message.iter().enumerate() {
                text(payload, (index == 0, index + 1 == message.len()), mask, &mut wire);
                if !ping.is_empty() {
                    let at = wire.len();
                    text(ping, (true, true), mask, &mut wire);
                    wire[at] = 0x89;
                }
            }
        }
        wire
    }

    proptest! {
        #[test]
        fn messages_come_out_however_the_pieces_fall(messages in messages(), mask: Option<[u8; 4]>, cut in 1usize..50) {
            let wire = wire(&messages, mask);
            let mut frames = Frames::new(mask.is_some());
            let (mut raw, mut read, mut pings) = (Vec::new(), vec![Vec::new()], Vec::new());
            for part in wire.chunks(cut).flat_map(|piece| frames.push(piece).unwrap()) {
                raw.extend(part.raw);
                if part.control {
                    pings.extend(part.payload);
                } else {
                    prop_assert!(part.text);
                    read.last_mut().unwrap().extend(part.payload);
                    if part.ends {
                        read.push(Vec::new());
                    }
                }
            }
            let whole = |message: &Message| message.iter().flat_map(|(payload, _)| payload.clone()).collect::<Vec<u8>>();
            prop_assert_eq!(raw, wire);
            prop_assert_eq!(read.pop(), Some(Vec::new()));
            prop_assert_eq!(read, messages.iter().map(whole).collect::<Vec<_>>());
            prop_assert_eq!(pings, messages.iter().flatten().flat_map(|(_, ping)| ping.clone()).collect::<Vec<u8>>());
        }

        #[test]
        fn any_bytes_are_read_alike_however_they_are_cut(bytes: Vec<u8>, masked: bool, cut in 1usize..9) {
            let read = |cut| {
                let mut frames = Frames::new(masked);
                bytes.chunks(cut).try_fold((Vec::new(), 0), |(mut payload, ends), piece| {
                    let parts = frames.push(piece)?;
                    let ended = parts.iter().filter(|part| part.ends).count();
                    payload.extend(parts.into_iter().flat_map(|part| part.payload));
                    Ok::<_, NoFrame>((payload, ends + ended))
                })
            };
            prop_assert_eq!(read(cut), read(bytes.len().max(1)));
        }
    }

    #[test]
    fn what_has_two_readings_is_no_frame() {
        for (masked, frame) in [
            (false, &[0xc1, 0][..]),
            (false, &[0x83, 0]),
            (false, &[0x8b, 0]),
            (false, &[0x81, 0x80, 0, 0, 0, 0]),
            (true, &[0x81, 0]),
            (false, &[0x80, 0]),
            (false, &[0x01, 0, 0x81, 0]),
            (false, &[0x09, 0]),
            (false, &[0x89, 126, 0, 126]),
            (false, &[0x81, 126, 0, 125]),
            (false, &[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            (false, &[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(Frames::new(masked).push(frame).unwrap_err(), NoFrame, "{frame:x?}");
        }
    }
}
