//! How much memory a worker takes for what it passes on, and who makes room where that is too much.
//!
//! Enters: what is read on either side, and which clients are waited for. Leaves: time to read on. Where more is resident than a worker is to have,
//! nothing is sent to an upstream or read from one, and beyond the most that it may have nothing is read from a client either, before there is room
//! again: connections whose clients have been waited for longest are ended, and where that is not enough, those with the most calls.
//! Never: an end for a client while there is room, or for one that moved within a second while there is less than the most; a wait without an end.

mod queue;
mod sending;
mod socket;
mod wait;

use std::collections::BTreeMap;
use std::fs::File;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use self::queue::Queue;
pub(crate) use self::queue::Ticket;
pub(crate) use self::sending::Sending;
pub(crate) use self::socket::Socket;
pub(crate) use self::wait::Wait;
use self::wait::{PATIENCE, Waits};
use crate::leave::Offer;
use crate::limit;
use crate::seats::{Seat, Seats};

/// Says what is resident (proc(5)), in a line of its first thousand bytes.
const STATUS: &str = "/proc/self/status";
const LINES: usize = 2048;
/// It is looked at after so much was read: what two thousand connections could take meanwhile is no more than a few times that.
const STEP: u64 = 4 << 20;
/// What a connection takes that has just begun, at either end: a handshake, and buffers.
pub(crate) const BEGUN: usize = 32 << 10;
/// What one answer that nobody reads takes, in buffers of both its ends.
const ANSWER: u64 = 512 << 10;
/// Whoever is ended is gone after a turn.
const SOON: Duration = Duration::from_millis(10);
/// So many reads are made when there is room again, and twice as many each time that there still is.
const READS: usize = 16;
/// So many calls go on at once of which nothing is seen yet, or as many as there is room for: each may take [`ANSWER`] before it is. It is [`SEEN`]
/// after its answer has begun, and after [`PATIENCE`] at the latest.
const CALLS: usize = 16;
/// What an answer takes, it has taken by then, or its client reads.
const SEEN: Duration = Duration::from_millis(100);
/// Where nobody is to be ended, it is something else that takes the room. It is looked at again once so much more is taken.
const FURTHER: u64 = 16 << 20;
/// So much more than is too much is given back at once: who waits is to get on before it is taken again.
const AGAIN: u64 = limit::MEMORY_AT_MOST / 4;
/// The allocator is asked to give back for no more than a part of the time.
const GIVING: u32 = 10;

/// There is room for everything.
const PLENTY: u8 = 0;
/// For what is under way, and a few calls at a time.
const SOME: u8 = 1;
/// For nothing more from upstreams.
const SHORT: u8 = 2;
/// For nothing more at all.
const NONE: u8 = 3;

/// What a worker knows of its memory.
pub(crate) struct Memory {
    resident: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    /// Has the allocator give back what was freed, which would count as taken.
    give_back: fn(),
    /// Bytes since it was last looked.
    read: AtomicU64,
    /// From here on somebody has to make room.
    most: AtomicU64,
    room: AtomicU8,
    upstreams: Arc<Queue>,
    clients: Arc<Queue>,
    calls: Arc<Queue>,
    /// The calls that go on though others wait, by their tickets, and until when nothing is seen of them.
    passes: Mutex<BTreeMap<u64, Instant>>,
    waits: Arc<Waits>,
    seats: Arc<Seats>,
}

/// A call goes on though others wait; its answer has begun once this is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    memory: Arc<Memory>,
    number: u64,
}

impl Memory {
    /// Of this process, whose connections have `seats`. It can be looked at also once no way leads to /proc.
    pub fn new(give_back: fn(), seats: &Arc<Seats>) -> Arc<Self> {
        let status = File::open(STATUS).ok();
        let resident = move || {
            let mut lines = [0; LINES];
            let read = status.as_ref()?.read_at(&mut lines, 0).ok()?;
            resident(&lines[..read])
        };
        Self::by(Box::new(resident), give_back, seats)
    }

