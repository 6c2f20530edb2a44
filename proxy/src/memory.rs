//! How much memory a worker takes for what it passes on, and who makes room where that is too much.
//!
//! Enters: what is read from upstreams, and which answers wait for a client that asks for no more of them. Leaves: time to read on. Where more
//! is resident than a worker is to have, nothing is sent to an upstream or read from one before there is room again: connections of which an answer
//! has waited for longest are ended. Never: an end for a client that asked for more within a second, or while there is room; a
//! wait without an end where nobody can make room: then the mark is raised. Not seen: the last piece of an answer once hyper has it, and WebSockets.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::limit;
use crate::seats::Seat;

/// Says what is resident (proc(5)), in a line of its first thousand bytes.
const STATUS: &str = "/proc/self/status";
const LINES: usize = 2048;
/// It is looked at after so much was read: what two thousand connections could take meanwhile is no more than a few times that.
const STEP: u64 = 4 << 20;
/// What one answer that nobody reads takes, in buffers of both its ends.
const ANSWER: u64 = 512 << 10;
/// A client that asked for nothing more for so long may be one that never does.
const UNREAD: Duration = Duration::from_secs(1);
/// Whoever is ended is gone after a turn.
const SOON: Duration = Duration::from_millis(10);
/// So many of those who wait go on when there is room again, and twice as many each time that there still is: each may take [`ANSWER`] before
/// that is seen.
const AT_ONCE: usize = 16;
/// Where nobody is to be ended, it is something else that takes the room. It is looked at again once so much more is taken.
const FURTHER: u64 = 16 << 20;

/// What a worker knows of its memory.
pub(crate) struct Memory {
    resident: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    /// Has the allocator give back what was freed, which would count as taken.
    give_back: fn(),
    begun: Instant,
    /// Bytes since it was last looked.
    read: AtomicU64,
    /// From here on somebody has to make room.
    most: AtomicU64,
    full: AtomicBool,
    waiting: Mutex<Waiting>,
    offers: Mutex<Offers>,
}

#[derive(Default)]
struct Waiting {
    wakers: VecDeque<Waker>,
    /// How many go on though others wait.
    passes: usize,
}

#[derive(Default)]
struct Offers {
    made: u64,
    standing: BTreeMap<u64, (Arc<AtomicU64>, Weak<Seat>)>,
}

/// An answer on its way to a client, until this is dropped.
pub(crate) struct Offer {
    memory: Arc<Memory>,
    number: u64,
    /// Since when its client has asked for no more, in milliseconds; 0 while it waits for some.
    since: Arc<AtomicU64>,
}

impl Memory {
    /// Of this process. It can be looked at also once no way leads to /proc.
    pub fn new(give_back: fn()) -> Arc<Self> {
        let status = File::open(STATUS).ok();
        let resident = move || {
            let mut lines = [0; LINES];
            let read = status.as_ref()?.read_at(&mut lines, 0).ok()?;
            resident(&lines[..read])
        };
        Self::by(Box::new(resident), give_back)
    }

    fn by(resident: Box<dyn Fn() -> Option<u64> + Send + Sync>, give_back: fn()) -> Arc<Self> {
        let (most, offers, waiting) = (AtomicU64::new(limit::MEMORY), Mutex::default(), Mutex::default());
        let (read, full, begun) = (AtomicU64::new(0), AtomicBool::new(false), Instant::now());
        Arc::new(Self { resident, give_back, begun, read, most, full, waiting, offers })
    }

