//! Accepts what comes from the sandbox until told to stop, and then lets what is under way finish.
//!
//! Enters: the listeners that were opened inside the sandbox, and everything one worker shares. Leaves: counted connections,
//! each recorded (`told`). Never: a connection over the bound (the kernel's backlog waits instead), or a wait without an end.

mod told;

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use broker::{Client, Lease, Registration};
use config::{CallPermit, Draft, LoadError, Policy, RoomSettings, Standing};
use record::{Bounds, CallLog, Event};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::aside::Aside;
use crate::connection::{self, Accepted};
use crate::error::Refusal;
use crate::leaf::{Authority, Leaves};
use crate::leave;
use crate::limit::{self, Rates};
use crate::memory::{self, Memory, Socket};
use crate::names::{self, AddressMap};
use crate::record::{Account, Pace, Telling};
use crate::scrub::Known;
use crate::seats::Seats;
use crate::swap::Swap;
use crate::tally::{Counted, Tally};
use crate::tool::Room;
use crate::turn::{self, Turns};
use crate::upstream::{Roots, Upstream};

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts {
    /// The policy in force, replaced by a reload.
    pub policy: Arc<Standing>,
    /// The CA that the sandbox trusts.
    pub authority: Authority,
    /// Whom upstreams may be vouched for by.
    pub roots: Roots,
    /// The worker's end of the broker.
    pub broker: Client,
    /// What the broker gave at registration: identity, grants, placeholders.
    pub registration: Registration,
    /// The call log.
    pub log: Arc<CallLog>,
    /// How much room it takes, and how fast.
    pub room: RoomSettings,
    /// Has the allocator give back to the kernel what was freed.
    pub give_back: fn(),
}

/// Everything that the connections of one sandbox share.
#[derive(Debug)]
pub struct Worker {
    pub(crate) policy: Arc<Standing>,
    pub(crate) leaves: Leaves,
    pub(crate) names: Arc<AddressMap>,
    pub(crate) swap: Swap,
    pub(crate) known: Known,
    pub(crate) broker: Client,
    pub(crate) upstream: Upstream,
    pub(crate) rates: Rates,
    pub(crate) room: Room,
    pub(crate) turns: Arc<Turns>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) log: Arc<CallLog>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) stop: watch::Receiver<bool>,
    /// Turns true when the calls that were under way at the stop have had their time.
    pub(crate) cut: watch::Sender<bool>,
    policy_changed: watch::Sender<()>,
    telling: Telling,
    calls: AtomicU64,
    refused: AtomicU64,
    observed: AtomicU64,
    barred: AtomicU64,
    tally: Tally,
}

/// The sockets that were opened inside the sandbox.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Where every TCP connection arrives.
    pub tcp: Vec<std::net::TcpListener>,
    /// Where every name is asked over UDP.
    pub dns_udp: Vec<std::net::UdpSocket>,
    /// And over TCP.
    pub dns_tcp: Vec<std::net::TcpListener>,
}

impl Worker {
    /// Puts the parts together; `stop` turns true when no new work shall be taken up.
    pub fn new(parts: Parts, stop: watch::Receiver<bool>) -> Arc<Self> {
        let RoomSettings { worker, free, .. } = parts.room;
        parts.log.within(Bounds { worker, free });
        let log = Arc::clone(&parts.log);
        // A log that fails here is found out by whoever has to go on behind it.
        let turns = Turns::new(move || drop(log.commit()));
        let seats = Arc::new(Seats::new(limit::CONNECTIONS));
        let memory = Memory::new(parts.give_back, &seats);
        let counted = Arc::clone(&memory);
        let room = Room::new(move |bytes| counted.took(bytes));
        let upstream = Upstream::new(parts.roots, Arc::clone(&parts.log), Arc::clone(&memory));
        let grants = parts.registration.grants;
        Arc::new(Self {
            policy: parts.policy,
            leaves: Leaves::new(parts.authority),
            names: Arc::new(AddressMap::new(Instant::now())),
            known: Known::new(!grants.is_empty()),
            telling: Telling::new(grants.iter().map(|(grant, _)| grant.credential().to_string())),
            swap: Swap::new(grants),
            broker: parts.broker,
            upstream,
            rates: Rates::default(),
            room,
            turns,
            memory,
            seats,
            pace: Pace::new(&parts.log, parts.room),
            log: parts.log,
            stop,
            cut: watch::Sender::new(false),
            policy_changed: watch::Sender::new(()),
            calls: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            observed: AtomicU64::new(0),
            barred: AtomicU64::new(0),
            tally: Tally::default(),
        })
    }

