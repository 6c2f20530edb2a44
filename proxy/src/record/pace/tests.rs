//! A log's pace, and who waits beyond it.
//!
//! Enters: connections that fill a log. Leaves: how long they take, and in which order. Never: a record that is not there.

use std::time::Duration;

use record::{Bounds, NameAsked, Refused};
use tokio::time::{Instant, timeout};

use super::*;

/// Time enough for whatever is to happen, and for nobody to pass who has to wait.
const SOON: Duration = Duration::from_secs(20);

struct World {
    directory: tempfile::TempDir,
    pace: Arc<Pace>,
    stop: watch::Sender<bool>,
}

impl World {
    fn new(second: u32, burst: u32) -> World {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(CallLog::create(directory.path()).unwrap());
        let (second, burst) = (NonZeroU32::new(second).unwrap(), NonZeroU32::new(burst).unwrap());
        let pace = Pace::new(&log, RoomSettings { second, burst, ..RoomSettings::default() });
        World { directory, pace, stop: watch::Sender::new(false) }
    }

    /// As an agent does that is refused all the time.
    fn refuse(&self, account: &Account, path: usize) {
        account.tell(Event::Refused(refused(path))).unwrap();
    }

    /// Until it is behind.
    fn fill(&self, account: &Account) {
        for _ in 0..1000 {
            if account.waits() {
                return;
            }
            self.refuse(account, 4000);
        }
        panic!("it is never behind");
    }

    async fn turn(&self, account: &Account) {
        if account.waits() {
            account.turn(&self.stop.subscribe()).await;
        }
    }

    fn records(&self) -> usize {
        record::verified(self.directory.path()).unwrap().len()
    }
}

fn refused(path: usize) -> Refused {
    Refused {
        connection: 1,
        to: "api.example.com:443".to_owned(),
        scheme: None,
        method: Some("GET".to_owned()),
        path: Some("/".repeat(path)),
        tool: None,
        kind: "path-not-allowed".to_owned(),
        status: Some(403),
        reason: "it is not".to_owned(),
        rule: None,
        policy: None,
        hint: None,
        trace: None,
        alert: false,
    }
}

#[tokio::test]
async fn within_the_burst_nobody_waits_and_beyond_it_all_together_keep_the_pace() {
    let world = World::new(1 << 20, 1 << 20);
    let accounts: Vec<_> = (0..8).map(|number| Account::new(&world.pace, number)).collect();
    let begun = Instant::now();
    let mut written = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        for account in &accounts {
            world.turn(account).await;
            world.refuse(account, 4000);
            written += 1;
        }
    }
    // A burst and two seconds of the pace, each byte of a refusal counted eight times, in records of 4.3 KiB: 90. A connection each may have gone ahead.
    assert!((80..=100).contains(&written), "{written}");
    assert_eq!(world.records(), written);
}

