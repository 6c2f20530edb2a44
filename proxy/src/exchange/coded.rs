//! A request's body seen through its content coding.
//!
//! Enters: the chunks as the client sends them, and the head that says how they are coded. Leaves: nothing, or the refusal that
//! ends the request. Never: the rest of a body that cannot be read, or that becomes more than it could honestly be; a byte that is only looked at
//! decoded: a decoder skips names, comments and frames that hold nothing; a decoder without room for what it takes, or one that goes on beyond its turn.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::coding::aws_chunked::{AwsChunks, Piece};
use crate::coding::{self, Coding, Decoder, Decoders, NoRoom};
use crate::error::Refusal;
use crate::grpc::{self, Messages};
use crate::request::FormWatch;
use crate::sabotage::{Wall, lacks};
use crate::swap::{BodyWatch, Head, Swap};
use crate::{limit, turn};

/// What is decoded at once.
const ROOM: usize = 16 * 1024;

/// Finds placeholders, and names by which a form has its call taken for another, in a body that may be coded.
pub struct CodedWatch {
    watch: BodyWatch,
    /// What else is looked for in it.
    form: Option<Box<FormWatch>>,
    /// Whether there is nothing to look for.
    nothing: bool,
    decoding: Option<Decoding>,
    framing: Option<Framing>,
    /// Of gRPC and Connect, in which each may be coded.
    messages: Option<Messages>,
}

/// What is around a body that says it is `aws-chunked`.
struct Framing {
    chunks: AwsChunks,
    /// Over the lines in it.
    lines: BodyWatch,
    /// What was read and is still to be looked through: chunks may be of a byte each.
    ahead: VecDeque<Piece>,
}

struct Decoding {
    decoder: Decoder,
    /// What comes when that has decoded what it has.
    ahead: VecDeque<Bytes>,
    room: Box<[u8]>,
    /// Over the coded bytes as they are.
    around: BodyWatch,
    coded: u64,
    plain: u64,
    coding: Coding,
    /// The bytes by which it could be another coding as well.
    begins: Vec<u8>,
}

impl CodedWatch {
    /// A watch over the body behind `head`. A worker without placeholders has nothing to look for but in a `form`.
    ///
    /// # Errors
    /// [`Refusal::UnexaminedBody`] for a coding that cannot be read, or several, or one around messages that may be compressed themselves.
    pub fn new(head: &Head<'_>, swap: &Swap, form: Option<Box<FormWatch>>) -> Result<Self, Refusal> {
        let nothing = form.is_none() && (swap.is_empty() || lacks(Wall::Watch));
        let coding = if nothing { Ok((Coding::Identity, false)) } else { coding::of_request(head.headers) };
        let (coding, chunked) = coding.map_err(|error| Refusal::UnexaminedBody(error.to_string()))?;
        let decoding = match coding {
            Coding::Identity => None,
            coding => {
                let room = vec![0; ROOM].into();
                let (decoder, ahead, around) = (Decoder::new(coding), VecDeque::new(), swap.body(head));
                Some(Decoding { decoder, ahead, room, around, coded: 0, plain: 0, coding, begins: Vec::new() })
            }
        };
        let messages = if nothing { Ok(None) } else { grpc::messages(head.headers) };
        let messages = messages.map_err(|base64| Refusal::UnexaminedBody(base64.to_string()))?;
        if messages.is_some() && (chunked || decoding.is_some()) {
            // One reader takes the messages as they come, another undoes the coding first: a message of the one is within a message of the other.
            let why = "its messages are in a content coding besides: send gRPC and Connect without `Content-Encoding`";
            return Err(Refusal::UnexaminedBody(why.to_owned()));
        }
        let framing = || Framing { chunks: AwsChunks::default(), lines: swap.body(head), ahead: VecDeque::new() };
        Ok(Self { watch: swap.body(head), form, nothing, decoding, framing: chunked.then(framing), messages })
    }

    /// Waits until there is room for its decoder, and takes it from there from now on.
    ///
    /// # Errors
    /// [`Refusal::UnexaminedBody`] where there was none in time.
    pub(super) async fn within(&mut self, decoders: &Arc<Decoders>) -> Result<(), Refusal> {
        let Some(decoding) = &mut self.decoding else { return Ok(()) };
        decoding.decoder.within(decoders);
        poll_fn(|cx| decoding.decoder.poll_turn(cx)).await.map_err(no_room)
    }

    /// Waits until all that was fed is looked through, a turn after the other.
    ///
    /// # Errors
    /// As [`CodedWatch::step`]; where there is no room to decode it in.
    pub(super) fn poll_seen(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        loop {
            if let Some(decoding) = &mut self.decoding {
                ready!(decoding.decoder.poll_room(cx)).map_err(no_room)?;
            }
            if self.step()? {
                return Poll::Ready(Ok(()));
            }
            ready!(turn::poll_slice(cx));
        }
    }

    /// Nothing comes for now. Whoever asks is woken should its decoder have to go.
    pub(super) fn rests(&self, cx: &Context<'_>) {
        self.decoding.iter().for_each(|decoding| decoding.decoder.rests(cx));
    }

