//! Placeholders that show only when a call is under way: in chunks, behind them, and in the frames of a WebSocket.
//!
//! Enters: calls that a placeholder does not belong to, and for which nothing is leased. Leaves: whether the canary at the end of all calls heard a
//! whole placeholder. Never: a placeholder in a finding.

use std::io::{self, Write};
use std::time::Duration;

use super::super::brief::{Brief, Call};
use super::super::finding::{Outcome, Probe, Verdict};
use super::super::heard::hex;
use super::answer::{self, Answer};
use super::carried::unanswered;
use super::http2::{data, headers, preface, pseudo};
use super::placeholders::{judge, with_value};
use super::{gzip, tls};

pub(super) const PROBES: &[Probe] = &[
    Probe::new("placeholders/chunks", "in a body of chunks, cut in the middle", |brief| {
        under_way(brief, |call, placeholder| {
            let (first, second) = placeholder.split_at(placeholder.len() / 2);
            call.say_in_pieces(&[&head(call, "chunks", CHUNKED), &chunk(first), &chunk(second), b"0\r\n\r\n"])
        })
    }),
    Probe::new("placeholders/long", "far behind in a long body, whose length is known, and is not", |brief| {
        let known = under_way(brief, |call, placeholder| {
            let length = format!("Connection: close\r\nContent-Length: {}\r\n", LONG + placeholder.len());
            let head = head(call, "long", &length);
            call.say_in_pieces(&[&head, "x".repeat(LONG).as_bytes(), placeholder.as_bytes()])
        });
        let unknown = under_way(brief, |call, placeholder| {
            let (padding, last) = (chunk(&"x".repeat(LONG)), chunk(placeholder));
            call.say_in_pieces(&[&head(call, "long", CHUNKED), &padding, &last, b"0\r\n\r\n"])
        });
        Outcome::of_all([known, unknown], "")
    }),
    Probe::new("placeholders/chunk-trailer", "behind a body of chunks", |brief| {
        under_way(brief, |call, placeholder| {
            let behind = format!("0\r\nX-Probe: {placeholder}\r\n\r\n").into_bytes();
            call.say_in_pieces(&[&head(call, "chunk-trailer", CHUNKED), &chunk("abc"), &behind])
        })
    }),
    Probe::new("placeholders/tunnel", "in what passes unread, as a rule says, at once and in pieces", |brief| {
        let Some(tunnel) = &brief.tunnel else { return Outcome::not_applicable("no rule lets bytes pass unread") };
        let tries = [0, 1].map(|cut| {
            under_way(brief, |_, placeholder| {
                let head = head(tunnel, "tunnel", &format!("X-Probe: {placeholder}\r\n"));
                let at = (head.len() - placeholder.len() / 2) * cut;
                tunnel.say_plainly_in_pieces(&[&head[..at], &head[at..]])
            })
        });
        Outcome::of_all(tries, "")
    }),
    Probe::new("placeholders/websocket", "in a message of a WebSocket, of text and of bytes", |brief| {
        let text = under_way(brief, |call, placeholder| socket(call, "websocket", &[frame(TEXT | LAST, placeholder)]));
        let bytes =
            under_way(brief, |call, placeholder| socket(call, "websocket", &[frame(BYTES | LAST, placeholder)]));
        Outcome::of_all([text, bytes], "")
    }),
    Probe::new("placeholders/websocket-pieces", "in a message of a WebSocket, cut over two frames", |brief| {
        under_way(brief, |call, placeholder| {
            let (first, second) = placeholder.split_at(placeholder.len() / 2);
            socket(call, "websocket-pieces", &[frame(TEXT, first), frame(LAST, second)])
        })
    }),
    Probe::new(
        "placeholders/websocket-deflate",
        "in a message of a WebSocket that is compressed, as it asked to",
        |brief| {
            sent_on(brief, deflated, |call, placeholder| {
                let fields = format!("{WEBSOCKET}Sec-WebSocket-Extensions: permessage-deflate\r\n");
                let message = frame(TEXT | LAST | COMPRESSED, deflated(placeholder));
                asked(call, &head(call, "websocket-deflate", &fields), &[message])
            })
        },
    ),
    Probe::new(
        "placeholders/websocket-http2",
        "in a message of a WebSocket over HTTP/2, of text, of bytes, and cut over two pieces",
        |brief| {
            let name = "websocket-http2";
            let whole = [TEXT, BYTES].map(|kind| {
                under_way(brief, |call, placeholder| socket_over_http2(call, name, &[&frame(kind | LAST, placeholder)]))
            });
            let cut = under_way(brief, |call, placeholder| {
                let message = frame(TEXT | LAST, placeholder);
                let (first, second) = message.split_at(message.len() - placeholder.len() / 2);
                socket_over_http2(call, name, &[first, second])
            });
            Outcome::of_all(whole.into_iter().chain([cut]), "")
        },
    ),
    Probe::new("placeholders/websocket-control", "in a ping of a WebSocket, and in the reason of its end", |brief| {
        let ping =
            under_way(brief, |call, placeholder| socket(call, "websocket-control", &[frame(PING | LAST, placeholder)]));
        let close = under_way(brief, |call, placeholder| {
            socket(call, "websocket-control", &[frame(CLOSE | LAST, format!("\u{3}\u{68}{placeholder}"))])
        });
        Outcome::of_all([ping, close], "")
    }),
];

