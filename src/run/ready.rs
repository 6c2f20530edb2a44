//! A descriptor that the runtime waits for.
//!
//! Enters: a descriptor that does not block, and whoever owns it. Leaves: the same, to be waited for. Never: one that is closed while it is
//! waited for: its owner is borrowed, or within.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// To be read from.
///
/// # Errors
/// When the runtime cannot wait for it.
#[allow(
    deprecated,
    reason = "what its unsafe successor asks for holds here: the descriptor's owner is held, and does not change it"
)]
pub fn to_read<T: AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(owner, Interest::READABLE)
}
