//! A request's body seen through its content coding.
//!
//! Enters: the chunks as the client sends them, and the head that says how they are coded. Leaves: nothing, or the refusal that
//! ends the request. Never: the rest of a body that cannot be read, or that becomes more than it could honestly be.

use bytes::Bytes;

use crate::coding::{self, Coding, Decoder};
use crate::error::Refusal;
use crate::grpc::{self, Messages};
use crate::limit;
use crate::swap::{BodyWatch, Head, Swap};

/// What is decoded at once.
const ROOM: usize = 16 * 1024;

/// Finds placeholders in a body that may be coded.
pub(super) struct CodedWatch {
    watch: BodyWatch,
    decoding: Option<Decoding>,
    /// Of gRPC, in which each message may be coded.
    messages: Option<Messages>,
}

struct Decoding {
    decoder: Decoder,
    room: Box<[u8]>,
    coded: u64,
    plain: u64,
}

impl CodedWatch {
    /// A watch over the body behind `head`. A worker without placeholders has nothing to look for.
    ///
    /// # Errors
    /// [`Refusal::UnexaminedBody`] for a coding that cannot be read, or several.
    pub(super) fn new(head: &Head<'_>, swap: &Swap) -> Result<Self, Refusal> {
        let coding = if swap.is_empty() { Ok(Coding::Identity) } else { coding::of(head.headers) };
        let decoding = match coding.map_err(|error| Refusal::UnexaminedBody(error.to_string()))? {
            Coding::Identity => None,
            coding => {
                let room = vec![0; ROOM].into();
                Some(Decoding { decoder: Decoder::new(coding), room, coded: 0, plain: 0 })
            }
        };
        let messages = (!swap.is_empty() && grpc::is_spoken(head.headers)).then(Messages::default);
        Ok(Self { watch: swap.body(head), decoding, messages })
    }

    /// Examines the next chunk. Nothing of it may go upstream before.
    ///
    /// # Errors
    /// For a placeholder, and where the coding is broken or hides too much.
    pub(super) fn push(&mut self, chunk: &Bytes) -> Result<(), Refusal> {
        if let Some(messages) = &mut self.messages {
            messages.push(chunk).map_err(|compressed| Refusal::UnexaminedBody(compressed.to_string()))?;
        }
        let Some(decoding) = &mut self.decoding else { return Ok(self.watch.push(chunk)?) };
        decoding.coded += chunk.len() as u64;
        decoding.decoder.feed(chunk.clone());
        loop {
            let length = decoding.decoder.read(&mut decoding.room).map_err(|error| broken(&error))?;
            if length == 0 {
                break;
            }
            decoding.look(length, &mut self.watch)?;
        }
        if decoding.decoder.is_used_up() {
            return Ok(());
        }
        Err(Refusal::UnexaminedBody("there is more behind the end of its content coding".to_owned()))
    }

    /// Examines what is left at the end.
    ///
    /// # Errors
    /// As [`CodedWatch::push`]; also for a coding that breaks off.
    pub(super) fn finish(mut self) -> Result<(), Refusal> {
        if let Some(decoding) = &mut self.decoding {
            loop {
                let length = decoding.decoder.finish(&mut decoding.room).map_err(|error| broken(&error))?;
                if length == 0 {
                    break;
                }
                decoding.look(length, &mut self.watch)?;
            }
        }
        Ok(self.watch.finish()?)
    }
}

impl Decoding {
    fn look(&mut self, length: usize, watch: &mut BodyWatch) -> Result<(), Refusal> {
        self.plain += length as u64;
        if self.plain > limit::DECODED_FREE.max(self.coded.saturating_mul(limit::DECODED_RATIO)) {
            let ratio = limit::DECODED_RATIO;
            return Err(Refusal::UnexaminedBody(format!("decoded, its body is more than {ratio} times as long")));
        }
        Ok(watch.push(&self.room[..length])?)
    }
}

fn broken(error: &std::io::Error) -> Refusal {
    Refusal::UnexaminedBody(format!("its body is not what its `Content-Encoding` says: {error}"))
}