    /// Examines the next chunk. Nothing of it may go upstream before.
    ///
    /// # Errors
    /// As `feed` and `step`.
    pub fn push(&mut self, chunk: &Bytes) -> Result<(), Refusal> {
        self.feed(chunk)?;
        while !self.step()? {}
        Ok(())
    }

    /// Takes the next chunk. Nothing of it may go upstream before [`CodedWatch::step`] says that this was all.
    ///
    /// # Errors
    /// For a placeholder that can be seen as it is; where its framing is broken.
    pub(super) fn feed(&mut self, chunk: &Bytes) -> Result<(), Refusal> {
        if self.nothing {
            return Ok(());
        }
        if let Some(messages) = &mut self.messages {
            messages.push(chunk).map_err(|compressed| Refusal::UnexaminedBody(compressed.to_string()))?;
        }
        let Some(Framing { chunks, ahead, .. }) = &mut self.framing else { return self.take(chunk) };
        ahead.extend(chunks.push(chunk.clone()).map_err(|unframed| Refusal::UnexaminedBody(unframed.to_string()))?);
        Ok(())
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), Refusal> {
        let Some(decoding) = &mut self.decoding else { return look(chunk, &mut self.watch, &mut self.form) };
        decoding.around.push(chunk)?;
        decoding.begins.extend(chunk.iter().take(coding::BEGINNING - decoding.begins.len()));
        if coding::is_either(decoding.coding, &decoding.begins) {
            let why = "its body is `deflate` in both its forms (RFC 1950, and bare RFC 1951), which differ";
            return Err(Refusal::UnexaminedBody(why.to_owned()));
        }
        decoding.coded += chunk.len() as u64;
        decoding.ahead.push_back(chunk.clone());
        Ok(())
    }

    /// Looks through a piece of what was fed. Whether that was all.
    ///
    /// # Errors
    /// For a placeholder, and where the coding is broken or hides too much.
    fn step(&mut self) -> Result<bool, Refusal> {
        if let Some(Framing { lines, ahead, .. }) = &mut self.framing
            && let Some(piece) = ahead.pop_front()
        {
            match piece {
                Piece::Line(line) => lines.push(&[&line[..], b"\n"].concat())?,
                Piece::Data(data) => self.take(&data)?,
            }
            return Ok(false);
        }
        let Some(Decoding { decoder, ahead, room, .. }) = &mut self.decoding else { return Ok(true) };
        if decoder.is_idle() {
            let Some(chunk) = ahead.pop_front() else { return Ok(true) };
            decoder.feed(chunk);
        }
        let length = decoder.read(room).map_err(|error| broken(&error))?;
        if decoder.is_idle() && !decoder.is_used_up() {
            return Err(Refusal::UnexaminedBody("there is more behind the end of its content coding".to_owned()));
        }
        let (watch, form) = (&mut self.watch, &mut self.form);
        self.decoding.as_mut().map_or(Ok(()), |decoding| decoding.look(length, watch, form))?;
        Ok(false)
    }

    /// Examines what is left at the end.
    ///
    /// # Errors
    /// As [`CodedWatch::push`]; also for a coding that breaks off.
    pub fn finish(mut self) -> Result<(), Refusal> {
        if let Some(Framing { chunks, lines, .. }) = &mut self.framing {
            chunks.finish().map_err(|unframed| Refusal::UnexaminedBody(unframed.to_string()))?;
            lines.finish()?;
        }
        if let Some(decoding) = &mut self.decoding {
            decoding.around.finish()?;
            loop {
                let length = decoding.decoder.finish(&mut decoding.room).map_err(|error| broken(&error))?;
                if length == 0 {
                    break;
                }
                decoding.look(length, &mut self.watch, &mut self.form)?;
            }
        }
        self.form.as_mut().map_or(Ok(()), |form| form.finish())?;
        Ok(self.watch.finish()?)
    }
}

/// Looks through what is not coded, or no longer.
fn look(plain: &[u8], watch: &mut BodyWatch, form: &mut Option<Box<FormWatch>>) -> Result<(), Refusal> {
    watch.push(plain)?;
    form.as_mut().map_or(Ok(()), |form| form.push(plain))
}

impl Decoding {
    fn look(&mut self, length: usize, watch: &mut BodyWatch, form: &mut Option<Box<FormWatch>>) -> Result<(), Refusal> {
        self.plain += length as u64;
        if self.plain > limit::DECODED_FREE.max(self.coded.saturating_mul(limit::DECODED_RATIO)) {
            let ratio = limit::DECODED_RATIO;
            return Err(Refusal::UnexaminedBody(format!("decoded, its body is more than {ratio} times as long")));
        }
        look(&self.room[..length], watch, form)
    }
}

fn no_room(none: NoRoom) -> Refusal {
    Refusal::UnexaminedBody(none.to_string())
}

fn broken(error: &std::io::Error) -> Refusal {
    Refusal::UnexaminedBody(format!("its body is not what its `Content-Encoding` says: {error}"))
}

#[cfg(test)]
mod tests;
