//! The call log of a worker: how it is written, chained, signed for and read.
//!
//! Enters: what happened in a worker, as events; later, the files that this left. Leaves: lines that the kernel has before anything
//! else happens, each bound to all before it; and for whoever reviews, the records, or the first place where they are not what was written.
//! Never: a judgement on a call, and no secret.
//!
//! In reading order:
//!
//! | module | noun |
//! |---|---|
//! | `event` | what a line says |
//! | [`cut`] | how much of a text it has |
//! | `hash`, `tree` | what binds a line to those before it: a chain, and the Merkle tree of RFC 6962 over the same hashes |
//! | `log`, `written` | the log as its worker writes it, and a line of it |
//! | `room` | whether there is room for another call's |
//! | `rotation`, `clerk` | when it goes on in its next file, and who makes that |
//! | `segment`, `frames`, `compress` | the files that it consists of, and how a closed one is compressed |
//! | `read` | the records as they lie there, from the beginning or from where one stopped |
//! | [`index`] | where the calls are, so that they are found without reading all |
//! | `note`, `checkpoint`, `roll` | a text that somebody signed; how much of a log the broker signed for; and for whose |
//! | `verify` | whether they are what was written, by the chain alone |
//! | [`audit`] | the same by all that was signed, and for all logs |
//! | `schema` | what a line may look like, for others |
//! | `removed`, [`retention`] | what was taken away on purpose: how that is written down, and when it is due |

pub mod audit;
pub mod checkpoint;
mod clerk;
mod compress;
pub mod cut;
mod event;
mod frames;
mod hash;
pub mod index;
mod log;
pub mod note;
pub mod read;
mod removed;
pub mod retention;
pub mod roll;
mod room;
mod rotation;
mod schema;
mod segment;
mod tree;
mod verify;
mod written;

pub use self::checkpoint::Checkpoint;
pub use self::clerk::{Clerk, Desk, WORTH_COMPRESSING};
pub use self::event::{
    CallEnd, CallRetried, CallStart, CredentialUse, Event, FORMAT, Line, NameAsked, Observed, Refused, Retried,
    SegmentKept, SegmentStart, TlsLeg, Trace, TunnelStart, WorkerEnd, WorkerStart,
};
pub use self::hash::Hash;
pub use self::log::{CallLog, Head, LogError};
pub use self::removed::{REMOVED, Removed};
pub use self::room::{Bounds, NoRoom, Size};
pub use self::rotation::SegmentLimits;
pub use self::schema::SCHEMA;
pub use self::segment::{DIRECTORY, Segment};
pub use self::tree::Tree;
pub use self::verify::{Chain, Flaw, Sound, Tampered, follow, verified};
