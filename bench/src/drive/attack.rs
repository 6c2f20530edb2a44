//! A hostile neighbour in the same sandbox, on a thread of its own.
//!
//! Enters: what to do. Leaves: how often it was done, once told to stop. Never: a loop that outlives its job, an address outside of
//! the sandbox, nor an attack that did nothing and is taken for one that was borne.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::error::Error;
use crate::job::neighbours::{HTTP1, HTTP2, NAMES};
use crate::job::{Attack, Job, Protocol, numbered};

use super::http::{Client, Link};
use super::load::{PORT, lookup};
use super::lookup::Lookup;

/// A record of a handshake that is to be 512 bytes long, and its first bytes.
const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
/// Between looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);
/// Before a connection that was closed is opened again.
const AGAIN: Duration = Duration::from_secs(5);

/// The least that a thread can ask for without a class of its own (sched(7)).
const LEAST: i32 = 19;

/// The thread.
pub struct Attackers {
    thread: JoinHandle<Result<(), Error>>,
    shared: Arc<Shared>,
}

/// What both threads see.
#[derive(Default)]
struct Shared {
    over: AtomicBool,
    done: AtomicU64,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn did(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    async fn wait(&self) {
        while !self.is_over() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Attackers {
    /// Begins; `job` says where the addresses come from.
    pub fn start(attack: Attack, job: &Job) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let (theirs, job) = (Arc::clone(&shared), job.clone());
        let thread = std::thread::spawn(move || {
            if job.background {
                // Of this thread alone, and of those it starts.
                rustix::process::setpriority_process(None, LEAST)?;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let tasks = LocalSet::new();
            tasks.block_on(&runtime, run(attack, job, theirs))
        });
        Ok(Self { thread, shared })
    }

    /// Waits until it is under way; one that does not get there is found out when it is stopped.
    pub async fn under_way(self) -> Self {
        for _ in 0..500 {
            if self.shared.done.load(Ordering::Relaxed) > 0 {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self
    }

    /// Ends it, and says how often it was done.
    pub fn stop(self) -> Result<u64, Error> {
        self.shared.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error::new("the attack broke off"))??;
        match self.shared.done.load(Ordering::Relaxed) {
            0 => Err(Error::new("the attack did nothing")),
            done => Ok(done),
        }
    }
}

async fn run(attack: Attack, job: Job, shared: Arc<Shared>) -> Result<(), Error> {
    let Some(lookup) = lookup(&job).await? else { return Err(Error::new("an attack is on exeat, not on a server")) };
    let host = match attack {
        Attack::Names => NAMES,
        Attack::Streams => HTTP2,
        _ => HTTP1,
    };
    let name = if attack == Attack::Names { numbered(0, host) } else { host.to_owned() };
    let to = SocketAddr::new(lookup.address_in_time(&name).await?, PORT);
    let client = Rc::new(Client::new()?);
    let mut tasks = tokio::task::JoinSet::new();
    match attack {
        Attack::NameFlood => return flood(&lookup, &shared).await,
        Attack::Compute => compute(&shared),
        Attack::Names => {
            let next = Rc::new(AtomicU64::new(2_000_000));
            for _ in 0..8 {
                tasks.spawn_local(names(Rc::clone(&client), to, Rc::clone(&next), Arc::clone(&shared)));
            }
        }
        Attack::HalfOpen => {
            for _ in 0..10_000 {
                tasks.spawn_local(half_open(to, Arc::clone(&shared)));
            }
        }
        Attack::SlowHeads => {
            for _ in 0..1000 {
                tasks.spawn_local(slow_head(Rc::clone(&client), to, Arc::clone(&shared)));
            }
        }
        Attack::SlowReaders => {
            for _ in 0..256 {
                tasks.spawn_local(unread(Rc::clone(&client), to, Arc::clone(&shared)));
            }
        }
        Attack::Bombs => {
            for _ in 0..4 {
                tasks.spawn_local(bombs(Rc::clone(&client), to, Arc::clone(&shared)));
            }
        }
        Attack::Streams => {
            for _ in 0..8 {
                let first = client.open(to, HTTP2, Protocol::Http2).await?;
                for _ in 0..125 {
                    let link = first.another().ok_or_else(|| Error::new("no second stream"))?;
                    tasks.spawn_local(requests(Rc::clone(&client), link, Arc::clone(&shared)));
                }
            }
        }
    }
    shared.wait().await;
    // What is under way is what the attack was; its failures are what it hoped for.
    tasks.shutdown().await;
    Ok(())
}

/// No attack at all. They end when it is over.
fn compute(shared: &Arc<Shared>) {
    for _ in 0..3 {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            while !shared.is_over() {
                for number in 0..1_000_000_u32 {
                    std::hint::black_box(number);
                }
                shared.did();
            }
        });
    }
}

/// As fast as they go; answers are not waited for.
async fn flood(lookup: &Lookup, shared: &Shared) -> Result<(), Error> {
    let mut number = 0;
    while !shared.is_over() {
        for _ in 0..64 {
            number += 1;
            lookup.ask_only(&numbered(number, "nobody.example")).await;
            shared.did();
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The address is that of one of them; the certificate is made for the name all the same.
async fn names(client: Rc<Client>, to: SocketAddr, next: Rc<AtomicU64>, shared: Arc<Shared>) {
    while !shared.is_over() {
        let number = u32::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
        if client.shake_hands(to, &numbered(number, NAMES)).await.is_ok() {
            shared.did();
        }
    }
}

/// Opened again some time after it is closed: there are no more than 28,000 ports to come from.
async fn half_open(to: SocketAddr, shared: Arc<Shared>) {
    while !shared.is_over() {
        if let Ok(mut stream) = TcpStream::connect(to).await
            && stream.write_all(HALF_A_HELLO).await.is_ok()
        {
            shared.did();
            let _ = stream.readable().await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn slow_head(client: Rc<Client>, to: SocketAddr, shared: Arc<Shared>) {
    while !shared.is_over() {
        if let Ok(mut stream) = client.plain(to, HTTP1).await {
            shared.did();
            let mut said =
                stream.write_all(format!("GET /open/1024 HTTP/1.1\r\nHost: {HTTP1}\r\nX: ").as_bytes()).await;
            while said.is_ok() && !shared.is_over() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                said = async {
                    stream.write_all(b"x").await?;
                    stream.flush().await
                }
                .await;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn unread(client: Rc<Client>, to: SocketAddr, shared: Arc<Shared>) {
    if let Ok(mut stream) = client.plain(to, HTTP1).await {
        // As many requests as the other side takes.
        let request = format!("GET /open/1048576 HTTP/1.1\r\nHost: {HTTP1}\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_ok() && stream.flush().await.is_ok() {
            let mut begun = [0; 12];
            if stream.read_exact(&mut begun).await.is_ok() && &begun == b"HTTP/1.1 200" {
                shared.did();
            }
        }
        shared.wait().await;
    }
}

/// Counted in megabytes.
async fn bombs(client: Rc<Client>, to: SocketAddr, shared: Arc<Shared>) {
    let swallowed = Cell::new(0);
    let count = |bytes| {
        swallowed.set(swallowed.get() + bytes);
        while swallowed.get() >= 1024 * 1024 {
            swallowed.set(swallowed.get() - 1024 * 1024);
            shared.did();
        }
    };
    while !shared.is_over() {
        if let Ok(Link::Http1(mut sender)) = client.open(to, HTTP1, Protocol::Http1).await {
            // How it ends is not what is measured.
            let _ = client.swallow(&mut sender, (HTTP1, crate::upstream::BOMB), count).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn requests(client: Rc<Client>, mut link: Link, shared: Arc<Shared>) {
    while !shared.is_over() && client.ask(&mut link, HTTP2, "/open/1024").await.is_ok() {
        shared.did();
    }
}
