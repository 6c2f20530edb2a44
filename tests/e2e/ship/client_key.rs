//! The key that the shipper proves itself by is read by the shipper and by `exeat check`, and by nobody else; and it keeps nobody from removing old logs.

use std::fs;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

use super::collector::Collector;
use crate::harness::{Authority, Exeat, Upstream, within};
use crate::segments::{LOAD, SOON, files, house, in_two_days, is_cleared_up, workers};

/// What log.toml says of a collector that is shown a certificate, with lines before that.
fn target(exeat: &Exeat, before: &str, collector: &Collector) {
    let (certificate, key) = Authority::new("clients").identity(&["client.example.com"]).pem();
    for (name, text) in [("client.pem", certificate), ("client-key.pem", key)] {
        fs::write(exeat.config(name), text).unwrap();
    }
    let shown = "client_certificate = { certificate = \"client.pem\", key = \"client-key.pem\" }";
    let ship = format!("[[ship]]\nto = \"otlp\"\nname = \"siem\"\nurl = \"http://{}\"\n{shown}\n", collector.address);
    super::target(exeat, &format!("{before}{ship}"));
}

/// Whether somebody opens the file while `act` goes on.
fn is_opened(file: &Path, act: impl FnOnce()) -> bool {
    let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    add_watch(&watch, file, WatchFlags::OPEN).unwrap();
    act();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
    match Reader::new(&watch, &mut buffer).next() {
        Ok(event) => event.events().contains(ReadFlags::OPEN),
        Err(error) => {
            assert_eq!(error, Errno::AGAIN);
            false
        }
    }
}

#[test]
fn it_is_opened_by_nobody_but_the_shipper_and_check() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    target(&exeat, "[keep]\nfor = \"30d\"\n", &collector);
    let key = exeat.config("client-key.pem");
    for arguments in [
        &["run", "--agent", "bot", "--", "curl", "-sSf", "https://api.example.com/echo"][..],
        &["calls", "prune"],
        &["ship", "--status"],
    ] {
        let act = || drop(exeat.exeat(arguments).finish().ok());
        assert!(!is_opened(&key, act), "{arguments:?}");
    }
    for arguments in [&["ship", "--once"][..], &["check"]] {
        assert!(is_opened(&key, || drop(exeat.exeat(arguments).finish().ok())), "{arguments:?}");
    }
}

#[test]
fn a_clerk_removes_old_files_that_were_shipped_by_it() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let exeat = house(&upstream, "");
    target(&exeat, "[segment]\nsize = \"64KiB\"\n[keep]\nsize = \"64KiB\"\n", &collector);
    exeat.start(&["python3", "-c", LOAD, "200"]).finish().ok();
    let worker = workers(&exeat).remove(0);
    within(SOON, "the clerk gone", || is_cleared_up(&worker));
    let before = files(&worker);
    // What was not shipped stays, however old.
    let later = || drop(in_two_days(&exeat, &["run", "--agent", "bot", "--", "sleep", "1"]).ok());
    later();
    assert_eq!(files(&worker), before);
    exeat.exeat(&["ship", "--once"]).finish().ok();
    later();
    within(SOON, "something removed", || files(&worker).len() < before.len());
}
