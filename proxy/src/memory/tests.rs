//! Room that is taken, waited for and given back.

use tokio::time::timeout;

use super::*;
use crate::seats::Left;

const STEPS: usize = 4 << 20;

/// A memory of which so much is taken, with so many places.
fn taken(bytes: &Arc<AtomicU64>, places: usize) -> (Arc<Memory>, Arc<Seats>) {
    let (bytes, seats) = (Arc::clone(bytes), Arc::new(Seats::new(places)));
    (Memory::by(Box::new(move || Some(bytes.load(Ordering::Relaxed))), || {}, &seats), seats)
}

/// Whether there is room for what an upstream sends.
async fn room(memory: &Memory) -> bool {
    let mut ticket = None;
    timeout(Duration::from_millis(200), poll_fn(|cx| memory.poll_upstream(&mut ticket, cx))).await.is_ok()
}

/// And for what a client does.
async fn client(memory: &Memory) -> bool {
    let mut ticket = None;
    timeout(Duration::from_millis(200), poll_fn(|cx| memory.poll_client(&mut ticket, cx))).await.is_ok()
}

#[test]
fn what_the_kernel_says_is_read_and_nothing_else() {
    assert_eq!(resident(b"Name:\t\xff\nVmRSS:\t    4280 kB\nRssAnon:\t 5 kB\n"), Some(4280 * 1024));
    assert_eq!([resident(b"VmRSS:\t4280"), resident(b""), resident(b"VmRSS: x kB\n")], [None; 3]);
    assert_eq!(resident(b"VmRSS:\t18446744073709551615 kB\n"), None);
    assert!((Memory::new(|| {}, &Arc::new(Seats::new(1))).resident)().is_some_and(|bytes| bytes > 1 << 20));
}

#[tokio::test]
async fn who_has_been_waited_for_longest_makes_room_and_nobody_reads_on_meanwhile() {
    let bytes = Arc::new(AtomicU64::new(limit::MEMORY + 1));
    let (memory, seats) = taken(&bytes, 8);
    let [first, second, reading] = [seats.take(1).await, seats.take(2).await, seats.take(3).await];
    let waits = [memory.wait(&first), memory.wait(&second), memory.wait(&reading)];
    waits[2].over();
    waits[1].over();
    tokio::time::sleep(PATIENCE + Duration::from_millis(100)).await;
    waits[1].again();
    assert!(room(&memory).await, "nothing was read yet");
    assert_eq!(STEPS as u64, STEP);
    memory.took(STEPS);
    let left = timeout(Duration::from_secs(5), first.given_up()).await.unwrap();
    assert_eq!(left, Left::Unread);
    assert!(!room(&memory).await, "nobody has gone yet");
    assert!(client(&memory).await, "a client that reads on says so");
    bytes.store(limit::MEMORY, Ordering::Relaxed);
    assert!(room(&memory).await);
    assert!(!second.is_ended() && !reading.is_ended());
}

#[tokio::test]
async fn where_nobody_can_make_room_reading_goes_on_after_a_while() {
    let (memory, seats) = taken(&Arc::new(AtomicU64::new(2 * limit::MEMORY)), 1);
    // Its client could read by then.
    let _wait = memory.wait(&seats.take(1).await);
    memory.took(STEPS);
    assert!(!room(&memory).await);
    let mut ticket = None;
    timeout(4 * PATIENCE, poll_fn(|cx| memory.poll_upstream(&mut ticket, cx))).await.unwrap();
    memory.took(STEPS);
    assert!(room(&memory).await, "no more is taken than before");
}

#[tokio::test]
async fn where_nobody_is_waited_for_nobody_waits() {
    let (memory, _seats) = taken(&Arc::new(AtomicU64::new(2 * limit::MEMORY)), 1);
    memory.took(STEPS);
    assert!(room(&memory).await);
}

#[tokio::test]
async fn beyond_the_most_nobody_reads_and_who_has_most_calls_makes_room() {
    let bytes = Arc::new(AtomicU64::new(limit::MEMORY_AT_MOST + 1));
    let (memory, seats) = taken(&bytes, 8);
    let [one, two, idle] = [seats.take(1).await, seats.take(2).await, seats.take(3).await];
    let _calls: Vec<_> = (0..calls(AGAIN + 1)).map(|_| two.busy()).chain([one.busy()]).collect();
    drop(idle.busy());
    memory.took(STEPS);
    assert!(!room(&memory).await && !client(&memory).await);
    let left = timeout(4 * PATIENCE, two.given_up()).await.unwrap();
    assert_eq!(left, Left::Busiest);
    bytes.store(limit::MEMORY_AT_MOST - AGAIN, Ordering::Relaxed);
    assert!(client(&memory).await, "there is room again");
    assert!(!one.is_ended() && !idle.is_ended());
}

