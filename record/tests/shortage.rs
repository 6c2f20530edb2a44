//! A worker without a free descriptor when the next file of its log arrives: in a process of its own, as there is one limit for all its threads.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod written;

use std::fs::{self, File};
use std::time::Duration;

use record::{Event, Segment, verified};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use written::{Written, name, names};

#[test]
fn a_next_file_that_finds_no_descriptor_is_asked_for_again_and_no_line_is_lost() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    let size = 80 * 1024;
    let mut log = Written::begin(size, Duration::from_secs(3600));
    let mut lines = 0;
    let mut append = |log: &mut Written, bytes: u64| {
        let until = lines + bytes / 400;
        while lines < until {
            log.append(lines);
            lines += 1;
        }
        lines
    };
    // It has asked, the file is on its way, and it is too soon to take it.
    while !Segment::plain(log.path(), 2).exists() {
        append(&mut log, 400);
    }
    std::thread::sleep(Duration::from_millis(100));
    let all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    append(&mut log, size / 4);
    assert!(fs::metadata(Segment::plain(log.path(), 1)).unwrap().len() > size, "what it has is what it goes on in");
    drop(all);
    let lines = append(&mut log, 2 * size);
    log.end();
    assert_eq!(names(log.path()), (0..lines).map(name).collect::<Vec<_>>());
    let segments = Segment::all(log.path()).unwrap();
    assert!(segments.len() > 2, "{segments:?}");
    let said = verified(log.path()).unwrap().into_iter();
    let said: Vec<_> =
        said.filter_map(|line| if let Event::SegmentKept(kept) = line.event { Some(kept) } else { None }).collect();
    assert!(said.len() == 1 && said[0].reason.contains("descriptor"), "{said:?}");
}
