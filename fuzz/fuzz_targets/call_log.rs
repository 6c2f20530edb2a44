//! The log of a worker that wrote what it liked and was changed afterwards: what is followed is what lies there, each line bound to the one before,
//! up to the first that is not; and what the index says of calls is what their lines say.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use libfuzzer_sys::fuzz_target;
use record::index::{Index, Span};
use record::read::WorkerLog;
use record::{Line, follow};
use serde_json::Value;

/// More lines say nothing more.
const LINES: usize = 24;

struct Worker(PathBuf);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Worker {
    /// A worker whose log is this text, in one closed file of so many frames, or in an open one.
    fn new(log: &[u8], frame: Option<usize>) -> Self {
        let worker = Self(std::env::temp_dir().join(format!("call-log-{}", std::process::id())));
        let directory = worker.0.join(record::DIRECTORY);
        fs::create_dir_all(&directory).expect("room");
        match frame {
            None => fs::write(directory.join("000001.jsonl"), log),
            Some(frame) => {
                let frames = log.chunks(frame).map(|frame| zstd::bulk::compress(frame, 1).expect("room"));
                fs::write(directory.join("000001.jsonl.zst"), frames.collect::<Vec<_>>().concat())
            }
        }
        .expect("room");
        worker
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

/// SHA-256, as the chain and the tree of RFC 6962 take it.
fn hash(first: u8, parts: &[&[u8]]) -> [u8; 32] {
    digest(&SHA256, &[&[first], &parts.concat()[..]].concat()).as_ref().try_into().expect("32 bytes")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As RFC 6962 section 2.1 defines it.
fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => digest(&SHA256, b"").as_ref().try_into().expect("32 bytes"),
        [leaf] => *leaf,
        leaves => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            hash(1, &[&root(left), &root(right)])
        }
    }
}

/// The lines up to the first that does not follow from the one before, and whether that is all.
fn chained<'l>(lines: &[&'l [u8]]) -> (Vec<&'l [u8]>, bool) {
    let mut before = [0; 32];
    for (at, line) in lines.iter().enumerate() {
        // What it says beside that may be no record at all.
        let (number, bond) = (format!("{{\"seq\":{},", at + 1), format!("\"prev\":\"{}\",", hex(&before)));
        if !line.starts_with(number.as_bytes()) || !line.windows(bond.len()).any(|part| part == bond.as_bytes()) {
            return (lines[..at].to_vec(), false);
        }
        before = hash(0, &[line]);
    }
    (lines.to_vec(), true)
}

/// Whoever changes a log without its key: a line less, twice, at another place, or with another byte.
fn changed(lines: &mut Vec<Vec<u8>>, change: u8, at: u8, byte: u8) {
    let Some(at) = usize::from(at).checked_rem(lines.len()) else { return };
    match change % 8 {
        1 => drop(lines.remove(at)),
        2 => lines.insert(at, lines[at].clone()),
        3 => lines.swap(at, 0),
        4 => {
            let place = usize::from(byte).checked_rem(lines[at].len());
            place.into_iter().for_each(|place| lines[at][place] ^= 1);
        }
        5 => lines[at].truncate(byte.into()),
        _ => {}
    }
}

// In each line of the text is what a record has behind that which chains it.
fuzz_target!(|input: (u8, u8, u8, u8, &[u8])| {
    let (change, at, byte, frame, text) = input;
    let (mut lines, mut before) = (Vec::new(), [0; 32]);
    for members in text.split(|&byte| byte == b'\n').take(LINES) {
        let chain =
            format!("{{\"seq\":{},\"time\":\"2026-01-31T12:00:00Z\",\"prev\":\"{}\",", lines.len() + 1, hex(&before));
        let line = [chain.as_bytes(), members, b"}"].concat();
        before = hash(0, &[&line]);
        lines.push(line);
    }
    changed(&mut lines, change, at, byte);
    let log = lines.iter().flat_map(|line| [line, &b"\n"[..]]).collect::<Vec<_>>().concat();
    // The last line may be one that was being written.
    let log = &log[..log.len() - usize::from(change & 16 > 0).min(log.len())];
    let mut whole: Vec<&[u8]> = log.split(|&byte| byte == b'\n').collect();
    whole.pop();

    let worker = Worker::new(log, (frame > 0).then_some(usize::from(frame) * 16));
    let (sound, is_all) = chained(&whole);
    let records: Vec<Line> = whole.iter().map_while(|line| serde_json::from_slice(line).ok()).collect();
    let mut seen = Vec::new();
    let followed = follow(worker.path(), |text| seen.push(text.bytes.clone()));
    assert!(seen.len() <= sound.len() && seen.iter().zip(&sound).all(|(seen, line)| seen == line));
    match &followed {
        Ok(followed) => {
            let leaves: Vec<[u8; 32]> = whole.iter().map(|line| hash(0, &[line])).collect();
            assert!(is_all && seen.len() == whole.len());
            assert_eq!((followed.head.size, followed.head.root), (whole.len() as u64, root(&leaves).into()));
        }
        Err(_) => assert!(!is_all || records.len() < whole.len()),
    }

    let mut found = Vec::new();
    let opened = WorkerLog::open(worker.path()).expect("it can be listed").expect("a log");
    let indexed = Index::new(None).sheets(&opened, Span::ALWAYS, &mut |_| {}, &mut |sheet| {
        let text = |word| sheet.words().get(word).to_owned();
        found.extend(sheet.entries().iter().map(|entry| {
            let end = entry.end.map(|end| (text(end.outcome), end.status, end.sent));
            (entry.seq, text(entry.to), text(entry.path), text(entry.refusal), entry.call, end)
        }));
    });
    if indexed.is_err() || records.len() < whole.len() {
        return;
    }
    let mut expected = Vec::new();
    for line in &whole {
        let said: Value = serde_json::from_slice(line).expect("it was read before");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |key: &str| said[key].as_u64().unwrap_or_default();
        let status = said["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        match said["event"].as_str() {
            Some(event @ ("call-start" | "tunnel-start" | "refused")) => {
                let refusal = if said["observed"].is_null() { &said["kind"] } else { &said["observed"]["kind"] };
                let entry =
                    (number("seq"), text(&said["to"]), text(&said["path"]), text(refusal), number("call"), None);
                expected.push((entry, event != "refused"));
            }
            Some("call-end") => {
                // Of those that began by this number the last, if that is open.
                let mut begun = expected.iter_mut().rev().filter(|(entry, _)| entry.4 == number("call"));
                if let Some((entry, _)) = begun.find(|(_, is_call)| *is_call).filter(|(entry, _)| entry.5.is_none()) {
                    entry.5 = Some((text(&said["outcome"]), status, number("sent")));
                }
            }
            _ => {}
        }
    }
    assert_eq!(found, expected.into_iter().map(|(entry, _)| entry).collect::<Vec<_>>());
});
