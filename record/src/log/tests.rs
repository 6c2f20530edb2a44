//! A log that is noted, written, and cannot be.
//!
//! Enters: logs on a disk, and on files that fail. Leaves: what is in them. Never: a line behind one that was lost.

use super::*;
use crate::event::NameAsked;

#[test]
fn a_log_that_failed_once_stays_failed() {
    let event = || Event::NameAsked(NameAsked { name: "a".to_owned(), kind: "A".to_owned() });
    let full = Path::new("/dev/full");
    let file = OpenOptions::new().append(true).open(full).unwrap();
    let log = CallLog::of(full.to_owned(), file);
    assert!(log.append(Timestamp::UNIX_EPOCH, event()).is_err());
    assert!(log.append(Timestamp::UNIX_EPOCH, event()).is_err());
    assert_eq!(log.head(), Head { size: 0, root: Tree::default().root() });
}

#[test]
fn what_is_noted_is_written_with_what_comes_after_it_in_order_and_not_before() {
    let event = |name: &str| Event::NameAsked(NameAsked { name: name.to_owned(), kind: "A".to_owned() });
    let worker = tempfile::tempdir().unwrap();
    let log = CallLog::create(worker.path()).unwrap();
    let written = || std::fs::read_to_string(log.path()).unwrap().lines().count();
    let note = |name| log.note(Timestamp::UNIX_EPOCH, event(name)).unwrap();
    note("a");
    note("b");
    assert_eq!(written(), 0);
    log.append(Timestamp::UNIX_EPOCH, event("c")).unwrap();
    assert_eq!(written(), 3);
    note("d");
    log.commit().unwrap();
    assert_eq!(written(), 4);
    note("e");
    log.sync().unwrap();
    assert_eq!(written(), 5);
    (0..1000).for_each(|_| _ = note("f"));
    assert!(written() > 900, "they are few: {}", written());
    log.commit().unwrap();
    let names = crate::verified(worker.path()).unwrap().into_iter().map(|record| match record.event {
        Event::NameAsked(asked) => asked.name,
        other => panic!("{other:?}"),
    });
    assert_eq!(names.collect::<String>(), format!("abcde{}", "f".repeat(1000)));
}

#[test]
fn what_was_noted_and_could_not_be_written_is_not_signed_for() {
    let event = || Event::NameAsked(NameAsked { name: "a".to_owned(), kind: "A".to_owned() });
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let log = CallLog::of("/dev/full".into(), full);
    log.note(Timestamp::UNIX_EPOCH, event()).unwrap();
    assert!(log.sync().is_err());
    assert!(log.commit().is_err());
    assert!(log.note(Timestamp::UNIX_EPOCH, event()).is_err());
    assert!(log.append(Timestamp::UNIX_EPOCH, event()).is_err());
}

#[test]
fn a_log_that_could_not_be_synced_once_is_not_signed_for_and_takes_nothing_more() {
    let event = || Event::NameAsked(NameAsked { name: "a".to_owned(), kind: "A".to_owned() });
    let worker = tempfile::tempdir().unwrap();
    let log = CallLog::create(worker.path()).unwrap();
    log.append(Timestamp::UNIX_EPOCH, event()).unwrap();
    log.sync().unwrap();
    // A file that takes what is written, and can be synced as little as a disk that fails.
    let null = OpenOptions::new().append(true).open("/dev/null").unwrap();
    let whole = std::mem::replace(&mut log.state.lock().unwrap().file, Arc::new(null));
    log.append(Timestamp::UNIX_EPOCH, event()).unwrap();
    assert!(log.sync().is_err());
    // The kernel tells it once.
    log.state.lock().unwrap().file = whole;
    assert!(log.sync().is_err());
    assert!(log.append(Timestamp::UNIX_EPOCH, event()).is_err());
    assert_eq!(log.head().size, 2);
}
