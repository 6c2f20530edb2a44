//! What came back on a connection, and whether that is a refusal of exeat.
//!
//! Enters: bytes. Leaves: statuses and kinds of refusal. Never: a real server's refusal taken for one of exeat's; those have a
//! problem type of their own, or say nothing at all.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::super::finding::Outcome;
use super::super::heard::Heard;
use super::http2::Streams;
use super::tls::PAUSE;
use super::told;

/// What exeat's refusals have as their type, before the kind.
const PROBLEM: &str = "urn:exeat:refusal:";
/// What exeat calls itself to an SSH client, before it says no.
const SSH: &str = "SSH-2.0-exeat\r\n";
/// What a WebSocket ends with that a placeholder was seen on: a frame that closes it, and why.
const ENDED: &str = "the placeholder of credential `";
/// For a connection, and for the first byte of an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Once something has come, more follows soon or not at all.
const REST: Duration = Duration::from_millis(300);
/// What a request is answered with whose head cannot be read: malformed, late, too long, not known.
const UNREAD: [u16; 6] = [400, 408, 414, 431, 501, 505];
/// More than any refusal.
const LONGEST: usize = 64 * 1024;

/// Everything that came until the other side closed, or fell silent.
#[derive(Debug, Default)]
pub(super) struct Answer {
    text: String,
    /// Over HTTP/2.
    streams: Option<Streams>,
    closed: bool,
}

impl Answer {
    /// Reads until the end, or until nothing more comes.
    pub(super) fn read(stream: &mut (impl Read + Timed), patience: Duration) -> io::Result<Self> {
        Self::read_with(stream, (patience, REST), |_| false)
    }

