//! A log over several files, with a real clerk at the other end of its line: what is written is what is read, and what was done to a file is seen.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod written;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use record::read::{Follower, Position, WorkerLog};
use record::{Event, Segment, SegmentLimits, Tampered, follow, verified};

use written::{Written, name, names};

#[test]
fn a_log_goes_on_in_the_next_file_and_closed_ones_are_compressed() {
    let log = Written::new(4096, 40);
    let segments = Segment::all(log.path()).unwrap();
    assert!(segments.len() > 3, "{segments:?}");
    let (last, closed) = segments.split_last().unwrap();
    assert!(closed.iter().all(Segment::is_compressed) && !last.is_compressed(), "{segments:?}");
    assert_eq!(
        segments.iter().map(Segment::number).collect::<Vec<_>>(),
        (1..=segments.len() as u64).collect::<Vec<_>>()
    );
    assert_eq!(names(log.path()), (0..40).map(name).collect::<Vec<_>>());
    let mut starts = Vec::new();
    for record in WorkerLog::open(log.path()).unwrap().unwrap().lines() {
        let record = record.unwrap();
        if let Event::SegmentStart(start) = record.line.event {
            assert_eq!((start.segment, start.size, record.at.offset), (record.at.segment, record.line.seq - 1, 0));
            assert_eq!(
                (start.worker.as_str(), start.agent.as_str(), start.policy.as_str()),
                ("w", "bot", "sha256:two")
            );
            starts.push(start.segment);
        }
    }
    assert_eq!(starts, (2..=segments.len() as u64).collect::<Vec<_>>());
    assert_eq!(follow(log.path(), |_| {}).unwrap().head, log.head);
    assert_eq!(log.ended.size, log.ends.last().unwrap() - 1, "what is told to whoever signs");
}

#[test]
fn a_position_is_the_same_before_and_after_compression() {
    let log = Written::new(4096, 40);
    let open = || WorkerLog::open(log.path()).unwrap().unwrap();
    let (mut at, mut texts) = (Vec::new(), Vec::new());
    for record in open().lines() {
        let record = record.unwrap();
        at.push(record.at);
        texts.push(record.text);
    }
    let look = || {
        for (number, position) in at.iter().enumerate() {
            let mut follower = Follower::new(log.path(), *position);
            let found: Vec<String> = follower.more(3).unwrap().into_iter().map(|record| record.text).collect();
            assert_eq!(found, texts[number..texts.len().min(number + 3)], "{position:?}");
        }
    };
    look();
    log.unpack(1);
    log.unpack(2);
    look();
}

#[test]
fn whoever_follows_a_log_misses_nothing_over_its_files() {
    let mut log = Written::begin(3000, Duration::from_secs(3600));
    let mut follower = Follower::new(log.path(), Position::START);
    let mut seen = Vec::new();
    for number in 0..200 {
        log.append(number);
        if number % 3 == 0 {
            seen.extend(follower.more(usize::MAX).unwrap());
        }
    }
    log.end();
    seen.extend(follower.more(usize::MAX).unwrap());
    let numbers: Vec<u64> = seen.iter().map(|record| record.line.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(seen.last().unwrap().at.segment > 5);
}

#[test]
fn a_next_file_that_is_empty_does_not_end_the_one_before_it() {
    let mut log = Written::begin(1 << 20, Duration::from_secs(3600));
    log.append(1);
    fs::write(Segment::plain(log.path(), 2), "").unwrap();
    let mut follower = Follower::new(log.path(), Position::START);
    let before = follower.more(usize::MAX).unwrap().len();
    log.append(2);
    assert_eq!((before, follower.more(usize::MAX).unwrap().len()), (3, 1));
    // But one that was emptied between others is not passed over.
    let log = Written::new(4096, 40);
    log.unpack(2);
    fs::write(Segment::plain(log.path(), 2), "").unwrap();
    assert!(
        matches!(verified(log.path()), Err(Tampered::Missing { from: 2, to: 2, .. })),
        "{:?}",
        verified(log.path())
    );
}

#[test]
fn a_clerk_whose_line_ends_touches_nothing_of_a_worker_that_lives() {
    let lives = Arc::new(AtomicBool::new(true));
    let looked = Arc::clone(&lives);
    let limits = SegmentLimits { size: 1 << 30, age: Duration::from_secs(3600) };
    let mut log = Written::begin_with(limits, move |desk, worker, limits| {
        desk.serve(worker, limits, &|_| Ok(looked.load(Ordering::SeqCst)), None).unwrap();
    });
    // More than what is worth compressing.
    (0..300).for_each(|number| log.append(number));
    let plain = Segment::plain(log.path(), 1);
    let mut file = fs::File::options().append(true).open(&plain).unwrap();
    let ending = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        let stood = plain.exists();
        file.write_all(b"late\n").unwrap();
        lives.store(false, Ordering::SeqCst);
        stood
    });
    log.close();
    assert!(ending.join().unwrap(), "compressed while its worker wrote it");
    let segment = Segment::all(log.path()).unwrap().remove(0);
    let packed = fs::File::open(segment.path()).unwrap();
    assert!(segment.is_compressed() && zstd::decode_all(packed).unwrap().ends_with(b"late\n"));
}

