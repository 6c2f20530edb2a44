//! What retention removes is the oldest, is written down, and leaves a log that verifies; what is missing without that is a finding.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod written;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use record::retention::{Keep, Retention, Told, Unkept};
use record::{REMOVED, Removed, Segment, Tampered, follow, verified};

use written::{Written, names};

const DAY: Duration = Duration::from_secs(86_400);

/// A state directory with logs in it.
struct House {
    directory: tempfile::TempDir,
    /// Which of them run.
    living: Vec<&'static str>,
    needed: Option<u64>,
    /// How many entries are none of a log's.
    odd: usize,
    /// Whether it was said that there is still too much.
    too_much: std::cell::Cell<bool>,
}

impl House {
    fn new(logs: &[(&str, &Written)]) -> House {
        let directory = tempfile::tempdir().unwrap();
        for (name, log) in logs {
            let to = directory.path().join(name);
            fs::create_dir_all(to.join("calls")).unwrap();
            for segment in Segment::all(log.path()).unwrap() {
                fs::copy(segment.path(), to.join("calls").join(segment.path().file_name().unwrap())).unwrap();
            }
        }
        House { directory, living: Vec::new(), needed: None, odd: 0, too_much: false.into() }
    }

    fn worker(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn numbers(&self, name: &str) -> Vec<u64> {
        Segment::all(&self.worker(name)).unwrap().iter().map(Segment::number).collect()
    }

    /// Says of a segment's file that it is so old.
    fn age(&self, name: &str, number: u64, age: Duration) {
        let segments = Segment::all(&self.worker(name)).unwrap();
        let segment = segments.iter().find(|segment| segment.number() == number).unwrap();
        let file = File::options().append(true).open(segment.path()).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn size(&self) -> u64 {
        let of = |name: &str| Segment::all(&self.worker(name)).unwrap().into_iter();
        let files = ["a", "b"].into_iter().flat_map(of);
        files.map(|segment| fs::metadata(segment.path()).unwrap().len()).sum()
    }

    /// What goes and what stays, as `a1`.
    fn apply(&self, keep: Keep, later: Duration, dry: bool) -> (Vec<String>, Vec<String>) {
        let (mut gone, mut stays, mut odd) = (Vec::new(), Vec::new(), Vec::new());
        let of = |worker: &Path, segment| format!("{}{segment}", worker.file_name().unwrap().to_str().unwrap());
        let lives = |worker: &Path| Ok::<_, io::Error>(self.living.iter().any(|name| worker.ends_with(name)));
        let needed = |_: &Path| self.needed;
        let now = Timestamp::now() + jiff::SignedDuration::try_from(later).unwrap();
        let retention = Retention { workers: self.directory.path(), keep, lives: &lives, needed: &needed, now };
        self.too_much.set(false);
        let mut tell = |told| match told {
            Told::TooMuch { .. } => self.too_much.set(true),
            Told::Removed { worker, removed, .. } => gone.push(of(&worker, removed.segment)),
            Told::Odd { path, .. } => odd.push(path),
            Told::Stays { worker, segment, why } => stays.push(format!("{}: {why}", of(&worker, segment))),
        };
        retention.apply(dry, &mut tell).unwrap();
        assert_eq!(odd.len(), self.odd, "{odd:?}");
        (gone, stays)
    }
}

fn older_than(time: Duration) -> Keep {
    Keep { time: Some(time), size: None }
}

#[test]
fn what_is_too_old_goes_and_the_rest_verifies_from_there_on() {
    let log = Written::new(4096, 60);
    let house = House::new(&[("a", &log)]);
    let all = house.numbers("a");
    (1..=3).for_each(|number| house.age("a", number, Duration::ZERO));
    (4..=all.len() as u64).for_each(|number| house.age("a", number, Duration::ZERO));
    // The files say that three of them are old; their records have to be so, too.
    (1..=3).for_each(|number| house.age("a", number, 3 * DAY));
    assert_eq!(house.apply(older_than(2 * DAY), Duration::ZERO, false).0, Vec::<String>::new());
    (4..=all.len() as u64).for_each(|number| {
        let file = Segment::all(&house.worker("a")).unwrap()[usize::try_from(number).unwrap() - 1].path().to_owned();
        File::options().append(true).open(file).unwrap().set_modified(SystemTime::now() + 3 * DAY).unwrap();
    });
    let (gone, _) = house.apply(older_than(2 * DAY), 3 * DAY, true);
    assert_eq!(
        (gone.as_slice(), house.numbers("a")),
        (&["a1", "a2", "a3"].map(str::to_owned)[..], all.clone()),
        "only said"
    );
    assert_eq!(house.apply(older_than(2 * DAY), 3 * DAY, false).0, ["a1", "a2", "a3"]);
    assert_eq!(house.numbers("a"), all[3..]);
    let mut records = 0;
    let sound = follow(&house.worker("a"), |_| records += 1).unwrap();
    assert_eq!((sound.head, records), (log.head, log.head.size - sound.removed[2].size));
    assert_eq!(sound.removed.len(), 3);
    let removed = &sound.removed[1];
    assert_eq!((removed.first_record(), removed.size), (log.ends[0], log.ends[1] - 1));
    assert!(removed.why.contains("older than 2d") && removed.first <= removed.last, "{removed:?}");
    let left = names(&house.worker("a"));
    assert_eq!(left, names(log.path())[60 - left.len()..]);
}

#[test]
fn what_is_too_much_goes_the_oldest_of_all_workers_first() {
    let (one, other) = (Written::new(4096, 60), Written::new(4096, 60));
    let house = House::new(&[("a", &one), ("b", &other)]);
    for (name, days) in [("a", 100), ("b", 99)] {
        for number in house.numbers(name) {
            house.age(name, number, DAY * days - 2 * DAY * u32::try_from(number - 1).unwrap());
        }
    }
    let before = house.size();
    let gone = house.apply(Keep { time: None, size: Some(before - 1) }, 2 * DAY, false).0;
    assert_eq!(gone, ["a1"]);
    let gone = house.apply(Keep { time: None, size: Some(house.size() / 2) }, 2 * DAY, false).0;
    assert_eq!(gone[..3], ["b1", "a2", "b2"]);
    assert!(house.size() <= before / 2 && !house.too_much.get());
    for name in ["a", "b"] {
        follow(&house.worker(name), |_| {}).unwrap();
    }
    assert_eq!(house.apply(Keep { time: None, size: Some(before) }, Duration::ZERO, false).0, Vec::<String>::new());
    assert_eq!(house.apply(Keep::default(), 1000 * DAY, false).0, Vec::<String>::new(), "without a limit, all is kept");
}

#[test]
fn for_the_size_of_all_nothing_goes_that_is_younger_than_a_day_or_of_a_worker_that_runs() {
    let (one, other) = (Written::new(4096, 60), Written::new(4096, 60));
    let mut house = House::new(&[("a", &one), ("b", &other)]);
    let keep = Keep { time: None, size: Some(1) };
    let nothing: [String; 0] = [];
    for later in [Duration::ZERO, DAY / 2] {
        assert_eq!(house.apply(keep, later, false).0, nothing);
        assert!(house.too_much.get(), "and it is said");
    }
    // The time of a file alone is no age, nor is that of its records.
    house.age("a", 1, 9 * DAY);
    assert_eq!(house.apply(keep, Duration::ZERO, false).0, nothing);
    let file = Segment::all(&house.worker("a")).unwrap()[0].path().to_owned();
    File::options().append(true).open(file).unwrap().set_modified(SystemTime::now() + 3 * DAY).unwrap();
    let gone = house.apply(keep, 2 * DAY, true).0;
    assert!(!gone.is_empty() && gone.iter().all(|gone| gone.starts_with('b')), "{gone:?}");
    // The oldest of all is of one that runs: it stays, and those of others go.
    house.age("a", 1, 5 * DAY);
    house.living = vec!["a"];
    let gone = house.apply(keep, 2 * DAY, false).0;
    assert!(!gone.is_empty() && gone.iter().all(|gone| gone.starts_with('b')), "{gone:?}");
    assert!(house.too_much.get());
    let both = Keep { time: Some(DAY), ..keep };
    assert_eq!(house.apply(both, 2 * DAY, false).0[..1], ["a1"], "for their age they go");
    house.living.clear();
    house.apply(keep, 2 * DAY, false);
    assert_eq!(house.numbers("a"), [] as [u64; 0]);
}

#[test]
fn of_a_worker_that_has_ended_all_may_go_and_what_was_there_can_still_be_said() {
    let log = Written::new(4096, 30);
    let house = House::new(&[("a", &log)]);
    house.apply(older_than(DAY), 9 * DAY, false);
    assert_eq!(house.numbers("a"), [] as [u64; 0]);
    let sound = follow(&house.worker("a"), |_| {}).unwrap();
    assert_eq!((sound.head, sound.removed.len() as u64), (log.head, log.ends.len() as u64 + 1));
    assert_eq!(verified(&house.worker("a")).unwrap().len(), 0);
}

#[test]
fn what_a_running_worker_writes_and_what_somebody_needs_stays() {
    let log = Written::new(4096, 60);
    let mut house = House::new(&[("a", &log)]);
    let all = house.numbers("a");
    house.needed = Some(3);
    assert_eq!(house.apply(older_than(DAY), 9 * DAY, false).0, ["a1", "a2"]);
    (house.needed, house.living) = (None, vec!["a"]);
    // One that was made and not begun.
    fs::write(Segment::plain(&house.worker("a"), all.len() as u64 + 1), "").unwrap();
    house.apply(older_than(DAY), 9 * DAY, false);
    assert_eq!(house.numbers("a"), [all.len() as u64, all.len() as u64 + 1]);
    follow(&house.worker("a"), |_| {}).unwrap();
}

#[test]
fn a_log_that_was_changed_is_not_removed() {
    let log = Written::new(4096, 60);
    log.unpack(2);
    let path = Segment::plain(log.path(), 2);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("example", "exemple", 1)).unwrap();
    let house = House::new(&[("a", &log)]);
    let (gone, stays) = house.apply(older_than(DAY), 9 * DAY, false);
    assert_eq!(gone, ["a1"]);
    assert!(stays.len() == 1 && stays[0].starts_with("a2: it is not what was written: record"), "{stays:?}");
}

#[test]
fn segments_that_are_missing_without_a_word_or_with_a_wrong_one_are_a_finding() {
    let log = Written::new(4096, 60);
    let mut house = House::new(&[("a", &log)]);
    house.needed = Some(4);
    house.apply(older_than(DAY), 9 * DAY, false);
    let (worker, noted) = (house.worker("a"), house.worker("a").join(REMOVED));
    let words = fs::read_to_string(&noted).unwrap();
    assert_eq!(Removed::all(&worker).unwrap().len(), 3);
    // One more than was written down.
    let fourth = Segment::all(&worker).unwrap().remove(0);
    let kept = fs::read(fourth.path()).unwrap();
    fs::remove_file(fourth.path()).unwrap();
    assert!(matches!(verified(&worker), Err(Tampered::Missing { from: 4, to: 4, .. })));
    fs::write(fourth.path(), kept).unwrap();
    verified(&worker).unwrap();
    for (number, line) in words.lines().enumerate() {
        fs::write(&noted, words.replace(&format!("{line}\n"), "")).unwrap();
        assert!(matches!(verified(&worker), Err(Tampered::Missing { .. })), "{number}");
    }
    let last: Removed = serde_json::from_str(words.lines().last().unwrap()).unwrap();
    let other = words.replace(&format!("\"size\":{}", last.size), &format!("\"size\":{}", last.size + 1));
    fs::write(&noted, other).unwrap();
    assert!(matches!(verified(&worker), Err(Tampered::Removal { .. })));
    fs::write(&noted, words.replace(&last.root.to_string(), &"0".repeat(64))).unwrap();
    assert!(matches!(verified(&worker), Err(Tampered::Removal { .. })));
    fs::remove_file(&noted).unwrap();
    assert!(matches!(verified(&worker), Err(Tampered::Missing { from: 1, to: 3, .. })));
}

#[test]
fn a_file_that_has_no_number_of_a_segment_puts_no_record_in() {
    let log = Written::new(4096, 60);
    let mut house = House::new(&[("a", &log)]);
    let first = fs::read(Segment::all(&house.worker("a")).unwrap()[0].path()).unwrap();
    house.needed = Some(3);
    house.apply(older_than(DAY), 9 * DAY, false);
    let before = names(&house.worker("a"));
    // What is before the first that was removed would begin a chain of its own, that nothing has to follow from.
    for name in ["000000.jsonl.zst", "0000003.jsonl.zst", "00003.jsonl.zst"] {
        fs::write(house.worker("a").join("calls").join(name), &first).unwrap();
        assert_eq!(names(&house.worker("a")), before, "{name}");
        follow(&house.worker("a"), |text| assert!(text.at.segment >= 3, "{name}")).unwrap();
    }
}

#[test]
fn one_that_was_written_down_and_stayed_is_no_finding_and_goes_the_next_time() {
    let log = Written::new(4096, 60);
    let mut house = House::new(&[("a", &log)]);
    let first = Segment::all(&house.worker("a")).unwrap().remove(0);
    let kept = fs::read(first.path()).unwrap();
    house.needed = Some(2);
    house.apply(older_than(DAY), 9 * DAY, false);
    // As if the machine went down in between.
    fs::write(first.path(), kept).unwrap();
    let sound = follow(&house.worker("a"), |_| {}).unwrap();
    assert_eq!((sound.head, sound.removed.len()), (log.head, 0));
    assert_eq!(house.apply(older_than(DAY), 9 * DAY, false).0, ["a1"]);
    assert_eq!(follow(&house.worker("a"), |_| {}).unwrap().removed.len(), 1);
}

#[test]
fn only_one_removes_at_a_time_and_nothing_that_is_being_verified() {
    let log = Written::new(4096, 60);
    let house = House::new(&[("a", &log)]);
    let verifying = File::open(house.worker("a").join("calls")).unwrap();
    verifying.lock_shared().unwrap();
    let (gone, stays) = house.apply(older_than(DAY), 9 * DAY, false);
    assert!(gone.is_empty() && stays == ["a1: it is being read"], "{stays:?}");
    drop(verifying);
    let other = File::open(house.directory.path()).unwrap();
    other.lock().unwrap();
    let (lives, needed) = (|_: &Path| Ok(false), |_: &Path| None);
    let (workers, keep) = (house.directory.path(), older_than(DAY));
    let retention = Retention { workers, keep, lives: &lives, needed: &needed, now: Timestamp::now() };
    assert!(matches!(retention.apply(false, &mut |_| {}), Err(Unkept::Busy)));
}

#[test]
fn what_a_killed_clerk_left_plain_is_compressed_once_its_worker_is_gone() {
    let log = Written::new(80_000, 600);
    log.unpack(1);
    let mut house = House::new(&[("a", &log)]);
    let compressed = |house: &House| Segment::all(&house.worker("a")).unwrap()[0].is_compressed();
    let compress = |house: &House| {
        let lives = |worker: &Path| Ok::<_, io::Error>(house.living.iter().any(|name| worker.ends_with(name)));
        let workers = house.directory.path();
        let retention =
            Retention { workers, keep: Keep::default(), lives: &lives, needed: &|_| None, now: Timestamp::now() };
        retention.compress_left().unwrap()
    };
    house.living = vec!["a"];
    assert_eq!((compress(&house), compressed(&house)), (0, false));
    house.living.clear();
    assert_eq!((compress(&house), compressed(&house)), (1, true));
    assert_eq!(follow(&house.worker("a"), |_| {}).unwrap().head, log.head);
}

#[test]
fn what_is_no_file_of_a_log_is_passed_over_and_said() {
    let log = Written::new(4096, 60);
    let mut house = House::new(&[("a", &log), ("b", &log)]);
    fs::write(house.worker("c"), "no directory").unwrap();
    // In place of one of its files: it is not what was written, and stays, and those behind it are not the oldest that it has.
    fs::remove_file(Segment::compressed(&house.worker("b"), 2)).unwrap();
    fs::create_dir(Segment::plain(&house.worker("b"), 2)).unwrap();
    house.odd = 2;
    let (all, other) = (house.numbers("a").len(), house.numbers("b"));
    let (gone, stays) = house.apply(older_than(DAY), 3 * DAY, false);
    assert_eq!((gone.len(), house.numbers("a"), house.numbers("b")), (all, Vec::new(), other), "{gone:?}");
    assert!(stays.len() == 1 && stays[0].starts_with("b1: it is not what was written"), "{stays:?}");
}
