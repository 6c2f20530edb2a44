//! The search over what tests leave behind finds what it is there for: a record that the schema does not have, and a credential in any of
//! the spellings in which one could get into a file.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde_json::Value;

use crate::credentials::SECRET;
use crate::harness::evidence::{Sought, packed, unlike_the_schema};
use crate::harness::{Exeat, Upstream};

/// A run with a call, a refusal and a name, and its log.
fn with_a_log() -> (Exeat, PathBuf) {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream).tampers_with_the_log();
    exeat.sh("curl -sSf https://api.example.com/echo; curl -sS https://other.example.com/ || true").ok();
    let worker = fs::read_dir(exeat.state().join("workers")).unwrap().next().unwrap().unwrap().path();
    (exeat, worker.join("calls/000001.jsonl"))
}

#[test]
fn a_record_that_the_schema_does_not_have_is_found() {
    let (exeat, log) = with_a_log();
    assert_eq!(unlike_the_schema(&exeat.state()), [""; 0]);
    let original = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = original.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let place = |event: &str| lines.iter().position(|line| line["event"] == event).unwrap();
    let (first, call, end, refused) = (place("worker-start"), place("call-start"), place("call-end"), place("refused"));
    let changes: [(usize, &str, Value); 14] = [
        (first, "/unknown", "x".into()),
        (first, "/sandbox/unknown", 1.into()),
        (first, "/sandbox/limits/unknown", 1.into()),
        (first, "/lock/unknown", true.into()),
        (first, "/format", 3.into()),
        (first, "/policy", "sha256:short".into()),
        (call, "/unknown", Value::Null),
        (call, "/client_tls/unknown", "x".into()),
        (call, "/scheme", "ftp".into()),
        (call, "/event", "call-begun".into()),
        (end, "/outcome", "fine".into()),
        (end, "/total_ms", "1".into()),
        (refused, "/kind", "no-such-kind".into()),
        (refused, "/prev", "00".into()),
    ];
    for (number, path, value) in changes {
        let mut changed = lines.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        changed[number].pointer_mut(parent).unwrap()[key] = value;
        fs::write(&log, changed.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let flaws = unlike_the_schema(&exeat.state());
        assert!(flaws.len() == 1 && flaws[0].starts_with("not by the schema"), "{path}: {flaws:#?}");
    }
    let mut without = lines.clone();
    without[call].as_object_mut().unwrap().remove("rule");
    fs::write(&log, without.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    assert_eq!(unlike_the_schema(&exeat.state()).len(), 1);
}

#[test]
fn a_credential_in_a_state_directory_is_found_in_every_spelling() {
    let (exeat, log) = with_a_log();
    let sought = Sought::new([SECRET, "another-one-of-the-house"]);
    assert_eq!(sought.found_in(&packed(&exeat.state())), [""; 0]);
    let some =
        SECRET.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d").replace('&', "%26").replace("%09", "%2509");
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut spelt = vec![SECRET.to_owned(), SECRET.replace('/', "\\/"), some, hex.to_uppercase(), hex];
    for around in ["", "u", "us", "user:"] {
        let text = format!("{around}{SECRET}{around} and more");
        spelt.extend([BASE64_STANDARD.encode(&text), BASE64_URL_SAFE.encode(&text)]);
    }
    for text in spelt {
        let file = log.parent().unwrap().parent().unwrap().join("left-behind");
        fs::write(&file, format!("some text\n{{\"key\": \"{text}\"}}\n")).unwrap();
        let found = sought.found_in(&packed(&exeat.state()));
        assert!(found.len() == 1 && found[0].contains("left-behind"), "{text}: {found:#?}");
        // What a segment was compressed to is looked at as what it is made of.
        fs::remove_file(&file).unwrap();
        let compressed = log.with_file_name("000009.jsonl.zst");
        fs::write(&compressed, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
        let found = sought.found_in(&packed(&exeat.state()));
        assert!(found.len() == 1 && found[0].contains("000009.jsonl.zst"), "{text}: {found:#?}");
        fs::remove_file(compressed).unwrap();
    }
}