#[tokio::test]
async fn who_has_had_least_goes_first_however_many_calls_another_has_waiting() {
    let world = Arc::new(World::new(64 << 10, 64 << 10));
    let greedy = Account::new(&world.pace, 1);
    world.fill(&greedy);
    let one_of_greedy = |_| {
        let (world, greedy) = (Arc::clone(&world), Arc::clone(&greedy));
        tokio::spawn(async move {
            world.turn(&greedy).await;
            world.refuse(&greedy, 4000);
        })
    };
    let many: Vec<_> = (0..100).map(one_of_greedy).collect();
    tokio::task::yield_now().await;
    let polite = Account::new(&world.pace, 2);
    for _ in 0..3 {
        timeout(SOON, world.turn(&polite)).await.unwrap();
        polite.tell(Event::PolicyReloaded { policy: "p".to_owned() }).unwrap();
    }
    let passed = many.iter().filter(|call| call.is_finished()).count();
    assert!(passed <= 6, "{passed} of the others went first");
    world.stop.send_replace(true);
    for call in many {
        timeout(SOON, call).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_comes_anew_does_not_wait_for_all_that_another_has_waiting() {
    let world = Arc::new(World::new(512 << 10, 512 << 10));
    let (greedy, done) = (Account::new(&world.pace, 1), Arc::new(AtomicU64::new(0)));
    world.fill(&greedy);
    let one_after_the_other = |_| {
        let (world, greedy, done) = (Arc::clone(&world), Arc::clone(&greedy), Arc::clone(&done));
        tokio::spawn(async move {
            loop {
                world.turn(&greedy).await;
                world.refuse(&greedy, 4000);
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    // Each of theirs takes 70 ms.
    let many: Vec<_> = (0..100).map(one_after_the_other).collect();
    for number in 2..8 {
        let before = done.load(Ordering::Relaxed);
        let polite = Account::new(&world.pace, number);
        timeout(SOON, world.turn(&polite)).await.unwrap();
        polite.tell(Event::PolicyReloaded { policy: "p".to_owned() }).unwrap();
        let passed = done.load(Ordering::Relaxed) - before;
        assert!(passed <= 5, "{passed} of the others went before the {number}th");
    }
    let go_on = async {
        while done.load(Ordering::Relaxed) <= 6 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, go_on).await.unwrap();
    many.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_call_that_is_given_up_while_it_waits_is_counted_writes_nothing_and_holds_nobody_up() {
    let world = World::new(64 << 10, 64 << 10);
    let account = Account::new(&world.pace, 1);
    world.fill(&account);
    let before = world.records();
    for _ in 0..5 {
        assert!(timeout(Duration::from_millis(1), world.turn(&account)).await.is_err());
    }
    assert_eq!((account.gone(), account.gone(), world.records()), (5, 0, before));
    timeout(SOON, world.turn(&Account::new(&world.pace, 2))).await.unwrap();
    assert!(world.pace.queue().waiting.is_empty());
}

#[tokio::test]
async fn at_the_end_of_the_worker_nobody_waits() {
    let world = World::new(64 << 10, 64 << 10);
    let account = Account::new(&world.pace, 1);
    // More than the limiter takes at once: hours of the pace.
    account.wrote(1 << 30, REFUSED);
    world.stop.send_replace(true);
    timeout(SOON, world.turn(&account)).await.unwrap();
    assert_eq!(account.gone(), 0);
}

#[tokio::test]
async fn what_was_written_while_there_was_no_room_holds_up_nobody_once_there_is() {
    let world = World::new(64 << 10, 64 << 10);
    let (names, calls) = (Account::new(&world.pace, 1), Account::new(&world.pace, 2));
    world.pace.log.within(Bounds { free: Some(u64::MAX), worker: None });
    // Half an hour of the pace.
    for number in 0..200 {
        names
            .tell(Event::NameAsked(NameAsked { name: format!("{number}.example.com"), kind: "A".to_owned() }))
            .unwrap();
    }
    assert!(timeout(Duration::from_secs(2), world.turn(&calls)).await.is_err(), "it goes on though there is no room");
    world.pace.log.within(Bounds::default());
    timeout(Duration::from_secs(5), world.turn(&calls)).await.unwrap();
    // What was written counts all the same.
    assert!(world.pace.log.has_room(std::time::Instant::now()).is_ok() && !calls.waits());
    world.fill(&calls);
    assert!(timeout(Duration::from_millis(1), world.turn(&calls)).await.is_err());
}

#[tokio::test]
async fn connections_that_come_anew_for_each_call_do_not_hold_up_one_that_stands() {
    let world = Arc::new(World::new(512 << 10, 512 << 10));
    let anew = |number| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            loop {
                let account = Account::new(&world.pace, number);
                world.turn(&account).await;
                world.refuse(&account, 4000);
                tokio::task::yield_now().await;
            }
        })
    };
    let flood: Vec<_> = (0..6).map(anew).collect();
    let polite = Account::new(&world.pace, 7);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(polite.waits());
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let begun = Instant::now();
        timeout(SOON, world.turn(&polite)).await.unwrap();
        slowest = slowest.max(begun.elapsed());
        polite.tell(Event::PolicyReloaded { policy: "p".repeat(1000) }).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    // Each of the others' takes 70 ms.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