    /// Waits until there is room for what is read next.
    pub fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.full.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut waiting = lock(&self.waiting);
        if !self.full.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if waiting.passes > 0 {
            waiting.passes -= 1;
            return Poll::Ready(());
        }
        if !waiting.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.wakers.push_back(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The same for what has nothing to do yet.
    pub async fn room(&self) {
        poll_fn(|cx| self.poll_room(cx)).await;
    }

    /// So much was read from an upstream.
    pub fn took(self: &Arc<Self>, bytes: usize) {
        if self.read.fetch_add(bytes as u64, Ordering::Relaxed) + (bytes as u64) < STEP {
            return;
        }
        self.read.store(0, Ordering::Relaxed);
        if self.over() > 0 && !self.full.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).make_room());
        }
    }

    /// An answer is offered to the client of `seat`.
    pub fn offer(self: &Arc<Self>, seat: &Arc<Seat>) -> Offer {
        let since = Arc::new(AtomicU64::new(self.now()));
        let mut offers = lock(&self.offers);
        offers.made += 1;
        let number = offers.made;
        offers.standing.insert(number, (Arc::clone(&since), Arc::downgrade(seat)));
        Offer { memory: Arc::clone(self), number, since }
    }

    /// How much more is resident than is to be.
    fn over(&self) -> u64 {
        let Some(resident) = (self.resident)() else { return 0 };
        if resident <= limit::MEMORY {
            self.most.store(limit::MEMORY, Ordering::Relaxed);
        }
        resident.saturating_sub(self.most.load(Ordering::Relaxed))
    }

    async fn make_room(self: Arc<Self>) {
        let (mut asked, mut at_once) = (Instant::now(), AT_ONCE);
        loop {
            let mut over = self.over();
            if over > 0 {
                (self.give_back)();
                over = self.over();
            }
            if over == 0 {
                if self.let_go(at_once) {
                    return;
                }
                (asked, at_once) = (Instant::now(), at_once * 2);
                tokio::time::sleep(SOON).await;
                continue;
            }
            at_once = AT_ONCE;
            if self.end_unread(over / ANSWER + 1) {
                asked = Instant::now();
            } else if !self.has_unread() || asked.elapsed() > UNREAD + UNREAD / 4 {
                self.most.fetch_add(over + FURTHER, Ordering::Relaxed);
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// Lets so many of those who wait go on. Whether that was all, so that nobody need wait any more.
    fn let_go(&self, passes: usize) -> bool {
        let mut waiting = lock(&self.waiting);
        let some = passes.min(waiting.wakers.len());
        let all = some == waiting.wakers.len();
        waiting.passes = if all { 0 } else { passes };
        self.full.store(!all, Ordering::Release);
        let next: Vec<Waker> = waiting.wakers.drain(..some).collect();
        drop(waiting);
        next.into_iter().for_each(Waker::wake);
        all
    }

    /// Ends the connections of so many answers that have waited for longest. Whether there were any.
    fn end_unread(&self, most: u64) -> bool {
        let late = self.now().saturating_sub(milliseconds(UNREAD));
        let mut unread: Vec<_> = lock(&self.offers)
            .standing
            .values()
            .map(|(since, seat)| (since.load(Ordering::Relaxed), seat))
            .filter(|&(since, _)| since > 0 && since <= late)
            .filter_map(|(since, seat)| Some((since, seat.upgrade()?)))
            .filter(|(_, seat)| !seat.is_ended())
            .collect();
        unread.sort_by_key(|&(since, _)| since);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        unread.iter().take(most).for_each(|(_, seat)| seat.end_unread());
        !unread.is_empty()
    }

    /// Whether there is an answer of which its client has not asked for more yet.
    fn has_unread(&self) -> bool {
        lock(&self.offers).standing.values().any(|(since, _)| since.load(Ordering::Relaxed) > 0)
    }

    /// Milliseconds since it began, from 1 on.
    fn now(&self) -> u64 {
        milliseconds(self.begun.elapsed()) + 1
    }
}

impl Offer {
    /// Its client asks for more.
    pub fn asked_for(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// Its client has something to read.
    pub fn given(&self) {
        self.since.store(self.memory.now(), Ordering::Relaxed);
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // A seat may go with it, which has a lock of its own.
        let _gone = lock(&self.memory.offers).standing.remove(&self.number);
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory(..)")
    }
}

fn resident(lines: &[u8]) -> Option<u64> {
    let told = |line: &[u8]| {
        std::str::from_utf8(line.strip_prefix(b"VmRSS:")?.strip_suffix(b" kB")?).ok()?.trim().parse().ok()
    };
    let kibibytes: u64 = lines.split(|&byte| byte == b'\n').find_map(told)?;
    kibibytes.checked_mul(1024)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::seats::{Left, Seats};

    /// A memory of which so much is taken.
    fn taken(bytes: &Arc<AtomicU64>) -> Arc<Memory> {
        let bytes = Arc::clone(bytes);
        Memory::by(Box::new(move || Some(bytes.load(Ordering::Relaxed))), || {})
    }

    async fn room(memory: &Memory) -> bool {
        timeout(Duration::from_millis(200), memory.room()).await.is_ok()
    }

    #[test]
    fn what_the_kernel_says_is_read_and_nothing_else() {
        assert_eq!(resident(b"Name:\t\xff\nVmRSS:\t    4280 kB\nRssAnon:\t 5 kB\n"), Some(4280 * 1024));
        assert_eq!([resident(b"VmRSS:\t4280"), resident(b""), resident(b"VmRSS: x kB\n")], [None; 3]);
        assert_eq!(resident(b"VmRSS:\t18446744073709551615 kB\n"), None);
        assert!((Memory::new(|| {}).resident)().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[tokio::test]
    async fn who_reads_least_makes_room_and_nobody_reads_on_meanwhile() {
        let bytes = Arc::new(AtomicU64::new(limit::MEMORY + 1));
        let (memory, seats) = (taken(&bytes), Seats::new(8));
        let [first, second, reading] = [seats.take(1).await, seats.take(2).await, seats.take(3).await];
        let offers = [memory.offer(&first), memory.offer(&second), memory.offer(&reading)];
        offers[2].asked_for();
        offers[1].asked_for();
        tokio::time::sleep(UNREAD + Duration::from_millis(100)).await;
        offers[1].given();
        assert!(room(&memory).await, "nothing was read yet");
        memory.took(usize::try_from(STEP).unwrap());
        let left = timeout(Duration::from_secs(5), first.given_up()).await.unwrap();
        assert_eq!(left, Left::Unread);
        assert!(!room(&memory).await, "nobody has gone yet");
        bytes.store(limit::MEMORY, Ordering::Relaxed);
        assert!(room(&memory).await);
        assert!(!second.is_ended() && !reading.is_ended());
    }

    #[tokio::test]
    async fn where_nobody_can_make_room_reading_goes_on_after_a_while() {
        let (memory, seats) = (taken(&Arc::new(AtomicU64::new(2 * limit::MEMORY))), Seats::new(1));
        // Its client could read by then.
        let _offer = memory.offer(&seats.take(1).await);
        memory.took(usize::try_from(STEP).unwrap());
        assert!(!room(&memory).await);
        timeout(4 * UNREAD, memory.room()).await.unwrap();
        memory.took(usize::try_from(STEP).unwrap());
        assert!(room(&memory).await, "no more is taken than before");
    }

    #[tokio::test]
    async fn where_everybody_reads_nobody_waits() {
        let memory = taken(&Arc::new(AtomicU64::new(2 * limit::MEMORY)));
        memory.took(usize::try_from(STEP).unwrap());
        assert!(room(&memory).await);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_wait_some_go_on_at_first_and_twice_as_many_each_time() {
        let bytes = Arc::new(AtomicU64::new(limit::MEMORY + 1));
        let (memory, seats) = (taken(&bytes), Seats::new(1));
        let _offer = memory.offer(&seats.take(1).await);
        memory.took(usize::try_from(STEP).unwrap());
        let gone = Arc::new(AtomicU64::new(0));
        for _ in 0..8 * AT_ONCE {
            let (memory, gone) = (Arc::clone(&memory), Arc::clone(&gone));
            tokio::spawn(async move {
                memory.room().await;
                gone.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut steps = vec![0];
        tokio::time::sleep(SOON).await;
        bytes.store(0, Ordering::Relaxed);
        while *steps.last().unwrap() < 8 * AT_ONCE as u64 {
            tokio::time::sleep(SOON / 10).await;
            let now = gone.load(Ordering::Relaxed);
            if steps.last() != Some(&now) {
                steps.push(now);
            }
        }
        let at_once = AT_ONCE as u64;
        assert_eq!(steps, [0, at_once, 3 * at_once, 7 * at_once, 8 * at_once]);
    }

    #[tokio::test]
    async fn an_answer_that_is_over_is_none_that_waits() {
        let (memory, seats) = (taken(&Arc::default()), Seats::new(1));
        let seat = seats.take(1).await;
        drop(memory.offer(&seat));
        assert!(lock(&memory.offers).standing.is_empty());
    }
}