    /// The same, or until what came is all there is to come: where that can be told, silence says nothing before.
    pub(super) fn read_until(
        stream: &mut (impl Read + Timed),
        patience: Duration,
        whole: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Self> {
        Self::read_with(stream, (patience, patience), whole)
    }

    /// Waits for the first byte, and then for each further one.
    fn read_with(
        stream: &mut (impl Read + Timed),
        (patience, rest): (Duration, Duration),
        whole: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        let deadline = Instant::now() + patience + REST;
        let mut closed = false;
        stream.wait_at_most(patience)?;
        while bytes.len() < LONGEST && Instant::now() < deadline && !whole(&bytes) {
            match stream.read(&mut piece) {
                Ok(0) => {
                    closed = true;
                    break;
                }
                Ok(read) => {
                    bytes.extend_from_slice(&piece[..read]);
                    stream.wait_at_most(rest)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                // Reset, or closed without TLS's own goodbye: what came before it counts.
                Err(_) => {
                    closed = true;
                    break;
                }
            }
        }
        Ok(Self { text: String::from_utf8_lossy(&bytes).into_owned(), streams: Streams::read(&bytes), closed })
    }

    /// What stands for an answer that was not waited for.
    pub(super) fn of(what: &str) -> Self {
        Self { text: what.to_owned(), streams: None, closed: true }
    }

    /// Its HTTP/1 responses, each from its status line on.
    fn responses(&self) -> Vec<&str> {
        let starts = self.text.match_indices("HTTP/1.").map(|(at, _)| at);
        let starts: Vec<usize> = starts.filter(|at| *at == 0 || self.text[..*at].ends_with('\n')).collect();
        let ends = starts.iter().skip(1).copied().chain([self.text.len()]);
        starts.iter().zip(ends).map(|(start, end)| &self.text[*start..end]).collect()
    }

    fn statuses(&self) -> Vec<u16> {
        self.responses().into_iter().filter_map(status).collect()
    }

    /// Everything that came, as text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its answers one by one: the responses of HTTP/1, what came on each stream of HTTP/2.
    pub(super) fn parts(&self) -> Vec<Self> {
        let part = |text: String| Self { text, streams: None, closed: true };
        match &self.streams {
            Some(streams) => {
                let answered = streams.streams.values().filter(|stream| !stream.data.is_empty());
                answered.map(|stream| part(String::from_utf8_lossy(&stream.data).into_owned())).collect()
            }
            None => self.responses().into_iter().map(|response| part(response.to_owned())).collect(),
        }
    }

    /// What the canary at the end of all calls says that it heard, if this is its answer.
    pub(super) fn heard(&self, word: &str) -> Option<Heard> {
        let report = &self.text[self.text.find("{\"word\":")?..];
        let heard: Heard = serde_json::Deserializer::from_str(report).into_iter().next()?.ok()?;
        (heard.word == word).then_some(heard)
    }

    /// The kinds of its refusals.
    pub(super) fn kinds(&self) -> Vec<&str> {
        self.text
            .match_indices(PROBLEM)
            .map(|(at, found)| {
                let kind = &self.text[at + found.len()..];
                &kind[..kind.find(|c: char| c != '-' && !c.is_ascii_lowercase()).unwrap_or(kind.len())]
            })
            .collect()
    }

    /// Whether this can only be exeat that says no: each answer has a kind of refusal (a refused tool's has status 200, as its client
    /// wants it) or, where the head was not even HTTP, one of a few bare statuses and no body; or it was closed without a byte.
    pub(super) fn is_refusal(&self) -> bool {
        if self.text.is_empty() {
            return self.closed;
        }
        if let Some(streams) = &self.streams {
            return streams.are_refused(|data| {
                let text = String::from_utf8_lossy(data);
                text.contains(PROBLEM) || is_end(&text)
            });
        }
        let unread = |response: &str| {
            let bare = response.to_ascii_lowercase().contains("content-length: 0\r");
            bare && status(response).is_some_and(|status| UNREAD.contains(&status))
        };
        match self.responses()[..] {
            [] => self.text.contains(PROBLEM) || self.text.starts_with(SSH) || is_end(&self.text), // no HTTP at all
            ref all => all.iter().all(|response| response.contains(PROBLEM) || unread(response)),
        }
    }
}

/// Whether a WebSocket was closed for a placeholder: exeat's frame comes first.
fn is_end(text: &str) -> bool {
    text.starts_with(char::REPLACEMENT_CHARACTER) && text.contains(ENDED)
}

fn status(response: &str) -> Option<u16> {
    response.get(9..12)?.parse().ok()
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (statuses, kinds) = (self.statuses(), self.kinds());
        if let Some(streams) = &self.streams {
            write!(f, "{streams}")?;
            if self.parts().iter().any(|part| is_end(&part.text)) {
                f.write_str(", the WebSocket was ended, placeholder-misdirected")?;
            }
            return if kinds.is_empty() { Ok(()) } else { write!(f, ", {}", kinds.join(", ")) };
        }
        match (statuses.is_empty(), self.text.is_empty()) {
            (true, true) if self.closed => f.write_str("closed without an answer"),
            (true, true) => f.write_str("no answer"),
            (true, false) if self.text.starts_with(SSH) => f.write_str("a goodbye in SSH"),
            (true, false) if is_end(&self.text) => f.write_str("the WebSocket was ended, placeholder-misdirected"),
            (true, false) if kinds.is_empty() => {
                let start: String = self.text.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect();
                write!(f, "answered `{start}`")
            }
            (true, false) => f.write_str(&kinds.join(", ")),
            (false, _) => {
                let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
                write!(f, "HTTP {}", statuses.join(", "))?;
                if kinds.is_empty() { Ok(()) } else { write!(f, " {}", kinds.join(", ")) }
            }
        }
    }
}

/// A stream that can be told not to wait for ever.
pub(super) trait Timed {
    fn wait_at_most(&self, patience: Duration) -> io::Result<()>;
}

impl Timed for TcpStream {
    fn wait_at_most(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
}

/// Says something in the clear, and listens.
pub(super) fn plain(to: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // It may have answered before it closed.
    let patience = if stream.write_all(bytes).is_ok() { PATIENCE } else { REST };
    Answer::read(&mut stream, patience)
}

/// The same, one piece after the other, each of which arrives by itself.
pub(super) fn plain_in_pieces(to: SocketAddr, pieces: &[&[u8]]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        // It may have been closed.
        if stream.write_all(piece).is_err() {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Answer::read(&mut stream, PATIENCE)
}

/// The same, until what came is all there is to come.
pub(super) fn plain_until(to: SocketAddr, bytes: &[u8], whole: impl Fn(&[u8]) -> bool) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match stream.write_all(bytes) {
        Ok(()) => Answer::read_until(&mut stream, PATIENCE, whole),
        // It may have answered before it closed.
        Err(_) => Answer::read(&mut stream, REST),
    }
}

/// The outcome of something that exeat has to refuse. A connection that never came to be shows nothing, unless it was refused.
pub(super) fn judged(what: &str, answer: io::Result<Answer>) -> Outcome {
    let what = if what.is_empty() { String::new() } else { format!("{what}: ") };
    match answer {
        Ok(answer) if answer.is_refusal() => Outcome::held(format!("{what}{answer}")),
        Ok(answer) if answer.text.is_empty() => Outcome::not_applicable(format!("{what}{answer}")),
        Ok(answer) => Outcome::broke(format!("{what}{answer}")),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
            Outcome::held(format!("{what}{}", told(error)))
        }
        Err(error) => Outcome::not_applicable(format!("{what}{}", told(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer::of(text)
    }

    const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\n\r\n{\n  \"type\": \"urn:exeat:refusal:host-not-listed\"\n}\n";

    #[test]
    fn a_refusal_of_exeat_is_told_from_any_other_answer() {
        let unread = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        for refusal in ["", REFUSED, &REFUSED.repeat(2), unread, "SSH-2.0-exeat\r\n\0\0\0\u{c}"] {
            assert!(answer(refusal).is_refusal(), "{refusal}");
        }
        let smuggled = format!("{REFUSED}HTTP/1.1 200 OK\r\n\r\n");
        for other in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 403 Forbidden\r\nServer: x\r\n\r\nno",
            &smuggled,
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.1 200 OK\r\n\r\nSSH-2.0-exeat\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert!(!answer(other).is_refusal(), "{other}");
        }
        assert!(!Answer::default().is_refusal(), "silence says nothing");
    }

    #[test]
    fn an_answer_is_told_in_few_words() {
        assert_eq!(answer(REFUSED).to_string(), "HTTP 403 host-not-listed");
        assert_eq!(answer("").to_string(), "closed without an answer");
        assert_eq!(answer("SSH-2.0\r\n").to_string(), "answered `SSH-2.0??`");
    }
}
