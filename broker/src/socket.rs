//! The standalone broker: many workers on one Unix socket.
//!
//! Enters: a path. Leaves: connections of this user's processes, or root's, that show the key beside the socket; each is served by
//! itself. The socket has mode 0600, a lock beside it says whose it is while its broker lives, and a socket that a dead broker left is removed. It
//! never takes a path away from something that is alive or is no socket.

use std::fs::{self, File, OpenOptions, Permissions};
use std::future::pending;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::admission::{self, Admission};
use crate::answer::Connection;
use crate::broker::Broker;
use crate::control;
use crate::error::Error;
use crate::ledger::Entry;
use crate::publish::Publisher;
use crate::serve::{connection, settle};
use crate::settings::Settings;

/// Workers at a time. Each is a sandbox: a machine carries fewer.
const MAX_CONNECTIONS: usize = 1024;
/// A worker registers as soon as it is connected.
const PATIENCE: Duration = Duration::from_secs(60);
/// After an `accept` that failed: out of files, most likely, and soon no longer.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves workers on the socket `path` until `shutdown`; then ends them all and, for at most [`Settings::linger`], goes on
/// trying what could not be revoked at once. Returns what still stands.
pub async fn serve_unix(
    path: &Path,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<Vec<Entry>, Error> {
    let linger = settings.linger;
    let socket = Socket::claim(path)?;
    let publish = settings.publish.clone();
    let broker = Broker::start(settings).await?;
    let operators = control::open(&broker).map_err(|source| Error::Socket { path: path.to_owned(), source })?;
    let publisher = match publish {
        Some(publish) => Some(Publisher::bind(publish, &broker.signer).await?),
        None => None,
    };
    let publishing = async {
        match publisher {
            Some(publisher) => publisher.serve().await,
            None => pending().await,
        }
    };
    let stop = watch::Sender::new(false);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            let stream = match socket.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!("{MAX_CONNECTIONS} workers are connected: refused one more");
                continue;
            };
            if !stream.peer_cred().is_ok_and(|peer| is_ours(peer.uid(), geteuid().as_raw())) {
                tracing::warn!(peer = ?stream.peer_cred(), "refused a connection of another user");
                continue;
            }
            let connected = Connection::at(Arc::clone(&broker), Arc::clone(&socket.admission));
            let mut stopped = stop.subscribe();
            connections.spawn(async move {
                let _place = place;
                let stopped = async move {
                    let _ = stopped.wait_for(|stop| *stop).await;
                };
                connection(connected, stream, stopped, PATIENCE).await;
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = publishing => {}
        () = shutdown => {}
    }
    stop.send_replace(true);
    drop(socket);
    while connections.join_next().await.is_some() {}
    let left = settle(&broker, linger).await;
    drop(operators);
    broker.ledger.finish();
    Ok(left)
}

/// A process of this user, or of root.
pub(crate) fn is_ours(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// A listening socket and the lock on its path. The file goes with it; the lock's file stays, as removing it would race
/// with the next broker.
struct Socket {
    listener: UnixListener,
    admission: Arc<Admission>,
    path: PathBuf,
    _lock: File,
}

impl Socket {
    fn claim(path: &Path) -> Result<Socket, Error> {
        let failed = |source| Error::Socket { path: path.to_owned(), source };
        let taken = |reason| Error::Taken { path: path.to_owned(), reason };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&beside);
        let lock = lock.map_err(failed)?;
        lock.try_lock().map_err(|_| taken("another broker serves there"))?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() => return Err(taken("what is there is not a socket")),
            Ok(_) if StdUnixStream::connect(path).is_ok() => return Err(taken("another process listens there")),
            Ok(_) => fs::remove_file(path).map_err(failed)?,
        }
        let admission = Arc::new(Admission::make(path).map_err(failed)?);
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Between the two, others may connect; they are refused by their user id.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Socket { listener, admission, path: path.to_owned(), _lock: lock })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // While the lock is still ours: afterwards they may be another's.
        let _ = fs::remove_file(admission::beside(&self.path));
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_this_user_and_root_are_served() {
        assert!(is_ours(1000, 1000) && is_ours(0, 1000) && is_ours(0, 0));
        assert!(!is_ours(1001, 1000) && !is_ours(1000, 0));
    }
}
