//! The thread that the proxy has.
//!
//! Enters: nothing; what is spawned on its [`Handle`] runs there. Leaves: the work, in turn. Never: a second thread for it: a request goes through five hands
//! (client's connection, exchange, upstream's connection and back), and to wake another core for each costs more than the whole request.

use std::io;

use tokio::runtime::{Builder, Handle};

/// One thread with a runtime of its own, locked in as the thread was that made it. It goes with the process.
#[derive(Debug)]
pub struct Serving {
    handle: Handle,
}

impl Serving {
    /// Starts it.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    pub fn begin() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("exeat-proxy".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Self { handle })
    }

    /// Where work is given to it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