    /// The call log, for the records that are not about a call.
    pub fn log(&self) -> &CallLog {
        &self.log
    }

    /// Has answers scrubbed of what a lease has, though nothing is sent with it.
    ///
    /// # Errors
    /// [`Refusal::CredentialUnavailable`] where too many are still good.
    pub fn scrubs(&self, lease: &Arc<Lease>, placeholder: &str) -> Result<(), Refusal> {
        self.known.remember(lease, lease.secret.expose(), placeholder)
    }

    /// What the policy file says now, where that is not what is in force.
    pub fn draft(&self) -> Option<Draft> {
        self.policy.read()
    }

    /// Puts what was read in force, and into the log before that: nothing is cut off by a policy that the log does not know. What is under
    /// way is asked about again.
    ///
    /// # Errors
    /// The mistakes in it; the last good policy stays in force.
    pub fn take(&self, draft: Draft) -> Result<(), LoadError> {
        if let Some(digest) = draft.digest() {
            self.tell(&Account::new(&self.pace, 0), Event::PolicyReloaded { policy: digest.to_owned() });
        }
        self.policy.take(draft)?;
        self.policy_changed.send_replace(());
        Ok(())
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.current()
    }

    /// Tells of each change of the policy from now on.
    pub(crate) fn policy_changes(&self) -> watch::Receiver<()> {
        self.policy_changed.subscribe()
    }

    /// Whether there may be further calls: none once the worker was told to stop, whatever stands open.
    pub(crate) fn goes_on(&self) -> Result<(), Refusal> {
        if *self.stop.borrow() { Err(Refusal::Stopped) } else { Ok(()) }
    }

    /// Counts that time, which is one for all of them.
    async fn cut_off(self: Arc<Self>) {
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
        tokio::time::sleep(limit::STOP_WAIT).await;
        self.cut.send_replace(true);
    }

    /// Calls that went upstream, and refusals, so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Calls that no rule covers and that went out, as the policy observes; and such that did not, for where they led.
    pub fn observed(&self) -> (u64, u64) {
        (self.observed.load(Ordering::Relaxed), self.barred.load(Ordering::Relaxed))
    }