#[test]
fn a_segment_is_closed_for_its_age_too() {
    let mut log = Written::begin(1 << 30, Duration::from_millis(150));
    for number in 0..12 {
        log.append(number);
        std::thread::sleep(Duration::from_millis(50));
    }
    log.end();
    let segments = Segment::all(log.path()).unwrap().len();
    assert!((3..6).contains(&segments), "{segments}");
    assert_eq!(names(log.path()), (0..12).map(name).collect::<Vec<_>>());
}

#[test]
fn without_its_clerk_a_log_goes_on_in_its_file_and_says_so_once() {
    let limits = SegmentLimits { size: 2000, age: Duration::from_secs(3600) };
    let mut log = Written::begin_with(limits, |desk, _, _| drop(desk));
    for number in 0..60 {
        log.append(number);
    }
    let lines = verified(log.path()).unwrap();
    let said: Vec<_> = lines.iter().filter(|line| matches!(line.event, Event::SegmentKept(_))).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(names(log.path()), (0..60).map(name).collect::<Vec<_>>());
}

#[test]
fn where_the_next_file_cannot_be_made_it_is_said_once_and_tried_again() {
    let limits = SegmentLimits { size: 3000, age: Duration::from_secs(3600) };
    let mut log = Written::begin_with(limits, |desk, worker, limits| {
        desk.serve(worker, limits, &|_| Ok(false), None).unwrap();
    });
    // Somebody else's file is in its place.
    fs::write(Segment::plain(log.path(), 2), "").unwrap();
    for number in 0..30 {
        log.append(number);
    }
    assert_eq!(Segment::all(log.path()).unwrap().len(), 2);
    fs::remove_file(Segment::plain(log.path(), 2)).unwrap();
    for number in 30..60 {
        log.append(number);
    }
    log.end();
    assert!(Segment::all(log.path()).unwrap().len() > 1);
    let lines = verified(log.path()).unwrap();
    let kept: Vec<_> = lines.iter().filter(|line| matches!(line.event, Event::SegmentKept(_))).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(names(log.path()), (0..60).map(name).collect::<Vec<_>>());
}

/// What is found, in words.
fn found(worker: &Path) -> String {
    verified(worker).map(|lines| lines.len()).expect_err("something was done to it").to_string()
}

