//! How much the decoders of one worker take, those of requests and those of answers, and who gives theirs up where that is too much.
//!
//! Enters: a decoder that is about to go on, with what it may take then, and what it took. Leaves: leave to go on, at once or in its turn; an end for
//! decoders that have hardly moved for a while, where others wait: of those that take most first, so that it is the fewest. What they took in the end
//! counts as everything else does (`memory`). Never: more than the bound but for what a single step did not foresee; a wait without end; an end while nobody
//! waits, or for a decoder that moves.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::limit;

/// Who has decoded less than [`MOVED`] for so long may be one that never goes on.
const PATIENCE: Duration = Duration::from_secs(1);
/// So much is decoded by whoever moves: a byte now and then keeps nobody's place.
const MOVED: usize = 64 << 10;
/// Who needs no more than one part in so many goes past those who wait for more: a window of 4 MiB, as servers choose it.
const LITTLE: usize = 12;
/// How often it is looked who has come to rest, while somebody waits.
const SOON: Duration = Duration::from_millis(20);

/// The room for all decoders of a worker.
pub struct Decoders {
    most: usize,
    /// Is told what they took.
    took: Box<dyn Fn(usize) + Send + Sync>,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    taken: usize,
    made: u64,
    places: BTreeMap<u64, Taken>,
    /// By their places, so that who waits for more is where it was.
    waiting: BTreeMap<u64, Waiting>,
    /// Whether it is the turn of who began last.
    last: bool,
    /// Whether somebody looks who has come to rest.
    looked_after: bool,
}

#[derive(Debug)]
struct Taken {
    bytes: usize,
    moved: Instant,
    held: Arc<dyn Held>,
}

#[derive(Debug)]
struct Waiting {
    more: usize,
    waker: Waker,
}

/// What takes the room of a place.
pub(super) trait Held: std::fmt::Debug + Send + Sync {
    /// Gives it back, at once; whoever held it is told when it goes on.
    fn end(&self);
}

/// The room of one decoder, free again when it is dropped.
pub(super) struct Place {
    decoders: Arc<Decoders>,
    number: u64,
    taken: usize,
    /// What it took when it took most.
    high: usize,
    /// What was decoded since it last moved.
    decoded: usize,
    coming: Option<Coming>,
}

type Coming = Pin<Box<dyn Future<Output = Result<(), NoRoom>> + Send + Sync>>;

/// Why a body is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Others have moved all the time.
    #[error(
        "there was no room to decode it in for {waited} s: other bodies had the {most} MiB for all of them; send or ask for fewer at once, \
         or for uncompressed ones",
        most = limit::DECODED_AT_ONCE >> 20,
        waited = limit::DECODED_WAIT.as_secs()
    )]
    Late,
    /// Somebody else waited for its room.
    #[error(
        "it was decoded no further: it hardly moved, and other bodies waited for their part of the {most} MiB for all of them; send or ask \
         for fewer at once, or for uncompressed ones",
        most = limit::DECODED_AT_ONCE >> 20
    )]
    Rested,
}