    /// Counts a call that no rule covers, if it is one, and whether it was `refused` on its way.
    pub(crate) fn count_observed(&self, permit: &CallPermit, refused: Option<&Refusal>) {
        if permit.observed().is_some() {
            let barred = refused.is_some_and(|refusal| refusal.forbidden().is_some());
            let counted = if barred { &self.barred } else { &self.observed };
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The most frequent refusals so far, at most `most` different ones.
    pub fn top_refusals(&self, most: usize) -> Vec<Counted> {
        self.tally.top(most)
    }

    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Serves until `stop` (given to [`Worker::new`]) turns true, then waits a bounded time for what is under way.
///
/// # Errors
/// When a listener cannot be used at all.
pub async fn serve(worker: Arc<Worker>, listeners: Listeners) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    tokio::spawn(Arc::clone(&worker).cut_off());
    let numbers = Arc::new(AtomicU64::new(0));
    for listener in listeners.tcp {
        listener.set_nonblocking(true)?;
        // What it accepts inherits that. The path is the loopback device: there is nothing to probe for, and a host's `bbr` would pace
        // each answer by a timer. Reno is in every kernel, and anybody's to choose.
        let _ = SockRef::from(&listener).set_tcp_congestion(b"reno");
        let listener = TcpListener::from_std(listener)?;
        let accepting = accept(Arc::clone(&worker), listener, Arc::clone(&numbers));
        let share = worker.turns.own();
        tasks.spawn(async move { share.run(accepting).await });
    }
    let (udp, tcp) = name_sockets(listeners.dns_udp, listeners.dns_tcp)?;
    let (asking, account) = (Arc::clone(&worker), Account::new(&worker.pace, 0));
    let name_server =
        tokio::spawn(names::serve(udp, tcp, Arc::clone(&worker.names), names::Limits::default(), move |asked| {
            asking.asked(&account, &asked.name, &asked.kind);
        }));
    let unread = tokio::spawn(leave::unread(Arc::clone(&worker)));
    while tasks.join_next().await.is_some() {}
    name_server.abort();
    // A WebSocket is no connection's any more; it is cut off like the rest, and has its end in the log before the worker's.
    let _ = tokio::time::timeout(limit::DRAIN_WAIT, worker.log.all_ended()).await;
    unread.abort();
    Ok(())
}

type NameSockets = (Vec<UdpSocket>, Vec<TcpListener>);

fn name_sockets(udp: Vec<std::net::UdpSocket>, tcp: Vec<std::net::TcpListener>) -> io::Result<NameSockets> {
    let udp = udp.into_iter().map(|socket| {
        socket.set_nonblocking(true)?;
        // Who asks for hundreds of names at once, two questions each, is to find room; the kernel gives as much as the host allows.
        let _ = SockRef::from(&socket).set_recv_buffer_size(limit::QUESTIONS_BYTES);
        UdpSocket::from_std(socket)
    });
    let tcp = tcp.into_iter().map(|socket| {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    });
    Ok((udp.collect::<io::Result<_>>()?, tcp.collect::<io::Result<_>>()?))
}

/// One listener's connections; the bound is shared by all listeners.
async fn accept(worker: Arc<Worker>, listener: TcpListener, numbers: Arc<AtomicU64>) {
    let mut stop = worker.stop.clone();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors or of memory: what is under way has to end first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
        // Without a place, what else arrives waits in the kernel.
        let seat = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {
                not_taken_up(&worker, &SockRef::from(&stream), number);
                break;
            }
            seat = worker.seats.take(number) => seat,
        };
        match connection::accepted(&stream, &worker, Arc::clone(&seat)) {
            Ok(accepted) => {
                // In a place of its own: each future that it is handed through would be as large otherwise.
                let (share, one) = (Arc::clone(&accepted.share), Box::pin(one(Arc::clone(&worker), stream, accepted)));
                connections.spawn(async move { share.run(one).await });
            }
            Err(refusal) => {
                let (worker, account) = (Arc::clone(&worker), Account::new(&worker.pace, number));
                connections.spawn(async move { worker.refuse_in_turn(&account, &seat, "exeat", None, &refusal).await });
            }
        }
        while connections.try_join_next().is_some() {}
        turn::slice().await;
    }
    if let Ok(listener) = listener.into_std() {
        // No more than could have been let in: somebody may still come and come.
        for stream in listener.incoming().map_while(Result::ok).take(limit::CONNECTIONS) {
            not_taken_up(&worker, &SockRef::from(&stream), numbers.fetch_add(1, Ordering::Relaxed) + 1);
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limit::DRAIN_WAIT, drained).await.is_err() {
        tracing::warn!("connections were cut off at the end of the worker");
    }
}

/// Tells of a connection that was there when the worker stopped, if it had said something: no more becomes of it.
fn not_taken_up(worker: &Worker, socket: &SockRef<'_>, number: u64) {
    let said = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [MaybeUninit::uninit()]));
    if !matches!(said, Ok(1..)) {
        return;
    }
    let account = Account::new(&worker.pace, number);
    match connection::destination(socket, worker) {
        Ok((to, _)) => worker.refuse(&account, &to.to_string(), None, &Refusal::NotTakenUp(to)),
        Err(refusal) => worker.refuse(&account, "exeat", None, &refusal),
    }
}

async fn one(worker: Arc<Worker>, stream: TcpStream, accepted: Accepted) {
    let _ = stream.set_nodelay(true);
    let (account, to, seat) = (Arc::clone(&accepted.account), accepted.destination.clone(), Arc::clone(&accepted.seat));
    worker.memory.took(memory::BEGUN);
    let stream = Socket::new(stream, Arc::clone(&seat), Arc::clone(&worker.memory));
    let served = tokio::select! {
        biased;
        served = connection::run(Arc::clone(&worker), stream, accepted) => served,
        left = Aside::new(seat.given_up()) => left.refusal(&to).map_or(Ok(()), Err),
    };
    if let Err(refusal) = served {
        worker.refuse_in_turn(&account, &seat, &to.to_string(), None, &refusal).await;
    }
}
