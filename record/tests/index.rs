//! What is found by the index is what a look through the log finds, whatever was done to either.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed, and its line says where")]

mod any_log;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use proptest::prelude::*;
use record::index::{Index, Live, Span};
use record::read::{Position, Text, WorkerLog};
use record::{CallLog, Event, NameAsked};

use self::any_log::{Step, Written, step};

/// What may be done to a sheet.
#[derive(Debug, Clone)]
enum Harm {
    Cut(usize),
    Flip(usize),
    Empty,
    Gone,
    Garbage(Vec<u8>),
    /// That of another segment is there instead.
    Swapped,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any::<usize>().prop_map(Harm::Cut),
        any::<usize>().prop_map(Harm::Flip),
        Just(Harm::Empty),
        Just(Harm::Gone),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Harm::Garbage),
        Just(Harm::Swapped),
    ]
}

fn do_harm(harm: &Harm, sheets: &[PathBuf], which: usize) {
    let Some(sheet) = sheets.get(which % sheets.len().max(1)) else { return };
    let bytes = fs::read(sheet).unwrap();
    if bytes.is_empty() {
        return;
    }
    match harm {
        Harm::Cut(at) => fs::write(sheet, &bytes[..at % bytes.len()]).unwrap(),
        Harm::Flip(at) => {
            let mut bytes = bytes;
            let place = at / 8 % bytes.len();
            bytes[place] ^= 1 << (at % 8);
            fs::write(sheet, bytes).unwrap();
        }
        Harm::Empty => fs::write(sheet, []).unwrap(),
        Harm::Gone => fs::remove_file(sheet).unwrap(),
        Harm::Garbage(garbage) => fs::write(sheet, garbage).unwrap(),
        Harm::Swapped => drop(fs::copy(&sheets[(which + 1) % sheets.len()], sheet).unwrap()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_is_what_the_log_says(
        first in proptest::collection::vec(step(), 1..60),
        harms in proptest::collection::vec((harm(), any::<usize>()), 0..4),
        second in proptest::collection::vec(step(), 0..40),
        packed in any::<bool>(),
    ) {
        let mut written = Written::new();
        written.go_on(&first);
        if written.segments[0].is_empty() {
            written.go_on(&[Step::Name]);
        }
        written.check();
        let old: Vec<(PathBuf, Vec<u8>)> =
            written.sheets().into_iter().map(|sheet| { let bytes = fs::read(&sheet).unwrap(); (sheet, bytes) }).collect();
        for (harm, which) in &harms {
            do_harm(harm, &written.sheets(), *which);
        }
        written.check();
        written.go_on(&second);
        written.check();
        // An index of before is put back.
        for (sheet, bytes) in &old {
            fs::write(sheet, bytes).unwrap();
        }
        written.check();
        if packed && written.segments.len() > 1 && !written.segments[0].is_empty() {
            let plain = record::Segment::plain(&written.worker, 1);
            let text = fs::read(&plain).unwrap();
            fs::write(record::Segment::compressed(&written.worker, 1), zstd::bulk::compress(&text, 0).unwrap()).unwrap();
            fs::remove_file(plain).unwrap();
            written.check();
        }
        // Some times only: no call of them is missed.
        let index = Index::new(Some(written.index.clone()));
        let span = Span { from: 5_000_000_000, to: 20_000_000_000 };
        let found = written.found_by(&index, span);
        for seen in written.expected().iter().filter(|seen| (5..=20).contains(&seen.seq)) {
            prop_assert!(found.contains(seen), "{seen:?}");
        }
    }

    /// What any other reader takes for a record, the index takes, too.
    #[test]
    fn no_record_is_left_out(steps in proptest::collection::vec(step(), 1..20), place in any::<usize>(), byte in any::<u8>()) {
        let mut written = Written::new();
        written.go_on(&steps);
        for line in written.segments.iter().flatten() {
            let mut bytes = line.clone().into_bytes();
            let place = place % bytes.len();
            bytes[place] = byte;
            let taken = Live::default().take(&written.worker, &Text { bytes: bytes.clone(), at: Position::START });
            if let Ok(line) = serde_json::from_slice::<record::Line>(&bytes) {
                prop_assert!(taken.is_ok(), "{line:?}");
            }
        }
    }

    #[test]
    fn no_bytes_are_a_sheet_that_were_not_written_as_one(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(record::index::parse(&bytes).is_none());
    }
}

#[test]
fn a_log_that_was_changed_in_place_is_looked_through_anew() {
    let mut written = Written::new();
    let steps = [Step::Call { to: 1, credential: true, observed: false }, Step::Refused { to: 2, alert: true }];
    written.go_on(&steps);
    written.go_on(&[Step::Segment, Step::End { which: 0, status: 404, scrubbed: 1 }]);
    written.settle();
    written.check();
    let before = written.sheets().iter().map(|sheet| fs::read(sheet).unwrap()).collect::<Vec<_>>();
    assert_eq!(before.len(), 2, "both segments have settled and are kept");
    // The same length, the same time of change.
    let file = record::Segment::plain(&written.worker, 1);
    let times = fs::metadata(&file).unwrap().modified().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("h1.example.com", "h9.example.com").replace("h2.example.com", "h7.example.com");
    fs::write(&file, text).unwrap();
    OpenOptions::new().write(true).open(&file).unwrap().set_modified(times).unwrap();
    let said: Vec<String> = written.expected().into_iter().map(|seen| seen.to).collect();
    assert_eq!(said, ["h9.example.com:443", "h7.example.com:443"]);
    let index = Index::new(Some(written.index.clone()));
    assert_eq!(index.disagreements(&written.log()).unwrap().len(), 1);
    written.check();
}

#[test]
fn what_has_settled_is_not_read_again_and_what_came_is() {
    let mut written = Written::new();
    written.go_on(&[Step::Call { to: 1, credential: true, observed: false }, Step::Segment, Step::Name]);
    written.settle();
    let index = Index::new(Some(written.index.clone()));
    let read = || {
        let mut read = 0;
        index.sheets(&written.log(), Span::ALWAYS, &mut |bytes| read += bytes, &mut |_| {}).unwrap();
        read
    };
    assert!(read() > 0);
    assert_eq!(read(), 0);
    let file = record::Segment::plain(&written.worker, 2);
    OpenOptions::new().append(true).open(file).unwrap().write_all(b"{\"half\":").unwrap();
    assert!(read() > 0 && read() < 1000);
    written.segments.clear();
}

#[test]
fn a_line_that_is_none_is_said_and_what_is_before_it_is_shown() {
    let mut written = Written::new();
    written.go_on(&[Step::Refused { to: 2, alert: true }]);
    let file = record::Segment::plain(&written.worker, 1);
    OpenOptions::new().append(true).open(file).unwrap().write_all(b"no record\n").unwrap();
    written.go_on(&[Step::Refused { to: 3, alert: true }, Step::Segment, Step::Refused { to: 4, alert: true }]);
    let (mut entries, index) = (0, Index::new(Some(written.index.clone())));
    for _ in 0..2 {
        let shown =
            index.sheets(&written.log(), Span::ALWAYS, &mut |_| {}, &mut |sheet| entries += sheet.entries().len());
        assert!(shown.unwrap_err().to_string().contains("segment 1"));
    }
    assert_eq!(entries, 4, "the first of the first segment, and that of the second");
}

#[test]
fn what_is_kept_of_logs_that_are_gone_is_taken_away() {
    let mut written = Written::new();
    written.go_on(&[Step::Name, Step::Segment, Step::Name]);
    written.check();
    let index = Index::new(Some(written.index.clone()));
    index.tidy(&[written.log()]).unwrap();
    assert_eq!(written.sheets().len(), 2);
    fs::remove_file(record::Segment::plain(&written.worker, 1)).unwrap();
    index.tidy(&[written.log()]).unwrap();
    assert_eq!(written.sheets().len(), 1);
    index.tidy(&[]).unwrap();
    assert!(!written.index.join("0198-aa").exists());
}

#[test]
fn lines_are_read_at_their_positions() {
    let room = tempfile::tempdir().unwrap();
    let log = CallLog::create(room.path()).unwrap();
    for number in 0..2000 {
        let name = format!("{number}-{}", "x".repeat(200));
        log.append(Timestamp::UNIX_EPOCH, Event::NameAsked(NameAsked { name, kind: "A".to_owned() })).unwrap();
    }
    let pack = |worker: &Path| {
        let text = fs::read(record::Segment::plain(worker, 1)).unwrap();
        let packed: Vec<u8> = text.chunks(100_000).flat_map(|some| zstd::bulk::compress(some, 0).unwrap()).collect();
        fs::write(record::Segment::compressed(worker, 1), packed).unwrap();
        fs::remove_file(record::Segment::plain(worker, 1)).unwrap();
    };
    for packed in [false, true] {
        if packed {
            pack(room.path());
        }
        let log = WorkerLog::open(room.path()).unwrap().unwrap();
        let all: Vec<_> = log.texts(Position::START).map(Result::unwrap).collect();
        for step in [1, 3, 700, 1999] {
            let wanted: Vec<Position> = all.iter().step_by(step).map(|text| text.at).collect();
            let found = log.at(&wanted).unwrap();
            assert!(found.iter().eq(all.iter().step_by(step)));
        }
        assert!(log.at(&[Position { segment: 9, offset: 0 }]).is_err());
        assert!(log.at(&[Position { segment: 1, offset: 100_000_000 }]).is_err());
    }
}
