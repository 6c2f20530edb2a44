//! A body whose chunks are signed one by one, each signature resting on the one before: signed anew as it passes.
//!
//! Enters: the bytes that the agent sends, in pieces that fall anywhere. Leaves: the same chunks with other signatures, so just as long.
//! Never: a byte of a chunk before the whole of it was found to be signed by the placeholder's secret; more than one chunk held.
//!
//! ```text
//! SIZE;chunk-signature=HEX CRLF DATA CRLF …  0;chunk-signature=HEX CRLF  [NAME:VALUE CRLF … x-amz-trailer-signature:HEX CRLF]  CRLF
//! ```

use bytes::{Bytes, BytesMut};

use super::claim::Claim;
use super::key::{is_hex, sha256};
use super::{Key, Payload, Resigned, Unsigned, Verified};
use crate::coding::aws_chunked::{AwsChunks, Piece};
use crate::limit;

const CHUNK_SIGNATURE: &str = "chunk-signature=";
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature:";
const UNFRAMED: Unsigned = Unsigned::Form("its body is not framed in signed chunks, as its head says");

/// Reads one body.
#[derive(Debug)]
pub struct Chunks {
    frames: AwsChunks,
    claim: Claim,
    theirs: Chain,
    ours: Chain,
    state: State,
}

/// A key, and the signature that the next one rests on.
#[derive(Debug)]
struct Chain {
    key: Key,
    before: String,
}

#[derive(Debug)]
enum State {
    /// Before a chunk.
    Between,
    /// Within one: its size as written, its signature, its data so far.
    Chunk(String, String, BytesMut),
    /// Behind the last: what is there so far, and what it is signed with.
    Behind(Vec<String>, Option<String>),
    Ended,
}

impl Chunks {
    /// Reads the body behind a head that was verified and signed anew; `None` where its chunks are not signed.
    pub fn behind(verified: Verified, resigned: Resigned) -> Option<Self> {
        let (claim, key) = verified.into_key();
        if !matches!(claim.payload, Payload::Chunks { .. }) {
            return None;
        }
        let theirs = Chain { key, before: claim.signature.clone() };
        let ours = Chain { key: resigned.key, before: resigned.signature };
        Some(Self { frames: AwsChunks::default(), claim, theirs, ours, state: State::Between })
    }

    /// Takes the next bytes; gives what may go on.
    ///
    /// # Errors
    /// [`Unsigned`] for what is not signed, or not held.
    pub fn push(&mut self, bytes: Bytes) -> Result<Bytes, Unsigned> {
        let mut out = BytesMut::new();
        for piece in self.frames.push(bytes).map_err(|_| UNFRAMED)? {
            match piece {
                Piece::Data(data) => match &mut self.state {
                    State::Chunk(_, _, held) => held.extend_from_slice(&data),
                    _ => return Err(UNFRAMED),
                },
                Piece::Line(line) => self.line(std::str::from_utf8(&line).map_err(|_| UNFRAMED)?, &mut out)?,
            }
        }
        Ok(out.freeze())
    }

    /// Whether the end has come.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn line(&mut self, line: &str, out: &mut BytesMut) -> Result<(), Unsigned> {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Between => {
                let (size, extension) = line.split_once(';').ok_or(UNFRAMED)?;
                let signature = extension.strip_prefix(CHUNK_SIGNATURE).filter(|text| is_hex(text)).ok_or(UNFRAMED)?;
                match usize::from_str_radix(size, 16) {
                    Ok(0) => {
                        self.chunk(size, signature, b"", out)?;
                        State::Behind(Vec::new(), None)
                    }
                    Ok(length) if length <= limit::SIGNED_CHUNK => {
                        State::Chunk(size.to_owned(), signature.to_owned(), BytesMut::new())
                    }
                    _ => return Err(Unsigned::LongChunk),
                }
            }
            State::Chunk(size, signature, data) => {
                self.chunk(&size, &signature, &data, out)?;
                out.extend_from_slice(b"\r\n");
                State::Between
            }
            State::Behind(lines, signature) if line.is_empty() => {
                self.behind_the_last(&lines, signature.as_deref(), out)?;
                State::Ended
            }
            State::Behind(mut lines, None) => match line.strip_prefix(TRAILER_SIGNATURE) {
                // Anything around it would change the length of what goes on.
                Some(signature) if is_hex(signature) => State::Behind(lines, Some(signature.to_owned())),
                Some(_) => return Err(UNFRAMED),
                None => {
                    lines.push(line.to_owned());
                    State::Behind(lines, None)
                }
            },
            State::Behind(_, Some(_)) | State::Ended => return Err(UNFRAMED),
        };
        Ok(())
    }

    fn chunk(&mut self, size: &str, signature: &str, data: &[u8], out: &mut BytesMut) -> Result<(), Unsigned> {
        let what = format!("{}\n{}", sha256(b""), sha256(data));
        let ours = self.sign("AWS4-HMAC-SHA256-PAYLOAD", &what, signature)?;
        out.extend_from_slice(format!("{size};{CHUNK_SIGNATURE}{ours}\r\n").as_bytes());
        out.extend_from_slice(data);
        Ok(())
    }

    fn behind_the_last(
        &mut self,
        lines: &[String],
        signature: Option<&str>,
        out: &mut BytesMut,
    ) -> Result<(), Unsigned> {
        match (&self.claim.payload, signature) {
            (Payload::Chunks { trailer: true }, Some(signature)) => {
                let line = |line: &String| {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    format!("{}:{}\n", name.trim_ascii().to_ascii_lowercase(), value.trim_ascii())
                };
                let canonical: String = lines.iter().map(line).collect();
                let ours = self.sign("AWS4-HMAC-SHA256-TRAILER", &sha256(canonical.as_bytes()), signature)?;
                lines.iter().for_each(|line| out.extend_from_slice(format!("{line}\r\n").as_bytes()));
                out.extend_from_slice(format!("{TRAILER_SIGNATURE}{ours}\r\n\r\n").as_bytes());
                Ok(())
            }
            (Payload::Chunks { trailer: false }, None) if lines.is_empty() => {
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
            _ => Err(Unsigned::Form("what is behind the last chunk is not signed as its head says")),
        }
    }

    /// Checks the agent's signature of `what`; gives ours.
    fn sign(&mut self, kind: &str, what: &str, signature: &str) -> Result<String, Unsigned> {
        let Claim { time, scope, .. } = &self.claim;
        let text = |chain: &Chain| format!("{kind}\n{time}\n{scope}\n{}\n{what}", chain.before).into_bytes();
        if !self.theirs.key.verifies(&text(&self.theirs), signature) {
            return Err(Unsigned::Wrong);
        }
        let ours = self.ours.key.sign(&text(&self.ours));
        signature.clone_into(&mut self.theirs.before);
        ours.clone_into(&mut self.ours.before);
        Ok(ours)
    }
}
