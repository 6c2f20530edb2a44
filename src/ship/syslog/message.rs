//! A record as a message of RFC 5424, and its frame.
//!
//! Enters: a batch. Leaves: frames whose messages are JSON: the worker, the agent, and the record as it stands in the log; one that is longer
//! than receivers have to take comes in numbered parts. Never: a message that is cut off; a control character.

use jiff::Timestamp;
use serde_json::Value;

use crate::call::Author;
use crate::ship::batch::{Batch, Entry, Level};

/// What a receiver over TLS should be able to take (RFC 5425 section 4.3.1), with its header.
const LONGEST: usize = 8192;
/// What a header and the JSON around a part have at most: names have their own bounds, below.
const AROUND: usize = 1024;
/// `log audit` (RFC 5424 section 6.2.1).
const FACILITY: u8 = 13;
const APPLICATION: &str = "exeat";

/// The frames of a batch, one behind the other.
pub fn frames(batch: &Batch, hostname: &str) -> Vec<u8> {
    let mut frames = Vec::new();
    for part in &batch.parts {
        for entry in &part.entries {
            for text in texts(&part.author, entry) {
                let message = format!("{} {text}", header(&part.author, entry, hostname));
                frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
                frames.extend_from_slice(message.as_bytes());
            }
        }
    }
    frames
}

fn header(author: &Author, entry: &Entry, hostname: &str) -> String {
    let severity = match entry.level {
        Level::Alert => 1,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
    };
    let (priority, time) = (u16::from(FACILITY) * 8 + severity, timestamp(entry.time));
    let (hostname, worker, kind) = (name(hostname, 255), name(&author.worker, 128), name(&entry.kind, 32));
    format!("<{priority}>1 {time} {hostname} {APPLICATION} {worker} {kind} -")
}

/// The JSON of a record: whole, or in parts.
fn texts(author: &Author, entry: &Entry) -> Vec<String> {
    let quoted = |text: &str| Value::from(text).to_string();
    let (worker, agent) = (quoted(&short(&author.worker)), quoted(&short(&author.agent)));
    // As it stands there, byte for byte, where it is JSON at all.
    let record = match entry.seq.is_some() || entry.kind == "ship-gap" {
        true => entry.text.clone(),
        false => quoted(&entry.text),
    };
    if record.len() + AROUND <= LONGEST {
        return vec![format!("{{\"worker\":{worker},\"agent\":{agent},\"record\":{record}}}")];
    }
    let parts = pieces(&entry.text, LONGEST - AROUND);
    let (count, seq) = (parts.len(), entry.seq.map_or(Value::Null, Value::from));
    let part = |(index, part): (usize, &String)| {
        let number = index + 1;
        format!(
            "{{\"worker\":{worker},\"agent\":{agent},\"seq\":{seq},\"part\":{number},\"parts\":{count},\"text\":{part}}}"
        )
    };
    parts.iter().enumerate().map(part).collect()
}

/// A text as JSON strings of at most so many bytes each, which say it one behind the other.
fn pieces(text: &str, most: usize) -> Vec<String> {
    let mut pieces = vec![String::from("\"")];
    for c in text.chars() {
        let escaped = Value::from(c.to_string()).to_string();
        let inner = &escaped[1..escaped.len() - 1];
        let last = pieces.len() - 1;
        if pieces[last].len() + inner.len() + 1 > most {
            pieces[last].push('"');
            pieces.push(String::from("\""));
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push_str(inner);
        }
    }
    if let Some(piece) = pieces.last_mut() {
        piece.push('"');
    }
    pieces
}

/// Graphic ASCII of a bounded length, as the fields of a header have it; `-` for nothing.
fn name(text: &str, most: usize) -> String {
    let graphic = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    match text {
        "" => "-".to_owned(),
        text => text.chars().take(most).map(graphic).collect(),
    }
}

/// Of a log that was changed; others have short names.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

/// RFC 3339 with microseconds, than which RFC 5424 knows nothing finer.
fn timestamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ship::batch::Part;

    fn sent(text: &str, seq: Option<u64>) -> Vec<String> {
        let (worker, agent) = ("0192f0c1-2b3c-7d4e-8f50-617283940a1b".to_owned(), "bot".to_owned());
        let author = Arc::new(Author { worker, agent, ..Author::default() });
        let time = "2026-01-31T12:00:00.123456789Z".parse().unwrap();
        let (text, kind, level) = (text.to_owned(), "name-asked".to_owned(), Level::Info);
        let entry = Entry { text, seq, time, kind, level, span: None };
        let frames = frames(&Batch { parts: vec![Part { author, entries: vec![entry], calls: vec![] }] }, "my host");
        let (mut rest, mut messages) = (&frames[..], Vec::new());
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').unwrap();
            let length: usize = std::str::from_utf8(&rest[..space]).unwrap().parse().unwrap();
            messages.push(String::from_utf8(rest[space + 1..space + 1 + length].to_vec()).unwrap());
            rest = &rest[space + 1 + length..];
        }
        messages
    }

    #[test]
    fn a_message_is_framed_by_its_length_and_has_the_record_as_it_stands() {
        let messages = sent("{\"seq\":7,\"x\":\"é\"}", Some(7));
        let expected = "<110>1 2026-01-31T12:00:00.123456Z my?host exeat 0192f0c1-2b3c-7d4e-8f50-617283940a1b name-asked - \
                        {\"worker\":\"0192f0c1-2b3c-7d4e-8f50-617283940a1b\",\"agent\":\"bot\",\"record\":{\"seq\":7,\"x\":\"é\"}}";
        assert_eq!(messages, [expected]);
    }

    #[test]
    fn what_is_too_long_for_a_receiver_comes_in_parts_and_whole() {
        for text in ["x".repeat(100_000), "é\"\\\u{7}".repeat(9000), "{}".to_owned() + &"\u{1f600}".repeat(4000)] {
            let messages = sent(&text, Some(3));
            assert!(messages.len() > 1 && messages.iter().all(|message| message.len() <= LONGEST));
            let mut whole = String::new();
            for (index, message) in messages.iter().enumerate() {
                let json: Value = serde_json::from_str(message.split_once(" - ").unwrap().1).unwrap();
                assert_eq!(
                    (&json["seq"], &json["part"], &json["parts"]),
                    (&3.into(), &(index + 1).into(), &messages.len().into())
                );
                whole += json["text"].as_str().unwrap();
            }
            assert!(whole == text);
        }
    }

    #[test]
    fn what_is_no_record_breaks_out_of_nothing() {
        let messages = sent("\"},\u{1b}[2J\n<1>", None);
        let json: Value = serde_json::from_str(messages[0].split_once(" - ").unwrap().1).unwrap();
        assert_eq!(json["record"], "\"},\u{1b}[2J\n<1>");
        assert!(!messages[0].contains(char::is_control));
    }
}