    fn by(resident: Box<dyn Fn() -> Option<u64> + Send + Sync>, give_back: fn(), seats: &Arc<Seats>) -> Arc<Self> {
        let (read, most, room) = (AtomicU64::new(0), AtomicU64::new(limit::MEMORY), AtomicU8::new(PLENTY));
        let [upstreams, clients, calls] = [(); 3].map(|()| Arc::default());
        let (passes, waits, seats) = (Mutex::default(), Waits::new(), Arc::clone(seats));
        Arc::new(Self { resident, give_back, read, most, room, upstreams, clients, calls, passes, waits, seats })
    }

    /// Waits until there is room for what an upstream sends next.
    pub fn poll_upstream(&self, ticket: &mut Option<Ticket>, cx: &Context<'_>) -> Poll<()> {
        self.poll_below(SHORT, &self.upstreams, (ticket, 0), cx)
    }

    /// Waits until there is room for what a client sends next.
    pub fn poll_client(&self, ticket: &mut Option<Ticket>, cx: &Context<'_>) -> Poll<()> {
        self.poll_below(NONE, &self.clients, (ticket, 0), cx)
    }

    /// Waits until there is room for a call of `seat`. Where others wait, those go on whose connections have the fewest, and as many of who came last.
    pub async fn call(self: &Arc<Self>, seat: &Seat) -> Option<Pass> {
        let (mut ticket, mut number) = (None::<Ticket>, None);
        poll_fn(|cx| {
            number = ticket.as_ref().map(Ticket::number).or(number);
            self.poll_below(SOME, &self.calls, (&mut ticket, seat.calls()), cx)
        })
        .await;
        number.map(|number| Pass { memory: Arc::clone(self), number })
    }

    /// Waits in `queue`, with so many under way, until there is more room than `below`.
    fn poll_below(
        &self,
        below: u8,
        queue: &Arc<Queue>,
        (ticket, under_way): (&mut Option<Ticket>, usize),
        cx: &Context<'_>,
    ) -> Poll<()> {
        if ticket.is_none() && self.has(below) {
            return Poll::Ready(());
        }
        queue.poll(ticket, under_way, || self.has(below), cx)
    }

    /// Whether there is more room than `below`.
    fn has(&self, below: u8) -> bool {
        self.room.load(Ordering::Acquire) < below
    }

    /// So much was read, or is about to be taken.
    pub fn took(self: &Arc<Self>, bytes: usize) {
        if self.read.fetch_add(bytes as u64, Ordering::Relaxed) + (bytes as u64) < STEP {
            return;
        }
        self.read.store(0, Ordering::Relaxed);
        let (resident, over) = self.look();
        if over == 0 {
            return;
        }
        let room = if resident > limit::MEMORY_AT_MOST { NONE } else { SHORT };
        // Whoever makes room says when there is some.
        if self.room.fetch_max(room, Ordering::AcqRel) == PLENTY {
            tokio::spawn(Arc::clone(self).make_room());
        }
    }

    /// Something is held for the client of `seat`, which is waited for.
    pub fn wait(&self, seat: &Arc<Seat>) -> Wait {
        self.waits.begin(seat, None)
    }

    /// The same of an answer, which can be found by that while its client is waited for.
    pub fn offer(&self, seat: &Arc<Seat>, offer: Offer) -> Wait {
        self.waits.begin(seat, Some(offer))
    }

    /// The answers that are on offer and that nobody reads right now.
    pub fn unread(&self) -> Vec<(Offer, Arc<Seat>)> {
        self.waits.unread()
    }

    /// How much is resident, and how much of it is too much.
    fn look(&self) -> (u64, u64) {
        let resident = (self.resident)().unwrap_or(0);
        if resident <= limit::MEMORY {
            self.most.store(limit::MEMORY, Ordering::Relaxed);
        }
        (resident, resident.saturating_sub(self.most.load(Ordering::Relaxed)))
    }

