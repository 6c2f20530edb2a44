//! What a user would pick instead of exeat, set up in the room of the figures.
//!
//! | rival | module | what it is |
//! |---|---|---|
//! | bare relay | [`bare`] | our own: intercepts, mints, verifies upstream, copies bytes; no HTTP: the floor of rustls and tokio |
//! | hudsucker | [`hudsucker`] | the crate, as it comes; and with a header changed and a line written for each call |
//! | nginx, HAProxy | [`nginx`], [`haproxy`] | TLS to TLS with one certificate, connections upstream kept |
//!
//! Enters: where the upstream is. Leaves: processes that stand, and where a driver finds them ([`setup`]). Never: a rival left out because
//! it is not installed: that is an error which says how to install it.

pub mod authority;
pub mod bare;
mod haproxy;
pub mod hudsucker;
pub mod nginx;
pub mod process;
pub mod setup;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// What an intercepting rival is started with.
#[derive(Debug, Args)]
pub struct Intercepts {
    /// The authority that leaves are signed by, and its key, in one file
    #[arg(long, value_name = "FILE")]
    authority: PathBuf,
    /// Whom the upstream's certificate has to be signed by
    #[arg(long, value_name = "FILE")]
    roots: PathBuf,
    /// The upstream's port that offers HTTP/1.1 only
    #[arg(long, value_name = "ADDRESS")]
    http1: SocketAddr,
    /// The one that offers HTTP/2 as well
    #[arg(long, value_name = "ADDRESS")]
    both: SocketAddr,
}
