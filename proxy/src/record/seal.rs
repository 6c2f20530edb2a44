//! The signatures under a log, had while it is written.
//!
//! Enters: the log, and the broker that signs. Leaves: checkpoints in a file beside the log, each over records that are on the disk; the broker
//! keeps the last of them where no worker comes. Never: a call that waits for one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::{Client, ClientError};
use record::{CallLog, Head, LogError, checkpoint};

/// What was done in the last so many seconds before a kill has no signature. Each costs a write to the disk.
const APART: Duration = Duration::from_secs(5);

/// The seal of one log.
#[derive(Debug)]
pub struct Seal {
    log: Arc<CallLog>,
    broker: Client,
    file: File,
    /// How many records it is over. Held while one is had: they are in the file in the order of their sizes.
    sealed: tokio::sync::Mutex<u64>,
    /// What was said of a failure, which is said once.
    said: Mutex<Option<String>>,
}

/// Why records have no signature.
#[derive(Debug, thiserror::Error)]
pub enum NotSealed {
    /// They are not on the disk.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The broker has not signed.
    #[error(transparent)]
    Broker(#[from] ClientError),
    /// The signature cannot be kept.
    #[error("cannot append to the checkpoints of the call log")]
    File(#[from] io::Error),
}

impl Seal {
    /// Opens the file of checkpoints in the worker's directory, where none may be yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(worker: &Path, log: &Arc<CallLog>, broker: &Client) -> io::Result<Seal> {
        let path = worker.join(checkpoint::FILE_NAME);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let (log, broker, sealed, said) =
            (Arc::clone(log), broker.clone(), tokio::sync::Mutex::new(0), Mutex::default());
        Ok(Seal { log, broker, file, sealed, said })
    }

    /// Goes on for ever: at once, so that the broker knows of the log, and then as long as records come.
    pub async fn keep(self: Arc<Self>) {
        loop {
            if let Err(error) = self.all().await {
                self.say(&error);
            }
            tokio::time::sleep(APART).await;
        }
    }

    /// Has all records signed for at the end of the log, if they are not. The thread waits for the disk: it has nothing else to do any more, and another one
    /// takes half as long to make as a disk takes.
    ///
    /// # Errors
    /// [`NotSealed`]: nothing seals them then.
    pub async fn last(&self) -> Result<(), NotSealed> {
        self.up_to(self.log.head(), async { Ok(self.log.sync()?) }).await
    }

    /// The same, and before that up to where the last closed file ended: should that be removed one day, this is what it said.
    async fn all(&self) -> Result<(), NotSealed> {
        let ended = *self.log.segment_ended().borrow();
        let of_ended = match ended {
            Some(ended) => self.up_to(ended, self.synced()).await,
            None => Ok(()),
        };
        self.up_to(self.log.head(), self.synced()).await.and(of_ended)
    }

    /// The log is on the disk; calls go on meanwhile.
    async fn synced(&self) -> Result<(), NotSealed> {
        let log = Arc::clone(&self.log);
        Ok(tokio::task::spawn_blocking(move || log.sync()).await.map_err(io::Error::other)??)
    }

    async fn up_to(&self, head: Head, synced: impl Future<Output = Result<(), NotSealed>>) -> Result<(), NotSealed> {
        let mut sealed = self.sealed.lock().await;
        if head.size <= *sealed {
            return Ok(());
        }
        // What was signed for has to outlive a loss of power, or it would look like a log that was cut.
        synced.await?;
        let note = self.broker.checkpoint(head).await?;
        (&self.file).write_all(note.as_bytes())?;
        *sealed = head.size;
        Ok(())
    }

    fn say(&self, error: &NotSealed) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = error.to_string();
        if said.as_ref() != Some(&text) {
            tracing::warn!("the call log goes on without signatures: {text}");
            *said = Some(text);
        }
    }
}