#[test]
fn each_thing_done_to_a_file_is_seen() {
    let log = || {
        let log = Written::new(4096, 60);
        (1..=4).for_each(|number| log.unpack(number));
        log
    };
    let path = |log: &Written, number| Segment::plain(log.path(), number);
    // Removed.
    for (number, said) in [(1, "segment 1 of"), (2, "segment 2 of"), (4, "segment 4 of")] {
        let log = log();
        fs::remove_file(path(&log, number)).unwrap();
        let found = found(log.path());
        assert!(found.contains(said) && found.contains("missing"), "{found}");
    }
    // Two of them swapped; one in the place of another; an older state put back.
    let swapped = log();
    let (two, three) = (fs::read(path(&swapped, 2)).unwrap(), fs::read(path(&swapped, 3)).unwrap());
    fs::write(path(&swapped, 2), &three).unwrap();
    fs::write(path(&swapped, 3), &two).unwrap();
    assert!(found(swapped.path()).contains("not how segment 2"), "{}", found(swapped.path()));
    fs::write(path(&swapped, 3), &three).unwrap();
    assert!(found(swapped.path()).contains("not how segment 2"), "{}", found(swapped.path()));
    let older = log();
    let two = fs::read(path(&older, 2)).unwrap();
    let end = two[..two.len() / 2].iter().rposition(|byte| *byte == b'\n').unwrap();
    fs::write(path(&older, 2), &two[..=end]).unwrap();
    assert!(found(older.path()).contains("not how segment 3"), "{}", found(older.path()));
    // Cut in the middle of a line, where no worker was killed.
    fs::write(path(&older, 2), &two[..two.len() - 3]).unwrap();
    assert!(found(older.path()).contains("not how segment 3"), "{}", found(older.path()));
    // Renamed, and the rest with it, so that no number is missing but the first.
    let renamed = log();
    fs::remove_file(path(&renamed, 1)).unwrap();
    for segment in Segment::all(renamed.path()).unwrap() {
        let to = segment.path().with_file_name(format!("{:06}.jsonl", segment.number() - 1));
        fs::rename(segment.path(), to).unwrap();
    }
    assert!(found(renamed.path()).contains("record 1 (segment 1"), "{}", found(renamed.path()));
    let moved = log();
    let last = Segment::all(moved.path()).unwrap().pop().unwrap();
    fs::rename(last.path(), last.path().with_file_name("900000.jsonl")).unwrap();
    assert!(
        found(moved.path()).contains("to 899999") && found(moved.path()).contains("missing"),
        "{}",
        found(moved.path())
    );
    // Two put together.
    let joined = log();
    let both = [fs::read(path(&joined, 2)).unwrap(), fs::read(path(&joined, 3)).unwrap()].concat();
    fs::write(path(&joined, 2), both).unwrap();
    fs::remove_file(path(&joined, 3)).unwrap();
    assert!(found(joined.path()).contains("segment 3 of"), "{}", found(joined.path()));
    // And the others renamed to fit.
    for segment in Segment::all(joined.path()).unwrap().into_iter().filter(|segment| segment.number() > 3) {
        let name = segment.path().file_name().unwrap().to_str().unwrap().replacen(
            &format!("{:06}", segment.number()),
            &format!("{:06}", segment.number() - 1),
            1,
        );
        fs::rename(segment.path(), segment.path().with_file_name(name)).unwrap();
    }
    assert!(found(joined.path()).contains("not how segment 3"), "{}", found(joined.path()));
}

#[test]
fn a_log_that_says_other_things_of_what_came_before_is_not_believed() {
    let log = Written::new(4096, 40);
    log.unpack(2);
    let path = Segment::plain(log.path(), 2);
    let text = fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    for (from, to) in
        [("\"size\":", "\"size\":1"), ("\"segment\":2", "\"segment\":3"), ("\"peaks\":[\"", "\"peaks\":[\"00")]
    {
        fs::write(&path, text.replacen(first, &first.replacen(from, to, 1), 1)).unwrap();
        assert!(verified(log.path()).is_err(), "{from}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_the_sizes_what_is_read_is_what_was_written(size in 300..20_000_u64, lengths in proptest::collection::vec(0..3000_usize, 1..120)) {
        let mut log = Written::begin(size, Duration::from_secs(3600));
        let mut expected = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            let name = format!("{number}-{}", "x".repeat(*length));
            log.append_name(&name);
            expected.push(name);
        }
        log.end();
        prop_assert_eq!(names(log.path()), expected);
        prop_assert_eq!(follow(log.path(), |_| {}).unwrap().head, log.head);
    }
}