/// More than is looked through as a whole.
const LONG: usize = 80 * 1024;
const CHUNKED: &str = "Connection: close\r\nTransfer-Encoding: chunked\r\n";
const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHByb2JlJ3Mgbm9uY2U=\r\n";
/// For an end that has to come, and for the canary to hear what came before it.
const PATIENCE: Duration = Duration::from_millis(1500);
const SETTLED: Duration = Duration::from_millis(30);
/// Of a frame's first byte (RFC 6455 section 5.2).
const LAST: u8 = 0x80;
const TEXT: u8 = 1;
const BYTES: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
/// RFC 7692 section 6.
const COMPRESSED: u8 = 0x40;

/// Sends every placeholder on its way. Whatever the answer is, the canary must not have heard it.
fn under_way(brief: &Brief, say: impl Fn(&Call, &str) -> io::Result<Answer>) -> Outcome {
    sent_on(brief, |placeholder| placeholder.as_bytes().to_vec(), say)
}

/// The same with every placeholder in another form, which the canary must not have heard either, nor that it was asked for.
fn sent_on(brief: &Brief, form: fn(&str) -> Vec<u8>, say: impl Fn(&Call, &str) -> io::Result<Answer>) -> Outcome {
    let possible = brief.placeholders.iter().filter(|misdirection| misdirection.streams);
    let tries = possible.map(|misdirection| {
        with_value(misdirection, |placeholder| {
            let call = &misdirection.call;
            // What came before is not asked about.
            if let Err(error) = unanswered(brief, call) {
                return Outcome::not_applicable(error);
            }
            let outcome = judge(misdirection, || say(call, placeholder));
            std::thread::sleep(SETTLED);
            match unanswered(brief, call) {
                Ok(heard)
                    if heard.iter().any(|it| it.holds(placeholder) || it.body.contains(&hex(&form(placeholder)))) =>
                {
                    Outcome::broke(format!("{} to {}: the canary has it", misdirection.variable, call.host))
                }
                Ok(heard) if heard.iter().any(|request| request.field("sec-websocket-extensions").is_some()) => {
                    Outcome::broke(format!("{}: the canary was asked for an extension", call.host))
                }
                Err(error) if outcome.verdict == Verdict::Held => Outcome::not_applicable(error),
                _ => outcome,
            }
        })
    });
    let none = match brief.placeholders[..] {
        [] => "the environment has no placeholder",
        _ => "no rule lets out a call to where a placeholder does not belong, for which nothing is leased",
    };
    Outcome::of_all(tries, none)
}

fn head(call: &Call, name: &str, fields: &str) -> Vec<u8> {
    let (method, authority) = (&call.method, call.authority());
    let target = call.sent(&format!("placeholders/{name}"));
    format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n").into_bytes()
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// A masked frame; the mask is all zeroes, which is one as well.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    const SHORT: usize = 126;
    let payload = payload.as_ref();
    let length = payload.len().to_be_bytes();
    let mut bytes = match payload.len() {
        0..SHORT => vec![first, MASKED | length[7]],
        _ => vec![first, MASKED | 126, length[6], length[7]],
    };
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// As it is in a compressed message: behind a last block there is a byte of nothing (RFC 7692 section 7.2.3.4).
fn deflated(text: &str) -> Vec<u8> {
    [&gzip::deflated(text.as_bytes())[..], &[0]].concat()
}

/// Opens a WebSocket and says something on it. The answer is what exeat does then: it has to end it.
fn socket(call: &Call, name: &str, frames: &[Vec<u8>]) -> io::Result<Answer> {
    asked(call, &head(call, name, WEBSOCKET), frames)
}

fn asked(call: &Call, head: &[u8], frames: &[Vec<u8>]) -> io::Result<Answer> {
    let mut stream = match tls::open(&call.hello(0)?)? {
        Ok(stream) => stream,
        Err(another) => return Ok(another),
    };
    stream.write_all(head)?;
    let agreed = Answer::read_until(&mut stream, answer::PATIENCE, |came| came.ends_with(b"\r\n\r\n"))?;
    if !agreed.text().starts_with("HTTP/1.1 101") {
        return Ok(agreed);
    }
    for frame in frames {
        // It may have been ended by the one before.
        if stream.write_all(frame).and_then(|()| stream.flush()).is_err() {
            break;
        }
    }
    Answer::read(&mut stream, PATIENCE)
}

/// The same over HTTP/2 (RFC 8441): the frames are what a stream carries, in pieces of its own.
fn socket_over_http2(call: &Call, name: &str, pieces: &[&[u8]]) -> io::Result<Answer> {
    let (own, target) = (call.authority(), call.sent(&format!("placeholders/{name}")));
    let mut head = pseudo("CONNECT", "https", &own, &target);
    head.extend([(":protocol", "websocket"), ("sec-websocket-version", "13")]);
    let opening = [preface(), headers(1, &head, false)].concat();
    let pieces = pieces.iter().map(|piece| data(1, piece, false));
    let said: Vec<Vec<u8>> = [opening].into_iter().chain(pieces).collect();
    call.say_http2(1, &said.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
