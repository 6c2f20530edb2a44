//! What the caller decides about a broker before it starts.
//!
//! Enters: the credentials that the identity team wrote, and what only the command may look at (the environment, paths).
//! Leaves: plain values that the rest of the crate reads. Nothing here touches the system.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use config::{Credentials, IdentitySettings};

use crate::secret::Secret;

/// How a broker is set up.
#[derive(Debug)]
pub struct Settings {
    /// Which credentials there are, who may have them, and how they are had.
    pub credentials: Credentials,
    /// The environment that `{ env = … }` reads and that `{ command = … }` runs in: exactly this, nothing inherited.
    pub environment: HashMap<String, Secret>,
    /// Who workers are to others, and what signs that.
    pub identity: IdentitySettings,
    /// Where a broker that is a service says so to everybody, besides its socket.
    pub publish: Option<Publish>,
    /// Where the ledger is. Without a place it lives and dies with the broker.
    pub ledger: Option<LedgerPlace>,
    /// Where it is kept how long each worker's log is. Without a place, logs are not signed for.
    pub notary: Option<NotaryPlace>,
    /// Where agents that were offboarded have a file of their name: they get nothing.
    pub offboarded: Option<PathBuf>,
    /// How long a broker that is to end goes on trying to revoke what it could not revoke at once.
    pub linger: Duration,
}

/// An HTTPS address with the public keys and the discovery document, and nothing else.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where to listen.
    pub address: SocketAddr,
    /// The server's certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// The certificate's key, PEM.
    pub key: PathBuf,
}

/// Where a broker keeps who holds what, and finds what others left.
#[derive(Clone, Debug)]
pub struct LedgerPlace {
    /// The directory with a directory for each broker.
    pub directory: PathBuf,
    /// The name of this broker's, if a later one is to go on with it. Otherwise it has one of its own.
    pub name: Option<String>,
    /// The file with the key of all of them; made where there is none.
    pub key: PathBuf,
}

/// Where a broker keeps what it signed for logs.
#[derive(Clone, Debug)]
pub struct NotaryPlace {
    /// The directory with the last checkpoint of each log, the roll of all workers and the key that verifies both; made where there is none.
    pub directory: PathBuf,
    /// The file with the seed of the key that signs; made where there is none, in a directory that is there.
    pub key: PathBuf,
}

impl Settings {
    /// Settings with an empty environment, no ledger file, no notary, keys in memory, no audience but the issuer, and an hour to linger: as long
    /// as most issuers let an access token live.
    pub fn new(credentials: Credentials) -> Settings {
        Settings {
            credentials,
            environment: HashMap::new(),
            identity: IdentitySettings::default(),
            publish: None,
            ledger: None,
            notary: None,
            offboarded: None,
            linger: Duration::from_secs(60 * 60),
        }
    }
}
