//! What counts as a worker that runs, and as one that has stopped.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};

use super::*;

fn places(state: &Path) -> Places {
    Places { config: state.to_owned(), state: state.to_owned() }
}

/// A process that is written down as a worker, and holds no lock.
fn unlocked(places: &Places, begun: impl Fn(u32) -> Option<String>) -> (Running, Child) {
    let process = Command::new("sleep").arg("60").spawn().unwrap();
    let (worker, pid) = (WorkerId::generate(), process.id());
    let directory = places.workers().join(worker.to_string());
    fs::create_dir_all(directory.join(ORDERS)).unwrap();
    let agent = "bot".parse().unwrap();
    let running = Running { worker, agent, pid, since: Timestamp::now(), begun: begun(pid) };
    fs::write(directory.join(WHO), serde_json::to_vec(&running).unwrap()).unwrap();
    (running, process)
}

fn names(running: &[Running]) -> Vec<WorkerId> {
    running.iter().map(|running| running.worker).collect()
}

#[test]
fn one_that_let_go_of_its_lock_and_its_order_runs_until_its_process_is_gone() {
    let state = tempfile::tempdir().unwrap();
    let places = places(state.path());
    let (running, mut process) = unlocked(&places, |pid| process::began(pid).ok());
    assert_eq!(names(&all(&places).unwrap()), [running.worker]);
    let order = places.workers().join(running.worker.to_string()).join(ORDERS).join(STOP);
    let takes_it_away = std::thread::spawn(move || {
        while fs::remove_file(&order).is_err() {
            std::thread::sleep(LOOK / 8);
        }
    });
    let patience = Patience { asked: LOOK, said: LOOK * 2 };
    let stopped = stop_within(&places, std::slice::from_ref(&running), "enough", patience).unwrap();
    takes_it_away.join().unwrap();
    assert_eq!(stopped.iter().map(|(_, outcome)| *outcome).collect::<Vec<_>>(), [Outcome::Killed]);
    assert!(!process.wait().unwrap().success());
    assert!(all(&places).unwrap().is_empty());
}

#[test]
fn a_process_that_only_has_the_number_is_neither_listed_nor_killed() {
    let state = tempfile::tempdir().unwrap();
    let places = places(state.path());
    for begun in [Some("another start of the machine 17".to_owned()), None] {
        let (running, mut process) = unlocked(&places, |_| begun.clone());
        assert!(all(&places).unwrap().is_empty());
        let stopped = stop(&places, &[running], "enough").unwrap();
        assert_eq!(stopped[0].1, Outcome::Stopped);
        assert!(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

#[test]
fn one_whose_directory_is_gone_has_stopped_and_the_next_is_stopped_too() {
    let state = tempfile::tempdir().unwrap();
    let places = places(state.path());
    let (gone, mut first) = unlocked(&places, |pid| process::began(pid).ok());
    let (there, mut second) = unlocked(&places, |pid| process::began(pid).ok());
    fs::remove_dir_all(places.workers().join(gone.worker.to_string())).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    let patience = Patience { asked: LOOK, said: LOOK };
    let stopped = stop_within(&places, &[gone, there], "enough", patience).unwrap();
    let outcomes: Vec<_> = stopped.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, [Outcome::Stopped, Outcome::Killed]);
    second.wait().unwrap();
}

#[test]
fn a_lock_alone_says_that_one_runs_that_was_written_down_by_an_older_exeat() {
    let state = tempfile::tempdir().unwrap();
    let places = places(state.path());
    let (running, mut process) = unlocked(&places, |_| None);
    let lock = File::open(places.workers().join(running.worker.to_string())).unwrap();
    lock.lock().unwrap();
    assert_eq!(names(&all(&places).unwrap()), [running.worker]);
    process.kill().unwrap();
    process.wait().unwrap();
}
