//! Frames of HTTP/2 that are out of place, or not what they say.
//!
//! Enters: the steps of a case. Leaves: the same with one that a strict server does not take, or that makes no difference. Never:
//! a frame that a client library could be talked into.

use serde_json::{Value, json};

use super::cases::Random;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Value {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let bytes = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
    json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// How many odd frames there are.
pub const KINDS: usize = 22;

/// Adds the odd frame of this number to the steps of a request on stream 1: before, within or behind it.
pub fn disturb(random: &mut Random, kind: usize, steps: &mut Vec<Value>) {
    // `:method GET` and `:path /` by index: what a smuggled head could begin with.
    let block = [0x82, 0x84];
    let odd: [Value; KINDS] = [
        frame(DATA, 1, 1, b"more"),
        frame(DATA, 0, 0, b"x"),
        frame(DATA, 9, 1, &[200, b'x']),
        frame(HEADERS, 5, 1, &block),
        frame(HEADERS, 5, 0, &block),
        frame(HEADERS, 5, 2, &block),
        frame(HEADERS, 5, 3, &[0xff, 0xff, 0xff, 0xff, 0xff]),
        frame(HEADERS, 1, 3, &block),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 16]),
        frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        frame(RST_STREAM, 0, 7, &[0, 0, 0, 8]),
        frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
        frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        frame(SETTINGS, 1, 0, b""),
        frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82, 0x84]),
        frame(PING, 0, 0, b"1234567"),
        frame(GOAWAY, 0, 0, &[0; 8]),
        frame(WINDOW_UPDATE, 0, 1, &[0; 4]),
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        frame(CONTINUATION, 4, 1, &block),
        frame(0x42, 0, 1, b"of no known type"),
        frame(0x42, 0, 0, &[0; 20_000]),
    ];
    match random.below(4) {
        // Between a head and its continuation nothing may stand; an empty string is fine.
        0 => steps[0]["split"] = json!({ "between": random.one(&[json!(""), odd[0].clone(), odd[20].clone()]) }),
        1 => steps.insert(0, json!({ "raw": odd[kind] })),
        _ => {
            let at = 1 + random.below(steps.len());
            steps.insert(at, json!({ "raw": odd[kind] }));
        }
    }
}

/// Adds frames of which nothing is meant: any type, flags, stream and payload; or bytes that are no frame.
pub fn confuse(random: &mut Random, steps: &mut Vec<Value>) {
    for _ in 0..=random.below(6) {
        let (kind, flags) = (u8::try_from(random.below(11)).unwrap(), u8::try_from(random.below(256)).unwrap());
        let (stream, length) = (u32::try_from(random.below(8)).unwrap(), random.below(64));
        let payload = random.bytes(length);
        let raw = if random.below(8) == 0 {
            json!(payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        } else {
            frame(kind, flags, stream, &payload)
        };
        let at = random.below(steps.len() + 1);
        steps.insert(at, json!({ "raw": raw }));
    }
}
