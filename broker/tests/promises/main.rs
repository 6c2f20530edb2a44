//! The broker's promises, kept against a real token endpoint over TLS and over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod approve;
mod aws;
mod checkpoint;
mod clouds;
mod denial;
mod end;
mod endpoint;
mod fixed;
mod identity;
mod lease;
mod ledger;
mod publish;
mod refused;
mod rig;
mod secrecy;
mod socket;
mod taken_back;
mod taken_over;
mod wire;