impl Decoders {
    /// Room for so many bytes; `took` is told what was taken.
    pub(crate) fn new(most: usize, took: impl Fn(usize) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { most, took: Box::new(took), standing: Mutex::default() })
    }

    /// A place for what `held` takes, which is nothing yet.
    pub(super) fn place(self: &Arc<Self>, held: Arc<dyn Held>) -> Place {
        let mut standing = self.lock();
        standing.made += 1;
        let number = standing.made;
        standing.places.insert(number, Taken { bytes: 0, moved: Instant::now(), held });
        Place { decoders: Arc::clone(self), number, taken: 0, high: 0, decoded: 0, coming: None }
    }

    /// Waits for so much more for a place, in its turn.
    async fn take(self: Arc<Self>, place: u64, more: usize) -> Result<(), NoRoom> {
        let mut turn = Turn { decoders: &self, place, waits: false };
        let taken = poll_fn(|cx| turn.poll(more, cx));
        tokio::time::timeout(limit::DECODED_WAIT, taken).await.map_err(|_| NoRoom::Late)
    }

    /// Ends those that rest, as long as who comes next needs their room, whoever that is.
    async fn look_after(self: Arc<Self>) {
        while self.end_resting() {
            tokio::time::sleep(SOON).await;
        }
    }

    /// Whether somebody still waits.
    fn end_resting(&self) -> bool {
        let mut standing = self.lock();
        let now = Instant::now();
        loop {
            standing.serve(self.most);
            if standing.waiting.is_empty() {
                standing.looked_after = false;
                return false;
            }
            let Some(ended) = standing.resting(now) else { return true };
            standing.taken -= ended.bytes;
            ended.held.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Of those that rest, who takes most. One that waits itself does not, unless all who have anything do.
    fn resting(&mut self, now: Instant) -> Option<Taken> {
        let rest = |taken: &Taken| now.saturating_duration_since(taken.moved);
        let waits = |number: &u64| self.waiting.contains_key(number);
        let stuck = self.places.iter().all(|(number, taken)| taken.bytes == 0 || waits(number));
        let rests =
            |(number, taken): &(&u64, &Taken)| taken.bytes > 0 && rest(taken) >= PATIENCE && (stuck || !waits(number));
        let most = self.places.iter().filter(rests).max_by_key(|(_, taken)| (taken.bytes, rest(taken)));
        most.map(|(&number, _)| number).and_then(|number| self.places.remove(&number))
    }

    /// Gives what is free to those who wait, first and last in turn: where many wait, who comes now must not wait for all of them.
    fn serve(&mut self, most: usize) {
        let next = |standing: &Self| {
            let mut waiting = standing.waiting.iter();
            let next = if standing.last { waiting.next_back() } else { waiting.next() };
            next.map(|(&place, waiting)| (place, waiting.more))
        };
        while let Some((place, more)) = next(self).filter(|(_, more)| self.taken + more <= most) {
            self.last = !self.last;
            let Some(Waiting { waker, .. }) = self.waiting.remove(&place) else { return };
            if let Some(taken) = self.places.get_mut(&place) {
                self.taken += more;
                (taken.bytes, taken.moved) = (taken.bytes + more, Instant::now());
            }
            waker.wake();
        }
    }
}

impl Place {
    /// Waits until it may take `most` in all.
    pub(super) fn poll(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<Result<(), NoRoom>> {
        let most = most.min(self.decoders.most);
        if self.coming.is_none() && self.takes(most) {
            return Poll::Ready(Ok(()));
        }
        let (decoders, more) = (&self.decoders, most.saturating_sub(self.taken));
        let coming = self.coming.get_or_insert_with(|| Box::pin(Arc::clone(decoders).take(self.number, more)));
        let came = ready!(coming.as_mut().poll(cx));
        self.coming = None;
        self.taken = self.decoders.lock().places.get(&self.number).map_or(0, |taken| taken.bytes);
        Poll::Ready(came)
    }

    /// Takes so much in all: what it has, unless somebody took more than was foreseen; or more, where there is room, and nobody waits or it is little.
    fn takes(&mut self, bytes: usize) -> bool {
        let (more, mut standing) = (bytes.saturating_sub(self.taken), self.decoders.lock());
        let most = self.decoders.most;
        let free = (more <= most / LITTLE || standing.waiting.is_empty()) && standing.taken + more <= most;
        if more == 0 {
            return free;
        }
        let place = standing.places.get_mut(&self.number).filter(|_| free);
        let takes = place.map(|taken| taken.bytes = bytes).is_some();
        if takes {
            standing.taken += more;
            self.taken = bytes;
        }
        takes
    }

    /// It has decoded so many bytes, and takes so much.
    pub(super) fn settle(&mut self, decoded: usize, bytes: usize) {
        self.decoded += decoded;
        let moved = self.decoded >= MOVED;
        if !moved && bytes == self.taken {
            return;
        }
        let mut standing = self.decoders.lock();
        let Some(taken) = standing.places.get_mut(&self.number) else { return };
        if moved {
            (self.decoded, taken.moved) = (0, Instant::now());
        }
        let before = std::mem::replace(&mut taken.bytes, bytes);
        standing.taken = standing.taken - before + bytes;
        self.taken = bytes;
        standing.serve(self.decoders.most);
        drop(standing);
        if bytes > self.high {
            (self.decoders.took)(bytes - self.high);
            self.high = bytes;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut standing = self.decoders.lock();
        let gone = standing.places.remove(&self.number);
        standing.taken -= gone.as_ref().map_or(0, |taken| taken.bytes);
        standing.serve(self.decoders.most);
        drop(standing);
        drop(gone);
    }
}

/// The wait for a place.
struct Turn<'a> {
    decoders: &'a Arc<Decoders>,
    place: u64,
    /// From the first look on.
    waits: bool,
}

impl Turn<'_> {
    fn poll(&mut self, more: usize, cx: &Context<'_>) -> Poll<()> {
        let mut standing = self.decoders.lock();
        if std::mem::replace(&mut self.waits, true) && !standing.waiting.contains_key(&self.place) {
            return Poll::Ready(());
        }
        standing.waiting.insert(self.place, Waiting { more, waker: cx.waker().clone() });
        if !std::mem::replace(&mut standing.looked_after, true) {
            tokio::spawn(Arc::clone(self.decoders).look_after());
        }
        Poll::Pending
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut standing = self.decoders.lock();
        let gone = standing.waiting.remove(&self.place);
        standing.serve(self.decoders.most);
        drop(standing);
        drop(gone);
    }
}

impl std::fmt::Debug for Decoders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoders").field("standing", &self.standing).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