    async fn make_room(self: Arc<Self>) {
        let (mut ended, mut reads, mut given) = (Instant::now(), READS, None);
        // Once there was too much, until there is so much less that somebody gets on before there is again.
        let mut relieving = false;
        loop {
            let (mut resident, mut over) = self.look();
            if over > 0 && given.is_none_or(|next| Instant::now() >= next) {
                let begun = Instant::now();
                (self.give_back)();
                given = Some(Instant::now() + GIVING * begun.elapsed());
                (resident, over) = self.look();
            }
            // Whoever was ended has gone by then; if that gave less, it is not for others to be ended as long as it is enough.
            let gone = ended.elapsed() > PATIENCE / 4;
            relieving =
                resident > limit::MEMORY_AT_MOST || (relieving && !gone && resident > limit::MEMORY_AT_MOST - AGAIN);
            if over == 0 && !relieving {
                if self.let_go(reads, resident) {
                    return;
                }
                (ended, reads) = (Instant::now(), reads.saturating_mul(2));
                tokio::time::sleep(SOON).await;
                continue;
            }
            self.room.store(if relieving { NONE } else { SHORT }, Ordering::Release);
            if !relieving {
                self.clients.call(reads);
            }
            reads = READS;
            // Where nobody is read, nobody can move either.
            let patience = if relieving { PATIENCE / 4 } else { PATIENCE + PATIENCE / 4 };
            let patient = ended.elapsed() <= patience;
            if self.waits.end(answers(over)) {
                ended = Instant::now();
            } else if relieving && !patient {
                if self.seats.end_busiest(calls(resident + AGAIN - limit::MEMORY_AT_MOST)) {
                    ended = Instant::now();
                } else {
                    relieving = false;
                    // It is nobody's call that takes it, and somebody may have something to say that gives room.
                    self.clients.call(READS);
                }
            } else if !relieving && (!patient || !self.waits.any()) {
                self.most.store((resident + FURTHER).min(limit::MEMORY_AT_MOST), Ordering::Relaxed);
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// Lets so many who read go on, and some calls. Whether those were all, so that nobody need wait any more.
    fn let_go(&self, reads: usize, resident: u64) -> bool {
        self.clients.call(reads);
        self.upstreams.call(reads);
        if !self.clients.is_empty() || !self.upstreams.is_empty() {
            self.room.store(SHORT, Ordering::Release);
            return false;
        }
        let mut passes = lock(&self.passes);
        let now = Instant::now();
        passes.retain(|_, &mut until| now < until);
        let fit = answers(self.most.load(Ordering::Relaxed).saturating_sub(resident));
        let called = self.calls.call_from_both_ends(fit.max(CALLS).saturating_sub(passes.len()));
        passes.extend(called.into_iter().map(|number| (number, now + PATIENCE)));
        drop(passes);
        let all = self.calls.is_empty();
        self.room.store(if all { PLENTY } else { SOME }, Ordering::Release);
        // Who came meanwhile.
        [&self.clients, &self.upstreams].iter().for_each(|queue| queue.call(usize::MAX));
        if all {
            self.calls.call(usize::MAX);
        }
        all
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(until) = lock(&self.memory.passes).get_mut(&self.number) {
            *until = (*until).min(Instant::now() + SEEN);
        }
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory(..)")
    }
}

/// How many answers that nobody reads give so much back, or take it.
fn answers(bytes: u64) -> usize {
    usize::try_from(bytes / ANSWER).unwrap_or(usize::MAX).saturating_add(1)
}

/// And how many calls, with what their clients have sent of them.
fn calls(bytes: u64) -> usize {
    usize::try_from(bytes / u64::from(limit::STREAM_WINDOW)).unwrap_or(usize::MAX).saturating_add(1)
}

fn resident(lines: &[u8]) -> Option<u64> {
    let told = |line: &[u8]| {
        std::str::from_utf8(line.strip_prefix(b"VmRSS:")?.strip_suffix(b" kB")?).ok()?.trim().parse().ok()
    };
    let kibibytes: u64 = lines.split(|&byte| byte == b'\n').find_map(told)?;
    kibibytes.checked_mul(1024)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