#[tokio::test]
async fn where_an_end_gave_enough_nobody_else_is_ended_for_its_giving_little() {
    let bytes = Arc::new(AtomicU64::new(limit::MEMORY_AT_MOST + 1));
    let (memory, seats) = taken(&bytes, 8);
    let [one, two] = [seats.take(1).await, seats.take(2).await];
    let _calls: Vec<_> = (0..calls(AGAIN + 1)).map(|_| two.busy()).chain([one.busy()]).collect();
    memory.took(STEPS);
    timeout(4 * PATIENCE, two.given_up()).await.unwrap();
    bytes.store(limit::MEMORY_AT_MOST, Ordering::Relaxed);
    let mut ticket = None;
    let soon = timeout(4 * SOON, poll_fn(|cx| memory.poll_client(&mut ticket, cx))).await;
    assert!(soon.is_err(), "more may come of it");
    drop(ticket);
    tokio::time::sleep(PATIENCE / 2).await;
    assert!(client(&memory).await && !one.is_ended());
}

#[tokio::test]
async fn where_no_call_takes_it_clients_are_read_all_the_same_after_a_while() {
    let (memory, _seats) = taken(&Arc::new(AtomicU64::new(2 * limit::MEMORY_AT_MOST)), 1);
    memory.took(STEPS);
    assert!(!client(&memory).await);
    let mut ticket = None;
    timeout(4 * PATIENCE, poll_fn(|cx| memory.poll_client(&mut ticket, cx))).await.unwrap();
}

#[tokio::test]
async fn who_has_taken_a_connection_over_is_told_of_its_end() {
    let seats = Seats::new(1);
    let seat = seats.take(1).await;
    let taken_over = tokio::spawn({
        let seat = Arc::clone(&seat);
        async move { seat.ended().await }
    });
    tokio::task::yield_now().await;
    seat.end(Left::Busiest);
    seat.end(Left::Unread);
    assert_eq!(timeout(PATIENCE, taken_over).await.unwrap().unwrap(), Left::Busiest);
    assert_eq!(timeout(PATIENCE, seat.ended()).await.unwrap(), Left::Busiest, "also when it comes late");
}

#[tokio::test(start_paused = true)]
async fn of_many_who_read_some_go_on_at_first_and_twice_as_many_each_time() {
    let bytes = Arc::new(AtomicU64::new(limit::MEMORY + 1));
    let (memory, seats) = taken(&bytes, 1);
    let _wait = memory.wait(&seats.take(1).await);
    memory.took(STEPS);
    let gone = Arc::new(AtomicU64::new(0));
    for _ in 0..8 * READS {
        let (memory, gone) = (Arc::clone(&memory), Arc::clone(&gone));
        tokio::spawn(async move {
            let mut ticket = None;
            poll_fn(|cx| memory.poll_upstream(&mut ticket, cx)).await;
            gone.fetch_add(1, Ordering::Relaxed);
        });
    }
    let mut steps = vec![0];
    tokio::time::sleep(SOON).await;
    bytes.store(0, Ordering::Relaxed);
    while *steps.last().unwrap() < 8 * READS as u64 {
        tokio::time::sleep(SOON / 10).await;
        let now = gone.load(Ordering::Relaxed);
        if steps.last() != Some(&now) {
            steps.push(now);
        }
    }
    let reads = READS as u64;
    assert_eq!(steps, [0, reads, 3 * reads, 7 * reads, 8 * reads]);
}

/// The numbers of the calls that have gone on, in their order.
type Gone = Arc<Mutex<Vec<usize>>>;

/// A call of `seat` that waits, tells its number as it goes on, and goes on for as long as it is let.
fn waiting_call(memory: &Arc<Memory>, seat: &Arc<Seat>, gone: &Gone, call: usize) -> tokio::task::JoinHandle<()> {
    let (memory, busy, gone) = (Arc::clone(memory), seat.busy(), Arc::clone(gone));
    tokio::spawn(async move {
        let _pass = memory.call(busy.seat()).await;
        lock(&gone).push(call);
        std::future::pending::<()>().await;
    })
}

