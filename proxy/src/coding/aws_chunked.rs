//! The framing of uploads to object stores that calls itself a content coding, `aws-chunked`.
//!
//! Enters: a body's bytes, in pieces that fall anywhere. Leaves: the data in them, and apart from it the lines between. Never: what
//! has two readings: a line that is too long or does not end as it should, a size that is no number, anything behind the end.
//!
//! ```text
//! SIZE [;chunk-signature=…] CRLF DATA CRLF …  0 [;chunk-signature=…] CRLF  [NAME:VALUE CRLF …]  CRLF
//! ```

use bytes::{Buf, Bytes};

use crate::limit;

/// Reads one body.
#[derive(Debug, Default)]
pub struct AwsChunks {
    state: State,
    line: Vec<u8>,
    trailers: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a chunk.
    #[default]
    Size,
    /// Within its data; so much is left.
    Data(u64),
    /// Behind its data.
    Behind,
    /// After the last chunk.
    Trailers,
    Ended,
}

/// What came is not in the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its body is not framed as `aws-chunked` says: {0}")]
pub struct Unframed(&'static str);

/// A piece of what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Of the data.
    Data(Bytes),
    /// A line between, without its end.
    Line(Vec<u8>),
}

impl AwsChunks {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Unframed`].
    pub fn push(&mut self, mut bytes: Bytes) -> Result<Vec<Piece>, Unframed> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            match self.state {
                State::Ended => return Err(Unframed("it goes on behind its end")),
                State::Data(left) => {
                    let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    pieces.push(Piece::Data(bytes.split_to(here)));
                    self.state = if here as u64 == left { State::Behind } else { State::Data(left - here as u64) };
                }
                State::Size | State::Behind | State::Trailers => {
                    self.line.push(bytes.get_u8());
                    if self.line.len() > limit::CHUNK_LINE {
                        return Err(Unframed("a line is too long"));
                    }
                    if self.line.ends_with(b"\n") {
                        let Some(line) = self.line.strip_suffix(b"\r\n").map(<[u8]>::to_vec) else {
                            return Err(Unframed("a line ends without a carriage return"));
                        };
                        self.line.clear();
                        self.state = self.after(&line)?;
                        pieces.push(Piece::Line(line));
                    }
                }
            }
        }
        Ok(pieces)
    }

    /// After the last bytes.
    ///
    /// # Errors
    /// When the end is still to come.
    pub fn finish(&self) -> Result<(), Unframed> {
        if self.state == State::Ended { Ok(()) } else { Err(Unframed("it breaks off")) }
    }

    fn after(&mut self, line: &[u8]) -> Result<State, Unframed> {
        if !line.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(Unframed("a line is not text"));
        }
        match self.state {
            State::Size => match size(line)? {
                0 => Ok(State::Trailers),
                size => Ok(State::Data(size)),
            },
            State::Behind if line.is_empty() => Ok(State::Size),
            State::Trailers if line.is_empty() => Ok(State::Ended),
            State::Trailers if self.trailers == limit::CHUNK_TRAILERS => Err(Unframed("it has too many trailers")),
            State::Trailers if line.contains(&b':') => {
                self.trailers += 1;
                Ok(State::Trailers)
            }
            _ => Err(Unframed("a chunk or a trailer ends where it should not")),
        }
    }
}

/// The size of the chunk that begins so. Where there is an extension, it is `;NAME=VALUE`.
fn size(line: &[u8]) -> Result<u64, Unframed> {
    let (digits, extension) = match line.iter().position(|&byte| byte == b';') {
        None => (line, None),
        Some(at) => (&line[..at], Some(&line[at + 1..])),
    };
    let named = |extension: &[u8]| extension.contains(&b'=') && !extension.contains(&b' ');
    if !(1..=16).contains(&digits.len()) || !extension.is_none_or(named) {
        return Err(Unframed("a chunk does not begin with its size"));
    }
    let digit = |value: u64, digit: &u8| Some(value << 4 | u64::from(char::from(*digit).to_digit(16)?));
    digits.iter().try_fold(0, digit).ok_or(Unframed("a chunk does not begin with its size"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8], cut: usize) -> Result<(Vec<u8>, Vec<String>), Unframed> {
        let mut chunks = AwsChunks::default();
        let (mut data, mut lines) = (Vec::new(), Vec::new());
        for piece in body.chunks(cut) {
            for piece in chunks.push(Bytes::copy_from_slice(piece))? {
                match piece {
                    Piece::Data(bytes) => data.extend(bytes),
                    Piece::Line(line) => lines.push(String::from_utf8(line).unwrap()),
                }
            }
        }
        chunks.finish()?;
        Ok((data, lines))
    }

    #[test]
    fn what_the_sdks_send_is_read() {
        let signed = b"3;chunk-signature=ab\r\none\r\n4;chunk-signature=cd\r\ntwo\n\r\n0;chunk-signature=ef\r\n\r\n";
        let unsigned = b"3\r\none\r\n0\r\nx-amz-checksum-crc32:abcd==\r\nx-amz-trailer-signature:ef\r\n\r\n";
        for cut in [1, 2, 100] {
            assert_eq!(read(signed, cut).unwrap().0, b"onetwo\n");
            let (data, lines) = read(unsigned, cut).unwrap();
            assert_eq!((&data[..], &*lines[3]), (&b"one"[..], "x-amz-checksum-crc32:abcd=="));
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        let long = [b"3;chunk-signature=", &vec![b'a'; limit::CHUNK_LINE][..], b"\r\none\r\n0\r\n\r\n"].concat();
        let many = ["0\r\n", &"a:b\r\n".repeat(limit::CHUNK_TRAILERS + 1), "\r\n"].concat();
        for body in [
            &b""[..],
            b"one",
            b"3\r\none\r\n",
            b"3\r\none\r\n0\r\n",
            b"3\r\nones\r\n0\r\n\r\n",
            b"3\none\r\n0\r\n\r\n",
            b"3 \r\none\r\n0\r\n\r\n",
            b"+3\r\none\r\n0\r\n\r\n",
            b"0x3\r\none\r\n0\r\n\r\n",
            b"3;signature\r\none\r\n0\r\n\r\n",
            b"10000000000000003\r\none\r\n0\r\n\r\n",
            b"3\r\none\r\n0\r\nno trailer\r\n\r\n",
            b"3\r\none\r\n0\r\n\r\n3",
            b"3\r\none\r\n0\r\na:\xff\r\n\r\n",
            &long,
            many.as_bytes(),
        ] {
            assert!(read(body, 3).is_err(), "{:?}", String::from_utf8_lossy(body));
        }
    }

    proptest! {
        #[test]
        fn the_data_comes_out_however_the_pieces_fall(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5), cut in 1usize..50, signed: bool,
        ) {
            let signature = if signed { ";chunk-signature=00ff" } else { "" };
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}{signature}\r\n", chunk.len()).bytes());
                body.extend_from_slice(chunk);
                body.extend(b"\r\n");
            }
            body.extend(format!("0{signature}\r\n\r\n").bytes());
            prop_assert_eq!(read(&body, cut).unwrap().0, chunks.concat());
        }

        #[test]
        fn any_bytes_are_read_alike_however_they_are_cut(body in "[0-3a;=:\r\n]{0,40}", cut in 1usize..9) {
            // As far as they can be read, and whether that was to the end.
            let read = |cut| {
                let mut chunks = AwsChunks::default();
                let pieces = body.as_bytes().chunks(cut).try_fold(Vec::new(), |mut read, piece| {
                    for piece in chunks.push(Bytes::copy_from_slice(piece))? {
                        match piece {
                            Piece::Data(bytes) => read.extend(bytes),
                            Piece::Line(line) => read.extend([&line[..], b"|"].concat()),
                        }
                    }
                    Ok::<_, Unframed>(read)
                });
                pieces.map(|read| (read, chunks.finish()))
            };
            prop_assert_eq!(read(cut), read(100));
        }
    }
}
