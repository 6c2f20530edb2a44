//! What is waited for beside something else.
//!
//! Enters: a future that seldom has anything to say, next to one that is woken all the time. Leaves: what it says. Never: a poll that it did not
//! ask for itself.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled at first, and then when it was woken itself.
pub(crate) struct Aside<F> {
    future: Pin<Box<F>>,
    bell: Option<(Arc<Bell>, Waker)>,
}

/// What wakes it, and with it whoever waits.
struct Bell {
    rung: AtomicBool,
    whose: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.whose.wake_by_ref();
    }
}

impl<F: Future> Aside<F> {
    pub fn new(future: F) -> Self {
        Self { future: Box::pin(future), bell: None }
    }
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, bell } = &mut *self;
        let known = bell.as_ref().filter(|(bell, _)| bell.whose.will_wake(cx.waker()));
        if known.is_some_and(|(bell, _)| !bell.rung.swap(false, Ordering::AcqRel)) {
            return Poll::Pending;
        }
        let waker = match known {
            Some((_, waker)) => waker,
            None => {
                let new = Arc::new(Bell { rung: AtomicBool::new(false), whose: cx.waker().clone() });
                &bell.insert((Arc::clone(&new), Waker::from(new))).1
            }
        };
        future.as_mut().poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    /// Counts how often what it waits with is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_polled_when_it_was_woken_and_wakes_whoever_waits_now() {
        let (polls, notify) = (AtomicUsize::new(0), Notify::new());
        let mut notified = [Box::pin(notify.notified()), Box::pin(notify.notified())].into_iter();
        let mut waiting = notified.next().unwrap();
        let mut aside = Aside::new(std::future::poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            while let Poll::Ready(()) = waiting.as_mut().poll(cx) {
                match notified.next() {
                    Some(next) => waiting = next,
                    None => return Poll::Ready(()),
                }
            }
            Poll::Pending
        }));
        let [one, other] = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let mut poll = |woken: &Arc<Woken>| {
            let waker = Waker::from(Arc::clone(woken));
            let over = Pin::new(&mut aside).poll(&mut Context::from_waker(&waker)).is_ready();
            (over, polls.load(Ordering::Relaxed))
        };
        assert_eq!([poll(&one), poll(&one), poll(&one)], [(false, 1); 3]);
        notify.notify_one();
        assert_eq!(one.0.load(Ordering::Relaxed), 1);
        assert_eq!([poll(&one), poll(&one)], [(false, 2); 2]);
        // In other hands it has to know whom to wake from then on.
        assert_eq!(poll(&other), (false, 3));
        notify.notify_one();
        assert_eq!((one.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)), (1, 1));
        assert_eq!(poll(&other), (true, 4));
    }
}