/// So many of them, each on a connection of its own.
async fn waiting_calls(
    (memory, seats): (&Arc<Memory>, &Seats),
    number: usize,
) -> (Gone, Vec<tokio::task::JoinHandle<()>>) {
    let (gone, mut calls) = (Gone::default(), Vec::new());
    for call in 0..number {
        let seat = seats.take(call as u64 + 2).await;
        calls.push(waiting_call(memory, &seat, &gone, call));
    }
    (gone, calls)
}

#[tokio::test]
async fn calls_go_on_from_both_ends_and_so_many_at_once_of_which_nothing_is_seen() {
    let bytes = Arc::new(AtomicU64::new(limit::MEMORY + 1));
    let (memory, seats) = taken(&bytes, 1 + 4 * CALLS);
    let wait = memory.wait(&seats.take(1).await);
    memory.took(STEPS);
    let (gone, calls) = waiting_calls((&memory, &seats), 4 * CALLS).await;
    // Who is never polled again takes nobody's place.
    tokio::time::sleep(SOON).await;
    assert!(lock(&gone).is_empty());
    bytes.store(limit::MEMORY, Ordering::Relaxed);
    tokio::time::sleep(PATIENCE / 4).await;
    let mut first = lock(&gone).clone();
    first.sort_unstable();
    let half = CALLS / 2;
    let ends: Vec<_> = (0..half).chain(4 * CALLS - half..4 * CALLS).collect();
    assert_eq!(first, ends);
    // One that has its answer makes way for the next soon, the others once they have been seen.
    calls[0].abort();
    tokio::time::sleep(PATIENCE / 4).await;
    assert_eq!(lock(&gone).len(), CALLS + 1);
    tokio::time::sleep(PATIENCE).await;
    assert!(lock(&gone).len() >= 2 * CALLS);
    drop((wait, calls));
}

#[tokio::test]
async fn as_many_go_on_at_once_as_there_is_room_for() {
    let bytes = Arc::new(AtomicU64::new(limit::MEMORY + 1));
    let (memory, seats) = taken(&bytes, 1 + 4 * CALLS);
    let _wait = memory.wait(&seats.take(1).await);
    memory.took(STEPS);
    let (gone, _calls) = waiting_calls((&memory, &seats), 4 * CALLS).await;
    tokio::time::sleep(SOON).await;
    bytes.store(limit::MEMORY - 2 * CALLS as u64 * ANSWER, Ordering::Relaxed);
    tokio::time::sleep(PATIENCE / 4).await;
    assert_eq!(lock(&gone).len(), 2 * CALLS + 1);
}

#[tokio::test]
async fn a_connection_with_one_call_need_not_wait_for_those_of_one_with_many() {
    let bytes = Arc::new(AtomicU64::new(limit::MEMORY + 1));
    let (memory, seats) = taken(&bytes, 3);
    let [waited, many, one] = [seats.take(1).await, seats.take(2).await, seats.take(3).await];
    let _wait = memory.wait(&waited);
    memory.took(STEPS);
    let gone = Gone::default();
    let middle = 8 * CALLS;
    let seat = |call| if call == middle { &one } else { &many };
    let _calls: Vec<_> = (0..2 * middle).map(|call| waiting_call(&memory, seat(call), &gone, call)).collect();
    tokio::time::sleep(SOON).await;
    bytes.store(limit::MEMORY, Ordering::Relaxed);
    tokio::time::sleep(PATIENCE / 4).await;
    assert!(lock(&gone).contains(&middle), "{gone:?}");
    assert_eq!(lock(&gone).len(), CALLS);
}

#[tokio::test]
async fn who_gives_up_waiting_is_not_called() {
    let bytes = Arc::new(AtomicU64::new(limit::MEMORY + 1));
    let (memory, seats) = taken(&bytes, 5);
    let _wait = memory.wait(&seats.take(1).await);
    memory.took(STEPS);
    let (_, waiting) = waiting_calls((&memory, &seats), 4).await;
    tokio::time::sleep(SOON).await;
    assert!(!memory.calls.is_empty());
    for call in waiting {
        call.abort();
        let _ = call.await;
    }
    assert!(memory.calls.is_empty());
}

#[tokio::test]
async fn what_is_over_is_nothing_that_waits() {
    let (memory, seats) = taken(&Arc::default(), 1);
    let seat = seats.take(1).await;
    drop(memory.wait(&seat));
    assert!(memory.waits.is_empty());
}
