//! Turns given by hand, one after the other, and by the runtime.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// Gives a turn by hand, one that costs `took`. Whose it was.
fn turn(turns: &Turns, took: Duration) -> Option<u64> {
    let (share, paid) = lock(&turns.queue).next(false, Instant::now())?;
    share.step();
    share.settle(took, paid, Instant::now());
    Some(share.number)
}

/// Asks for another turn in the middle of one.
async fn once_more() {
    let mut asked = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Has always more to do.
async fn busy() {
    loop {
        once_more().await;
    }
}

// The runtime of these has one thread, which gives no turn before the test waits for something.

#[tokio::test]
async fn a_share_gets_no_more_for_having_more_tasks() {
    let turns = Turns::new(|| {});
    let (many, one) = (turns.share(), turns.share());
    for _ in 0..100 {
        many.spawn(busy());
    }
    one.spawn(busy());
    let given: Vec<_> = (0..100).filter_map(|_| turn(&turns, SLICE)).collect();
    let of_one = given.iter().filter(|number| **number == one.number).count();
    assert_eq!((given.len(), of_one), (100, 50));
}

#[tokio::test]
async fn time_counts_and_not_turns() {
    let turns = Turns::new(|| {});
    let (long, short) = (turns.share(), turns.share());
    long.spawn(busy());
    short.spawn(busy());
    let mut times = [0_u64; 2];
    for _ in 0..1000 {
        let (share, paid) = lock(&turns.queue).next(false, Instant::now()).unwrap();
        let took = if share.number == long.number { 400 } else { 100 };
        share.step();
        share.settle(Duration::from_micros(took), paid, Instant::now());
        times[usize::from(share.number == short.number)] += took;
    }
    assert!(times[0].abs_diff(times[1]) <= 500, "{times:?}");
}

#[tokio::test]
async fn who_asks_for_little_goes_before_all_who_always_have_more_to_do() {
    let turns = Turns::new(|| {});
    let heavy: Vec<_> = (0..50).map(|_| turns.share()).collect();
    for share in &heavy {
        share.spawn(busy());
    }
    let light = turns.share();
    let (wake, mut woken) = mpsc::unbounded_channel::<()>();
    light.spawn(async move { while woken.recv().await.is_some() {} });
    for _ in 0..1000 {
        turn(&turns, SLICE);
    }
    for _ in 0..20 {
        // As if this had been longer ago.
        lock(&light.state).rests_since -= Duration::from_millis(5);
        for _ in 0..7 {
            assert_ne!(turn(&turns, SLICE), Some(light.number));
        }
        wake.send(()).unwrap();
        assert_eq!(turn(&turns, Duration::from_micros(200)), Some(light.number));
    }
    // Without a rest it is one of them.
    let rested = lock(&light.state).allowance;
    light.settle(rested + SLICE, Duration::ZERO, Instant::now());
    wake.send(()).unwrap();
    assert_ne!(turn(&turns, SLICE), Some(light.number));
}

#[tokio::test]
async fn a_lane_gets_no_more_for_having_more_shares() {
    let turns = Turns::new(|| {});
    for _ in 0..100 {
        turns.share_of(None).spawn(busy());
    }
    let one = turns.share();
    one.spawn(busy());
    let given: Vec<_> = (0..100).filter_map(|_| turn(&turns, SLICE)).collect();
    assert_eq!(given.iter().filter(|number| **number == one.number).count(), 50);
    // Within the lane they take turns.
    let others: std::collections::BTreeSet<_> = given.into_iter().filter(|number| *number != one.number).collect();
    assert_eq!(others.len(), 50);
}

#[tokio::test]
async fn who_asks_for_little_of_a_lane_that_had_little_goes_before_all_who_do_of_one_that_had_much() {
    let turns = Turns::new(|| {});
    let crowd: Vec<_> = (0..100).map(|_| turns.share_of(None)).collect();
    for share in &crowd {
        share.spawn(busy());
    }
    for _ in 0..200 {
        turn(&turns, SLICE);
    }
    // A new connection of a busy lane that rested, and then one of another.
    let of_the_crowd = turns.share_of(None);
    let light = turns.share();
    for share in [&of_the_crowd, &light] {
        lock(&share.state).rests_since -= ALLOWANCE * REST;
        share.spawn(async {});
    }
    assert_eq!(turn(&turns, SLICE), Some(light.number));
    assert_eq!(turn(&turns, SLICE), Some(of_the_crowd.number));
    assert!(lock(&turns.queue).in_company(Instant::now()));
}

#[tokio::test]
async fn who_is_alone_has_no_company_and_a_lane_that_used_much_alone_is_not_made_to_wait_for_it() {
    let turns = Turns::new(|| {});
    let old = turns.share_of(None);
    old.spawn(busy());
    for _ in 0..1000 {
        turn(&turns, SLICE);
    }
    let same = turns.share_of(None);
    lock(&same.state).rests_since -= ALLOWANCE * REST;
    same.spawn(busy());
    turn(&turns, SLICE);
    assert!(!lock(&turns.queue).in_company(Instant::now()));
    let new = turns.share();
    new.spawn(busy());
    let given: Vec<_> = (0..10).filter_map(|_| turn(&turns, SLICE)).collect();
    let of_new = given.iter().filter(|number| **number == new.number).count();
    assert!((4..=6).contains(&of_new), "{given:?}");
}

#[tokio::test]
async fn who_comes_late_does_not_wait_for_as_long_as_others_asked_for_little() {
    let turns = Turns::new(|| {});
    let (one, other) = (turns.share_of(None), turns.share_of(None));
    one.spawn(busy());
    other.spawn(busy());
    let light = turns.share();
    for _ in 0..20_000 {
        if lock(&light.state).place == Place::Rests {
            lock(&light.state).rests_since -= ALLOWANCE * REST;
            light.spawn(async {});
        }
        turn(&turns, ENOUGH);
    }
    let late = turns.share();
    late.spawn(busy());
    let had = (0..4).filter_map(|_| turn(&turns, SLICE)).filter(|number| *number == late.number).count();
    assert!(had > 0, "two seconds of others' work come first");
    // And who asked for little is not made to wait for longer than anybody notices.
    while lock(&light.state).place != Place::Rests {
        turn(&turns, ENOUGH);
    }
    lock(&light.state).allowance = Duration::ZERO;
    light.spawn(busy());
    let waited = (0..10_000).take_while(|_| turn(&turns, SLICE) != Some(light.number)).count();
    assert!(waited < 1_000, "{waited} turns");
}

#[tokio::test]
async fn what_the_worker_does_of_itself_is_nobodys_company_and_company_ends() {
    let turns = Turns::new(|| {});
    let crowd = turns.share_of(None);
    crowd.spawn(busy());
    turn(&turns, SLICE);
    for (share, company) in [(turns.own(), false), (turns.share(), true)] {
        lock(&share.state).rests_since -= ALLOWANCE * REST;
        share.spawn(async {});
        assert_eq!(turn(&turns, SLICE), Some(share.number));
        assert_eq!(lock(&turns.queue).in_company(Instant::now()), company);
    }
    assert!(!lock(&turns.queue).in_company(Instant::now() + Duration::from_secs(1)));
    // What is opened for a connection is in its lane.
    assert_eq!(crowd.beside().lane.number, crowd.lane.number);
}

#[tokio::test]
async fn however_many_ask_for_little_the_others_go_on() {
    let turns = Turns::new(|| {});
    let heavy = turns.share();
    heavy.spawn(busy());
    let many: Vec<_> = (0..100).map(|_| turns.share()).collect();
    for share in &many {
        lock(&share.state).rests_since -= ALLOWANCE * REST;
        share.spawn(busy());
    }
    let given: Vec<_> = (0..100).filter_map(|_| turn(&turns, Duration::from_micros(1))).collect();
    assert_eq!(given.iter().filter(|number| **number == heavy.number).count(), 5);
}

#[tokio::test]
async fn however_many_ask_for_little_of_a_lane_that_had_much_others_have_every_second_turn() {
    let turns = Turns::new(|| {});
    let crowd: Vec<_> = (0..100).map(|_| turns.share_of(None)).collect();
    for share in &crowd {
        share.spawn(async {});
    }
    for _ in 0..crowd.len() {
        turn(&turns, SLICE);
    }
    // Each of them has rested for a little.
    for share in &crowd {
        lock(&share.state).rests_since -= ALLOWANCE * REST;
        share.spawn(async {});
    }
    let new = turns.share();
    new.spawn(busy());
    let given: Vec<_> = (0..20).filter_map(|_| turn(&turns, Duration::from_micros(1))).collect();
    assert_eq!(given.iter().filter(|number| **number == new.number).count(), 10, "{given:?}");
}

#[tokio::test]
async fn a_newcomer_has_no_allowance_and_waits_no_longer_than_others() {
    let turns = Turns::new(|| {});
    let old = turns.share();
    old.spawn(busy());
    for _ in 0..10 {
        turn(&turns, SLICE);
    }
    let new = turns.share();
    new.spawn(busy());
    assert!((0..2).any(|_| turn(&turns, SLICE) == Some(new.number)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_is_lost_and_all_work_is_done() {
    let turns = Turns::new(|| {});
    let mut ends = Vec::new();
    for _ in 0..20 {
        let share = turns.share();
        let (to, mut from) = mpsc::channel::<u32>(1);
        share.spawn(async move {
            for number in 0..1000 {
                slice().await;
                once_more().await;
                to.send(number).await.unwrap();
            }
        });
        let sum = async move {
            let mut sum = 0;
            while let Some(number) = from.recv().await {
                sum += number;
            }
            sum
        };
        ends.push(tokio::spawn(async move { share.run(sum).await }));
    }
    for end in ends {
        assert_eq!(timeout(SOON, end).await.unwrap().unwrap(), 499_500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_its_own_work_s_alone() {
    let turns = Turns::new(|| {});
    let share = turns.share();
    let broken = Arc::clone(&share);
    let broken = tokio::spawn(async move { broken.run(async { panic!("on purpose") }).await });
    assert!(timeout(SOON, broken).await.unwrap().unwrap_err().is_panic());
    share.spawn(async { panic!("on purpose") });
    for _ in 0..4 {
        assert_eq!(timeout(SOON, share.run(async { 7 })).await.unwrap(), 7);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_longer_waited_for_is_dropped_also_while_it_runs() {
    let turns = Turns::new(|| {});
    for busy_one in [false, true] {
        let (held, mut dropped) = oneshot::channel::<()>();
        let share = turns.share();
        let work = async move {
            let _held = held;
            if busy_one { busy().await } else { std::future::pending::<()>().await }
        };
        let run = tokio::spawn(async move { share.run(work).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(dropped.try_recv().is_err());
        run.abort();
        assert!(timeout(SOON, dropped).await.unwrap().is_err());
    }
}

#[tokio::test]
async fn work_is_ended_by_whoever_knows_of_it_and_no_other_with_it() {
    let share = Turns::new(|| {}).share();
    let (told, knows) = oneshot::channel();
    let (held, dropped) = oneshot::channel::<()>();
    let (other_held, mut other_dropped) = oneshot::channel::<()>();
    // What both wait for never comes, and knows of them.
    let (_never, waiting) = oneshot::channel::<()>();
    let (_never_either, other_waiting) = oneshot::channel::<()>();
    let work = share.spawn(async move {
        let _held = held;
        let _ = told.send(Work::under_way());
        let _ = waiting.await;
    });
    let _other = share.spawn(async move {
        let _held = other_held;
        let _ = other_waiting.await;
    });
    let by_itself = timeout(SOON, knows).await.unwrap().unwrap().unwrap();
    assert!(Work::under_way().is_none() && Weak::ptr_eq(&work.0, &by_itself.0));
    assert!(timeout(Duration::from_millis(20), &mut other_dropped).await.is_err());
    by_itself.end();
    assert!(timeout(SOON, dropped).await.unwrap().is_err());
    // There is nothing more to end.
    work.end();
    assert_eq!(other_dropped.try_recv(), Err(oneshot::error::TryRecvError::Empty));
}

#[tokio::test]
async fn what_was_put_off_is_done_when_the_turn_is_over_and_not_before() {
    let done = Arc::new(AtomicUsize::new(0));
    let (counts, seen) = (Arc::clone(&done), Arc::clone(&done));
    let share = Turns::new(move || _ = counts.fetch_add(1, Ordering::Relaxed)).share();
    let meanwhile = share.run(async move { seen.load(Ordering::Relaxed) }).await;
    assert_eq!((meanwhile, done.load(Ordering::Relaxed)), (0, 1));
}
