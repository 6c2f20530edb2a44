//! What is heard of files as people and programs replace them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;

use super::*;

fn tree() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("agents")).unwrap();
    fs::create_dir_all(directory.path().join("orders")).unwrap();
    let file = directory.path().join("agents/bot.toml");
    fs::write(&file, "").unwrap();
    (directory, file)
}

fn over(directory: &tempfile::TempDir, file: &Path) -> Lookout {
    let lookout = Lookout::over(instance(), [file].into_iter(), &directory.path().join("orders"));
    assert!(lookout.complete && lookout.hears_orders());
    lookout
}

/// The strongest sign since the last time.
fn sign(lookout: &Lookout) -> Option<Sign> {
    lookout.hear();
    lookout.heard.lock().unwrap().sign.take()
}

#[test]
fn each_way_to_save_a_file_is_a_sign_once_it_is_whole_and_none_before() {
    let (directory, file) = tree();
    let lookout = over(&directory, &file);
    // Truncated and written, as shells do.
    let mut writing = File::create(&file).unwrap();
    writing.write_all(b"# half").unwrap();
    assert_eq!((sign(&lookout), lookout.is_being_written()), (None, true));
    writing.write_all(b", and the rest").unwrap();
    drop(writing);
    assert_eq!((sign(&lookout), lookout.is_being_written()), (Some(Sign::Whole), false));
    // Written beside it and put in its place.
    let draft = directory.path().join("agents/.bot.toml.swp");
    fs::write(&draft, "new").unwrap();
    assert_eq!((sign(&lookout), lookout.is_being_written()), (None, false));
    fs::rename(&draft, &file).unwrap();
    assert_eq!(sign(&lookout), Some(Sign::Whole));
    // Moved away for a backup, and made anew.
    fs::rename(&file, directory.path().join("agents/bot.toml~")).unwrap();
    assert_eq!(sign(&lookout), Some(Sign::Perhaps));
    fs::write(&file, "newer").unwrap();
    assert_eq!(sign(&lookout), Some(Sign::Whole));
    // A link to it, which nobody closes.
    fs::remove_file(&file).unwrap();
    fs::hard_link(directory.path().join("agents/bot.toml~"), &file).unwrap();
    assert_eq!(sign(&lookout), Some(Sign::Perhaps));
    // Another agent's file, and reading.
    fs::write(directory.path().join("agents/other.toml"), "").unwrap();
    fs::read(&file).unwrap();
    assert_eq!(sign(&lookout), None);
}

#[test]
fn a_link_on_the_way_that_is_swapped_is_a_sign() {
    let (directory, _) = tree();
    let at = |path: &str| directory.path().join(path);
    // As Kubernetes mounts a ConfigMap.
    for (version, text) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(at("agents").join(version)).unwrap();
        fs::write(at("agents").join(version).join("linked.toml"), text).unwrap();
    }
    symlink("..1", at("agents/..data")).unwrap();
    symlink("..data/linked.toml", at("agents/linked.toml")).unwrap();
    let real = fs::canonicalize(at("agents")).unwrap();
    let expected = [
        (real.clone(), "linked.toml".into()),
        (real.clone(), "..data".into()),
        (real.join("..1"), "linked.toml".into()),
    ];
    assert_eq!(trail(&at("agents/linked.toml")), expected);
    let lookout = over(&directory, &at("agents/linked.toml"));
    symlink("..2", at("agents/..data_tmp")).unwrap();
    assert_eq!(sign(&lookout), None);
    fs::rename(at("agents/..data_tmp"), at("agents/..data")).unwrap();
    assert_eq!(sign(&lookout), Some(Sign::Whole));
    // An absolute one, by way of another directory.
    fs::create_dir(at("git")).unwrap();
    fs::write(at("git/there.toml"), "").unwrap();
    symlink(real.join("../git/there.toml"), at("agents/absolute.toml")).unwrap();
    let lookout = over(&directory, &at("agents/absolute.toml"));
    fs::write(at("git/there.toml"), "x").unwrap();
    assert_eq!(sign(&lookout), Some(Sign::Whole));
    // And one that leads back to itself ends.
    symlink("loop.toml", at("agents/loop.toml")).unwrap();
    assert!(trail(&at("agents/loop.toml")).is_empty());
}

#[test]
fn an_order_is_heard_of_and_a_directory_that_goes_away_is_a_sign() {
    let (directory, file) = tree();
    let lookout = over(&directory, &file);
    fs::write(directory.path().join("orders/stop.new"), "").unwrap();
    fs::rename(directory.path().join("orders/stop.new"), directory.path().join("orders/stop")).unwrap();
    assert_eq!(sign(&lookout), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ordered = async { tokio::time::timeout(Duration::from_secs(5), lookout.order()).await };
    assert!(runtime.block_on(ordered).is_ok());
    fs::rename(directory.path().join("agents"), directory.path().join("gone")).unwrap();
    assert_eq!(sign(&lookout), Some(Sign::Perhaps));
}

#[test]
fn where_the_kernel_tells_of_nothing_the_clock_does() {
    let lookout = Lookout::default();
    assert!(lookout.pause() == QUICK && !lookout.hears_orders() && !lookout.is_being_written());
    let gone = Lookout::over(instance(), [Path::new("/nowhere/at/all.toml")].into_iter(), Path::new("/nowhere"));
    assert!(!gone.hears_orders());
    lookout.ask();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(lookout.sign()), Sign::Asked);
}
