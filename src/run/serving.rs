//! The thread that the proxy has.
//!
//! Enters: nothing; what is spawned on its [`Handle`] runs there. Leaves: the work, in turn. Never: a second thread for it: a request goes through five hands
//! (client's connection, exchange, upstream's connection and back), and to wake another core for each costs more than the whole request.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// One thread with a runtime of its own, locked in as the thread was that made it.
#[derive(Debug)]
pub struct Serving {
    handle: Handle,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Serving {
    /// Starts it.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    pub fn begin() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("exeat-proxy".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended);
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, end, thread })
    }

    /// Where work is given to it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends it, with whatever is left of its work.
    pub fn end(self) {
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}
