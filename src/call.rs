//! A call from its start to its end, put together from the records of its worker's log.
//!
//! Enters: the records of one log, in order. Leaves: each call once it has ended, each refusal as it stands, and at the end what never
//! ended. Never: more of what is open than its bound; what is beyond it leaves as not ended, the oldest first.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use record::cut::Cuts;
use record::read::Position;
use record::{CallEnd, CallStart, Event, Line, Refused, TunnelStart};

use crate::places::Places;
use crate::running;

/// Who wrote a log.
#[derive(Debug, Default)]
pub struct Author {
    /// The worker.
    pub worker: String,
    /// The agent that it worked for.
    pub agent: String,
    /// Its identity.
    pub identity: String,
    /// Its version of exeat.
    pub version: String,
}

impl Author {
    /// By the first record that there is of the log in this worker's directory.
    pub fn first(places: &Places, directory: &Path, first: &Event) -> Self {
        let short = |worker: &str, agent: &str| {
            let (worker, agent) = (worker.to_owned(), agent.to_owned());
            Self { worker, agent, ..Self::default() }
        };
        match first {
            Event::WorkerStart(start) => {
                let (identity, version) = (start.identity.clone(), start.version.clone());
                return Self { identity, version, ..short(&start.worker, &start.agent) };
            }
            Event::SegmentStart(start) => return short(&start.worker, &start.agent),
            _ => {}
        }
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let running = name.parse().ok().and_then(|worker| running::who(places, &worker));
        short(&name, &running.map(|running| running.agent.to_string()).unwrap_or_default())
    }
}

/// Where a call stands in a distributed trace, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace: [u8; 16],
    /// The call in it.
    pub span: [u8; 8],
    /// What made the call, where that said so.
    pub parent: Option<[u8; 8]>,
}

/// How a call began.
#[derive(Debug)]
pub enum Start {
    /// It was let out.
    Call(Box<CallStart>),
    /// Its connection was, unread.
    Tunnel(Box<TunnelStart>),
    /// It was not.
    Refused(Box<Refused>),
}

/// A call.
#[derive(Debug)]
pub struct Call {
    /// Whose.
    pub author: Arc<Author>,
    /// The number of its first record.
    pub seq: u64,
    /// When that was written.
    pub began: Timestamp,
    /// How it began.
    pub start: Start,
    /// How it ended, and when.
    pub end: Option<(Timestamp, CallEnd)>,
    /// Which texts of its records are not whole, and what they were.
    pub cut: Cuts,
}

impl Call {
    /// Its first record, as others may call it.
    pub fn uid(&self) -> String {
        format!("{}/{}", self.author.worker, self.seq)
    }

    /// Its place in the trace that its client named; where none was named, in one of its own that is always the same.
    pub fn span(&self) -> Span {
        let named = match &self.start {
            Start::Call(start) => start.trace.as_ref(),
            Start::Tunnel(_) => None,
            Start::Refused(refused) => refused.trace.as_ref(),
        };
        let named = named.and_then(|trace| {
            let (id, span, parent) = (bytes(&trace.trace_id)?, bytes(&trace.span_id)?, bytes(&trace.parent)?);
            Some(Span { trace: id, span, parent: Some(parent) })
        });
        named.unwrap_or_else(|| {
            let digest = digest(&SHA256, self.uid().as_bytes());
            let (mut trace, mut span) = ([0; 16], [0; 8]);
            trace.copy_from_slice(&digest.as_ref()[..16]);
            span.copy_from_slice(&digest.as_ref()[16..24]);
            Span { trace, span, parent: None }
        })
    }

    /// Host and port.
    pub fn to(&self) -> &str {
        match &self.start {
            Start::Call(start) => &start.to,
            Start::Tunnel(start) => &start.to,
            Start::Refused(refused) => &refused.to,
        }
    }
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if hex.len() != 2 * N || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// In hexadecimal, as traces are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A call that has not ended.
#[derive(Debug)]
struct Kept {
    call: Call,
    at: Position,
    bytes: usize,
}

/// The calls of one log that have not ended.
#[derive(Debug)]
pub struct Open {
    author: Arc<Author>,
    calls: BTreeMap<u64, Kept>,
    bytes: usize,
    most: usize,
}

impl Open {
    /// None yet, in a log of `author`; of all that will be, `most` bytes of records are kept.
    pub fn new(author: Arc<Author>, most: usize) -> Self {
        Self { author, calls: BTreeMap::new(), bytes: 0, most }
    }

    /// Takes the next record, of this many bytes. Leaves what is over now.
    pub fn take(&mut self, line: Line, at: Position, bytes: usize) -> Vec<Call> {
        let Line { seq, time, cut, event, .. } = line;
        let call = |start, cut| Call { author: Arc::clone(&self.author), seq, began: time, start, end: None, cut };
        match event {
            Event::CallStart(start) => {
                self.open(start.call, Kept { call: call(Start::Call(Box::new(start)), cut), at, bytes })
            }
            Event::TunnelStart(start) => {
                self.open(start.call, Kept { call: call(Start::Tunnel(Box::new(start)), cut), at, bytes })
            }
            Event::Refused(refused) => vec![call(Start::Refused(Box::new(refused)), cut)],
            Event::CallEnd(end) => match self.calls.remove(&end.call) {
                Some(Kept { mut call, bytes, .. }) => {
                    self.bytes -= bytes;
                    call.cut.extend(cut);
                    vec![Call { end: Some((time, end)), ..call }]
                }
                // It was one too many, and has left.
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// What never ended, the oldest first.
    pub fn drain(&mut self) -> Vec<Call> {
        self.bytes = 0;
        std::mem::take(&mut self.calls).into_values().map(|kept| kept.call).collect()
    }

    /// Where the first record is that belongs to a call that is open.
    pub fn oldest(&self) -> Option<Position> {
        self.calls.values().map(|kept| kept.at).min()
    }

    /// The span of an open call.
    pub fn span(&self, number: u64) -> Option<Span> {
        self.calls.get(&number).map(|kept| kept.call.span())
    }

    fn open(&mut self, number: u64, kept: Kept) -> Vec<Call> {
        self.bytes += kept.bytes;
        let mut gone: Vec<Kept> = self.calls.insert(number, kept).into_iter().collect();
        self.bytes -= gone.iter().map(|kept| kept.bytes).sum::<usize>();
        while self.bytes > self.most && self.calls.len() > 1 {
            let Some((_, kept)) = self.calls.pop_first() else { break };
            self.bytes -= kept.bytes;
            gone.push(kept);
        }
        gone.into_iter().map(|kept| kept.call).collect()
    }
}
