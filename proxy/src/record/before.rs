//! What has to be in the log before the next byte is written.
//!
//! Enters: a log in which lines are noted. Leaves: one that the kernel has. Never: a byte to an upstream where that went wrong.

use std::io;
use std::sync::Arc;

use record::CallLog;

/// A log, and whom it comes before.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    log: Arc<CallLog>,
    upstream: bool,
}

impl Before {
    /// To an upstream: without it, nothing is.
    pub fn upstream(log: &Arc<CallLog>) -> Self {
        Self { log: Arc::clone(log), upstream: true }
    }

    /// To a client, who is told of a log that cannot be written.
    pub fn client(log: &Arc<CallLog>) -> Self {
        Self { log: Arc::clone(log), upstream: false }
    }

    /// Writes what is noted.
    ///
    /// # Errors
    /// Where that cannot be written, and an upstream would be written to.
    pub fn write(&self) -> io::Result<()> {
        match self.log.commit() {
            Err(error) if self.upstream => Err(io::Error::other(error)),
            _ => Ok(()),
        }
    }
}
