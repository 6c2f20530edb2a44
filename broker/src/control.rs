//! An operator's way to a broker, embedded or not: a socket in the broker's own directory.
//!
//! Enters: connections of this user's processes, or root's, that show the key beside the socket. Leaves: what they took back. The
//! directory is its owner's alone and covered in every sandbox, and what arrives here is an operator's by where it arrived: no worker speaks here, and an operator is
//! no worker. The path may be longer than an address of a socket can be, so it is reached by way of its directory.

use std::fs::{self, File, Permissions};
use std::future::pending;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::admission::Admission;
use crate::answer::Connection;
use crate::broker::Broker;
use crate::client::{Client, ClientError};
use crate::ledger;
use crate::serve::connection;
use crate::socket::is_ours;

/// The socket in a broker's directory.
pub(crate) const NAME: &str = "control";
/// Operators at a time. More wait.
const MAX_OPERATORS: usize = 8;
/// One asks one thing; the slowest is a revocation, which is bounded below this.
const PATIENCE: Duration = Duration::from_secs(60);
/// After an `accept` that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves operators until what it returns is dropped, if the broker has a directory.
pub(crate) fn open(broker: &Arc<Broker>) -> io::Result<JoinSet<()>> {
    let mut operators = JoinSet::new();
    if let Some(directory) = broker.ledger.directory() {
        let (listener, admission) = listen(directory)?;
        operators.spawn(serve(Arc::clone(broker), listener, Arc::new(admission)));
    }
    Ok(operators)
}

/// What is there already was left by a broker that is gone: the directory's lock is ours.
fn listen(directory: &Path) -> io::Result<(UnixListener, Admission)> {
    let within = Within::open(directory)?;
    match fs::remove_file(within.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let admission = Admission::make(&directory.join(NAME))?;
    let listener = UnixListener::bind(within.path())?;
    fs::set_permissions(within.path(), Permissions::from_mode(0o600))?;
    Ok((listener, admission))
}

async fn serve(broker: Arc<Broker>, listener: UnixListener, admission: Arc<Admission>) {
    let places = Arc::new(Semaphore::new(MAX_OPERATORS));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) if let Some(user) = ours(&stream) => {
                let operator = Connection::operator(Arc::clone(&broker), Arc::clone(&admission), user);
                tokio::spawn(async move {
                    connection(operator, stream, pending(), PATIENCE).await;
                    drop(place);
                });
            }
            Ok((stream, _)) => tracing::warn!(peer = ?stream.peer_cred(), "refused another user's connection"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// The peer's user id, if it may speak here.
fn ours(stream: &UnixStream) -> Option<u32> {
    let user = stream.peer_cred().ok()?.uid();
    is_ours(user, geteuid().as_raw()).then_some(user)
}

/// The directories of the brokers that may be there, in the directory of all ledgers.
pub fn brokers(ledgers: &Path) -> io::Result<Vec<PathBuf>> {
    ledger::directories(ledgers)
}

/// Connects, as an operator, to the broker with this directory.
pub async fn connect(directory: &Path) -> Result<Client, ClientError> {
    let gone = |error: io::Error| ClientError::Unavailable {
        reason: format!("no broker lives in `{}`: {error}", directory.display()),
    };
    let within = Within::open(directory).map_err(gone)?;
    Client::connect(&within.path()).await
}

/// A directory, and a short path to what is in it.
struct Within(File);

impl Within {
    fn open(directory: &Path) -> io::Result<Within> {
        File::open(directory).map(Within)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{NAME}", self.0.as_raw_fd()))
    }
}
