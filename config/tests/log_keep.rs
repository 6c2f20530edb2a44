//! log.toml, when files of a log are closed, how long they are kept and how much room they take: what it says, what is so where it says nothing, and every mistake with its place.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::time::Duration;

use config::{KeepSettings, LogSettings, RoomSettings, SegmentSettings};

const HOUR: Duration = Duration::from_secs(3600);

fn mistakes(text: &str) -> Vec<(usize, String, String)> {
    let error = LogSettings::parse("log.toml", text).unwrap_err();
    let place = |mistake: &config::Mistake| (mistake.line, mistake.key.clone(), mistake.remedy.clone());
    error.mistakes().iter().map(place).collect()
}

fn room(second: u32, burst: u32) -> RoomSettings {
    let (second, burst) = (second.try_into().unwrap(), burst.try_into().unwrap());
    RoomSettings { second, burst, worker: None, free: None }
}

#[test]
fn without_a_word_files_are_closed_at_64_mib_or_a_day_and_all_are_kept() {
    let expected = LogSettings {
        ship: Vec::new(),
        segment: SegmentSettings { size: 64 << 20, age: 24 * HOUR },
        keep: KeepSettings { time: None, size: None },
        room: room(8 << 20, 512 << 20),
    };
    assert_eq!(LogSettings::load("/nowhere/log.toml").unwrap(), expected);
    assert_eq!(LogSettings::parse("log.toml", "").unwrap(), expected);
    assert_eq!(LogSettings::parse("log.toml", "[segment]\n[keep]\n[room]\n").unwrap(), expected);
}

#[test]
fn what_it_says_is_so() {
    let text = "[segment]\nsize = \"1MiB\"\nage = \"1h\"\n[keep]\nfor = \"90d\"\nsize = \"10GiB\"\n";
    let read = LogSettings::parse("log.toml", text).unwrap();
    assert_eq!(read.segment, SegmentSettings { size: 1 << 20, age: HOUR });
    assert_eq!(read.keep, KeepSettings { time: Some(90 * 24 * HOUR), size: Some(10 << 30) });
    let text = "[room]\nsecond = \"64KiB\"\nburst = \"2GiB\"\nworker = \"5GiB\"\nfree = \"1TiB\"\n";
    let expected = RoomSettings { worker: Some(5 << 30), free: Some(1 << 40), ..room(64 << 10, 2 << 30) };
    assert_eq!(LogSettings::parse("log.toml", text).unwrap().room, expected);
}

#[test]
fn every_mistake_is_told_with_its_line_and_key_and_what_to_write() {
    let text = "[segment]\nsize = \"4KiB\"\nage = \"1s\"\nsizes = 1\n[keep]\nfor = \"5m\"\nsize = 7\n";
    let found = mistakes(text);
    let keys: Vec<(usize, &str)> = found.iter().map(|(line, key, _)| (*line, key.as_str())).collect();
    assert!(
        [(2, "segment.size"), (3, "segment.age"), (4, "segment.sizes"), (6, "keep.for"), (7, "keep.size")]
            .iter()
            .all(|expected| keys.contains(expected)),
        "{found:?}"
    );
    assert!(found.iter().all(|(_, _, remedy)| !remedy.is_empty()), "{found:?}");
    assert!(found[0].2.contains("64KiB") && found[1].2.contains("1m"), "{found:?}");
    let found = mistakes("[segment]\nsize = \"1MiB\"\n[keep]\nsize = \"512KiB\"\n");
    assert_eq!((found.len(), found[0].0, found[0].1.as_str()), (1, 4, "keep.size"));
    assert_eq!(mistakes("[segment]\nsize = \"65GiB\"\n").len(), 1);
    assert_eq!(mistakes("segment = 1\n").len(), 1);
    let found = mistakes("[room]\nsecond = \"63KiB\"\nburst = \"4GiB\"\nworker = 1\nfree = \"0B\"\nfloor = \"1MiB\"\n");
    let keys: Vec<&str> = found.iter().map(|(_, key, _)| key.as_str()).collect();
    assert_eq!(keys, ["room.second", "room.burst", "room.worker", "room.free", "room.floor"], "{found:?}");
}
