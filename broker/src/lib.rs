//! A grant becomes a short-lived credential, and ends with its worker.
//!
//! The broker is a process of its own. It alone reads long-lived secrets; a worker speaks to it over a Unix stream and gets
//! what its agent is granted: an identity, placeholders, and leases. The end of that stream is the end of the worker.
//!
//! In reading order:
//!
//! - [`secret`]: a value that cannot be printed; `source`: where long-lived ones come from; `program`: what one prints
//! - [`identity`]: who a worker is, as a JWT
//! - `holder`: the worker for whom a credential is had
//! - `issuer`, with [`outbound`], `form`, [`xml`] and [`vault`]: how it is had and given back; `key_pair`: one that requests are signed with
//! - [`lease`], [`ledger`], `worker`, `renewal`, `revocation`, `taken_back`: who holds what until when, and how it ends
//! - [`approval`]: what a person has to permit
//! - `notary`: how long each worker's log is, and the signature under that; `seed`: what its key and the ledger's are made of
//! - [`control`]: an operator's way in
//! - [`api`]: what crosses the wire; `admission`: who may speak; `answer`: one request; `serve` and `socket`: connections; `publish`: the keys, for everybody
//! - [`client`]: the worker's end
//!
//! It never prints, never reads the environment, and never lets a long-lived secret out to a worker.
#![forbid(unsafe_code)]

mod admission;
mod answer;
pub mod api;
pub mod approval;
mod broker;
pub mod client;
pub mod control;
mod error;
mod form;
mod holder;
pub mod identity;
mod issuer;
mod key_pair;
pub mod lease;
pub mod ledger;
mod notary;
pub mod outbound;
mod program;
mod publish;
mod renewal;
mod revocation;
pub mod secret;
mod seed;
mod serve;
mod settings;
mod socket;
mod source;
mod taken_back;
pub mod vault;
mod worker;
pub mod xml;

pub use api::{Ended, Health, Kept, Registration, Which};
pub use approval::{Approval, ApprovalId, ApprovalState, Decision, Term};
pub use client::{Client, ClientError, Lent, Takings};
pub use error::Error;
pub use identity::{Identity, TrustDomain};
pub use key_pair::KeyPair;
pub use lease::{Lease, LeaseId};
pub use secret::Secret;
pub use serve::{serve_connection, serve_embedded, sweep};
pub use settings::{LedgerPlace, NotaryPlace, Publish, Settings};
pub use socket::serve_unix;
pub use source::{NoSecret, read_secret};
