//! What becomes of the call logs: log.toml.
//!
//! Enters: what the file reader has checked. Leaves: whom the logs are shipped to, by what, and how each proves who it is. Never: a
//! secret, only where one is found; a place to which records would go unprotected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::client_certificate::ClientCertificate;
use crate::credential::Source;
use crate::destination::Destination;
use crate::error::LoadError;
use crate::file;

/// All of log.toml. One that exists is valid.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Whom the logs are shipped to, each under a name of its own.
    pub ship: Vec<ShipTarget>,
}

/// One receiver of the logs.
#[derive(Debug, PartialEq, Eq)]
pub struct ShipTarget {
    /// What its cursor is kept under.
    pub name: String,
    /// What is spoken to it.
    pub receiver: Receiver,
    /// PEM files with roots that are trusted beside the system's.
    pub roots: Vec<PathBuf>,
    /// What it is shown where it asks who sends.
    pub client_certificate: Option<ClientCertificate>,
}

/// What a receiver takes, and where.
#[derive(Debug, PartialEq, Eq)]
pub enum Receiver {
    /// OTLP over HTTP, as protobuf.
    Otlp {
        /// The URL to which `/v1/logs` and `/v1/traces` are added: `https`, or `http` to a loopback address.
        url: String,
        /// Fields of each request, by their names in small letters.
        headers: BTreeMap<String, Source>,
    },
    /// RFC 5424 over TLS, framed as RFC 5425 says.
    Syslog {
        /// Host and port.
        address: Destination,
        /// Whether it closes a connection without saying that it has read to its end, and that is taken for having read.
        silent_end: bool,
    },
}

impl LogSettings {
    /// Reads log.toml. A file that is not there says nothing.
    ///
    /// # Errors
    /// Every mistake of the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        match path.as_ref().exists() {
            true => file::load_log(path.as_ref()),
            false => Ok(Self::default()),
        }
    }

    /// Reads log.toml from text. Paths in it are relative to the directory of `file`.
    ///
    /// # Errors
    /// Every mistake of the file.
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Self, LoadError> {
        file::parse_log(file.as_ref(), text)
    }
}
