//! A note opens only as what its key has signed; a file of notes is cut nowhere but between them; texts that are read have one spelling.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use libfuzzer_sys::fuzz_target;
use record::Checkpoint;
use record::note::{self, VerifierKey};
use record::roll::Entry;

static KEY: LazyLock<(Ed25519KeyPair, VerifierKey)> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, VerifierKey::new("exeat/call-log", public).unwrap())
});

fuzz_target!(|input: (&str, &str)| {
    let (file, text) = input;
    let (pair, key) = &*KEY;
    let keys = std::slice::from_ref(key);
    let whole: String = note::split(file).collect();
    assert!(file.starts_with(&whole));
    // Nobody who has not the key writes what opens.
    assert!(note::open(file, keys).is_err());
    let signed = key.note(text, pair.sign(text.as_bytes()).as_ref());
    if let Ok((opened, by)) = note::open(&signed, keys) {
        assert_eq!((opened, &by), (text, key));
    }
    let behind = format!("{signed}{file}");
    if let Ok((opened, _)) = note::open(&behind, keys) {
        assert_eq!(opened, text);
    }
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(entry) = text.parse::<Entry>() {
        assert_eq!(entry.to_string(), text);
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
});
