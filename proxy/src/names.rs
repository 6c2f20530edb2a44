//! The sandbox's name server, and which name an address was given out for.
//!
//! Enters: DNS queries of the sandbox, over UDP and TCP. Leaves: an address of its own for every well-formed name, NODATA
//! for every other type, and a report of each name asked for, once a minute. Never: a query to anywhere. Whether a name may be reached
//! is not asked here, so that answers tell nothing and DNS carries nothing out.

mod answer;
mod map;
mod server;
mod table;

pub use answer::{Answer, Asked, answer};
pub use map::{AddressMap, Exhausted};
pub use server::{Limits, serve};
