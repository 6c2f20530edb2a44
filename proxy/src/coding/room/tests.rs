//! Decoders and their room, at a clock that tests set.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[derive(Debug, Default)]
struct Ended(AtomicBool);

impl Held for Ended {
    fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn decoders(most: usize) -> Arc<Decoders> {
    Decoders::new(most, |_| {})
}

fn place(decoders: &Arc<Decoders>) -> (Place, Arc<Ended>) {
    let ended = Arc::new(Ended::default());
    (decoders.place(Arc::<Ended>::clone(&ended)), ended)
}

async fn take(place: &mut Place, bytes: usize) -> Result<(), NoRoom> {
    poll_fn(|cx| place.poll(bytes, cx)).await
}

fn is_empty(decoders: &Decoders) -> bool {
    let standing = decoders.lock();
    standing.taken == 0 && standing.places.is_empty() && standing.waiting.is_empty()
}

/// For as long as nobody gets anything.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_or_dropped_is_free_and_no_more_is_given_than_there_is() {
    let decoders = decoders(10);
    let ((mut one, _), (mut two, _)) = (place(&decoders), place(&decoders));
    take(&mut one, 8).await.unwrap();
    {
        let mut waits = Box::pin(take(&mut two, 4));
        tokio::select! { _ = &mut waits => panic!("there are two left"), () = a_moment() => {} }
        one.settle(0, 6);
        waits.await.unwrap();
    }
    assert_eq!(decoders.lock().taken, 10);
    take(&mut two, 4).await.unwrap();
    drop((one, two));
    assert!(is_empty(&decoders));
}

#[tokio::test(start_paused = true)]
async fn who_takes_most_and_rests_is_ended_once_somebody_waits_and_not_before() {
    let decoders = decoders(10);
    let ((mut small, spared), (mut large, ended)) = (place(&decoders), place(&decoders));
    take(&mut small, 3).await.unwrap();
    take(&mut large, 7).await.unwrap();
    tokio::time::sleep(10 * PATIENCE).await;
    assert!(!ended.0.load(Ordering::Relaxed), "nobody waits");
    let (mut next, _) = place(&decoders);
    take(&mut next, 5).await.unwrap();
    assert!(ended.0.load(Ordering::Relaxed) && !spared.0.load(Ordering::Relaxed));
    assert_eq!(decoders.lock().taken, 8);
    drop(large);
    assert_eq!(decoders.lock().taken, 8);
}

#[tokio::test(start_paused = true)]
async fn who_moves_is_not_ended_and_who_decodes_next_to_nothing_does_not_move() {
    for (decoded, moves) in [(MOVED, true), (1, false)] {
        let decoders = decoders(10);
        let ((mut busy, ended), (mut next, _)) = (place(&decoders), place(&decoders));
        take(&mut busy, 10).await.unwrap();
        let begun = Instant::now();
        let mut waits = Box::pin(take(&mut next, 5));
        let came = loop {
            tokio::select! {
                came = &mut waits => break came,
                () = tokio::time::sleep(PATIENCE / 4) => busy.settle(decoded, 10),
            }
        };
        assert_eq!(ended.0.load(Ordering::Relaxed), !moves);
        if moves {
            assert_eq!((came, begun.elapsed()), (Err(NoRoom::Late), limit::DECODED_WAIT));
        } else {
            assert!(came.is_ok() && begun.elapsed() < 2 * PATIENCE);
        }
        drop(waits);
        drop((busy, next));
        assert!(is_empty(&decoders));
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_last_need_not_wait_for_all_who_came_before() {
    let decoders = decoders(10);
    let (mut busy, _) = place(&decoders);
    take(&mut busy, 10).await.unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..5 {
        let ((mut next, _), served) = (place(&decoders), Arc::clone(&served));
        waiting.spawn(async move {
            take(&mut next, 10).await.unwrap();
            served.lock().unwrap().push(number);
        });
        tokio::task::yield_now().await;
    }
    drop(busy);
    waiting.join_all().await;
    assert_eq!(*served.lock().unwrap(), [0, 4, 1, 3, 2]);
}
