//! Why a broker could not start, or could not go on.
//!
//! Enters: what was tried, on what, and the cause. Leaves: a message, its sources chained, and a hint at the remedy. What
//! goes wrong with one call is not here: that is a `Refusal` on the broker's side, a `ClientError` on the worker's.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use config::CredentialName;

/// A broker that cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An issuer's endpoint or roots cannot be used.
    #[error("cannot use the issuer of credential `{credential}`: {what}")]
    Issuer {
        /// The credential.
        credential: CredentialName,
        /// What cannot be used.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The keys that sign identities cannot be used.
    #[error("cannot use the keys that sign identities: {what}")]
    Keys {
        /// Which, or what for.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The public keys cannot be served.
    #[error("cannot publish the keys on `{address}`: {what}")]
    Publish {
        /// Where.
        address: SocketAddr,
        /// What failed.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A ledger cannot be opened, locked or read, or is damaged.
    #[error("cannot use the ledger `{}`", path.display())]
    Ledger {
        /// The file, or its directory.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key that ledgers are sealed with cannot be used.
    #[error("cannot use the key of the ledgers, `{}`", path.display())]
    SealingKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be served.
    #[error("cannot serve on the socket `{}`", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket is another's.
    #[error("cannot serve on the socket `{}`: {reason}", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
        /// By whom, or by what.
        reason: &'static str,
    },
    /// The system gave no runtime, no signals, no key.
    #[error("cannot start the broker")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Error::Issuer { .. } => "mend the credential's issuer in the credentials file; `roots` are PEM files",
            Error::Keys { .. } => {
                "`keys` of broker.toml names a file of this broker's own; `es256` and `rs256` name yours"
            }
            Error::Publish { .. } => "choose a free address, and PEM files of a certificate and its own key",
            Error::Ledger { .. } => {
                "leases that are open may be in it: each broker needs one of its own in a directory that it may write to; \
                 one that is damaged has to be moved away, and what it may have held revoked at its issuers"
            }
            Error::SealingKey { .. } => {
                "it has to be its owner's alone (`chmod 600`); without it, what brokers left cannot be revoked"
            }
            Error::Socket { .. } => "choose a path in a directory that only this user may write to",
            Error::Taken { .. } => "stop the other broker, or choose another path",
            Error::Start(_) => "this is the system's doing: see its log for limits on processes or files",
        }
    }
}
