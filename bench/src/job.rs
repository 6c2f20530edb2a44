//! What the figures ask of a driver, and what it answers: one JSON value a line.
//!
//! A driver gets a [`Job`], opens what the job needs and says [`Reply::Ready`]; the clocks are read; at an empty line it runs, and
//! says [`Reply::Done`]. Never: an outcome in which a call failed.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One thing to be measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Where the server is. Without it the name is looked up, as from inside the sandbox.
    pub connect: Option<SocketAddr>,
    /// The name in the server name and the authority; names of one's own go before it.
    pub host: String,
    /// The HTTP version.
    pub protocol: Protocol,
    /// The path.
    pub path: String,
    /// What is done with it.
    pub load: Load,
    /// What somebody else in the same sandbox does meanwhile.
    #[serde(default)]
    pub beside: Option<Attack>,
    /// Whether that leaves a core to whoever else wants one: what it costs them then is what it has others do.
    #[serde(default)]
    pub background: bool,
}

/// What a hostile neighbour does until the job is done, with a thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attack {
    /// Handshakes for a name each under one wildcard, eight at once.
    Names,
    /// Ten thousand connections that begin a handshake and say no more.
    HalfOpen,
    /// A thousand requests, a byte of the head each second.
    SlowHeads,
    /// Answers of a megabyte that nobody reads, on 256 connections.
    SlowReaders,
    /// Questions for names that nobody has, as fast as they go.
    NameFlood,
    /// Answers that are a gigabyte once decoded, four at once.
    Bombs,
    /// A thousand requests at once, on eight HTTP/2 connections.
    Streams,
    /// Three threads that compute and call nobody: what the machine itself does to who shares it.
    Compute,
}

/// The names of the upstream that is the attackers' own, each in a rule of its own.
pub mod neighbours {
    /// HTTP/1.1 only.
    pub const HTTP1: &str = "h1.neighbours.bench.example";
    /// Both versions.
    pub const HTTP2: &str = "h2.neighbours.bench.example";
    /// What a wildcard is under.
    pub const NAMES: &str = "names.neighbours.bench.example";
}

/// The HTTP version of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// What is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Load {
    /// Requests, one after the other on each stream of connections that stand.
    Requests {
        /// How many connections.
        connections: usize,
        /// How many requests at once on each.
        streams: usize,
        /// For how long.
        seconds: f64,
    },
    /// Uploads of as many bytes as the path says, one after the other on connections that stand.
    Uploads {
        /// How many connections.
        connections: usize,
        /// For how long; at least one.
        seconds: f64,
    },
    /// A request now and then on a connection that stands, and one now and then on a connection of its own.
    Polite {
        /// Milliseconds from one to the next.
        every: u64,
        /// For how long.
        seconds: f64,
        /// Whether each has a connection of its own.
        anew: bool,
    },
    /// TCP connection, TLS handshake without resumption, orderly end; to one name.
    Handshakes {
        /// How many at once.
        at_once: usize,
        /// For how long.
        seconds: f64,
    },
    /// TCP connection, TLS handshake without resumption, one request, orderly end; to one name.
    Calls {
        /// How many at once.
        at_once: usize,
        /// For how long.
        seconds: f64,
    },
    /// Connections that stand and say nothing until each is asked once more.
    Hold {
        /// How many.
        connections: usize,
    },
    /// Handshakes again, to a name each that the other side has a certificate for only from then on. Looked up beforehand.
    NewNames {
        /// How many at once.
        at_once: usize,
        /// The number of the first name.
        first: u32,
        /// How many names.
        count: u32,
    },
    /// A name that was never heard of, looked up, connected to, and asked one thing; one after the other.
    FirstRequests {
        /// The number of the first name.
        first: u32,
        /// How many names.
        count: u32,
    },
}

/// What a driver says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Everything is open.
    Ready,
    /// It is done.
    Done(Outcome),
    /// There is no outcome.
    Failed(String),
}

/// What came of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// How many requests or handshakes.
    pub done: u64,
    /// In how many seconds.
    pub seconds: f64,
    /// The driver's own CPU time, seconds.
    pub cpu: f64,
    /// Microseconds of which half were faster.
    pub p50: f64,
    /// Microseconds of which 99 in 100 were faster.
    pub p99: f64,
    /// The slowest, microseconds.
    pub slowest: f64,
    /// How much was attacked meanwhile.
    pub attacks: u64,
}

impl Outcome {
    /// How many a second.
    pub fn rate(&self) -> f64 {
        per(self.done, self.seconds)
    }
}

/// `count` over `divisor`.
#[expect(clippy::cast_precision_loss, reason = "counts of one benchmark are far below 2^52")]
pub fn per(count: u64, divisor: f64) -> f64 {
    count as f64 / divisor
}

/// The name with this number below `host`.
pub fn numbered(number: u32, host: &str) -> String {
    format!("n{number}.{host}")
}
