//! What becomes of the call logs: log.toml.
//!
//! Enters: what the file reader has checked. Leaves: when a file of a log is closed, how long it is kept, how much room it takes; whom the logs are shipped to, by
//! what, and how each proves who it is. Never: a secret, only where one is found; a place to which records would go unprotected; a limit on what
//! is kept that nobody has written.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client_certificate::ClientCertificate;
use crate::credential::Source;
use crate::destination::Destination;
use crate::error::LoadError;
use crate::file::{self, Secrets};

/// All of log.toml. One that exists is valid.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Whom the logs are shipped to, each under a name of its own.
    pub ship: Vec<ShipTarget>,
    /// When a file of a log is closed.
    pub segment: SegmentSettings,
    /// How long closed ones are kept.
    pub keep: KeepSettings,
    /// How much room the log of one worker takes.
    pub room: RoomSettings,
}

/// `[segment]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSettings {
    /// When it is so large, in bytes.
    pub size: u64,
    /// When its first record is so old.
    pub age: Duration,
}

/// `[keep]`: all, if it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KeepSettings {
    /// `for`: no record that is older.
    pub time: Option<Duration>,
    /// No more bytes than these of all logs together.
    pub size: Option<u64>,
}

/// `[room]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomSettings {
    /// Bytes of records a second, in the long run.
    pub second: NonZeroU32,
    /// Bytes at once before that.
    pub burst: NonZeroU32,
    /// Bytes after which no call goes out, if it says so.
    pub worker: Option<u64>,
    /// Bytes of the disk that stay free, if it says so.
    pub free: Option<u64>,
}

impl Default for RoomSettings {
    /// Twice what a worker writes that is busy with three thousand calls a second all the time, and as many as it can carry for a quarter of a minute.
    fn default() -> Self {
        let mib = |number: u32| NonZeroU32::MIN.saturating_add((number << 20) - 1);
        Self { second: mib(8), burst: mib(512), worker: None, free: None }
    }
}

impl Default for SegmentSettings {
    /// Some hundred thousand calls, and a day.
    fn default() -> Self {
        Self { size: 64 << 20, age: Duration::from_secs(24 * 3600) }
    }
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
    pub client: Option<ClientFiles>,
}

/// A client's certificate and key by their files.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// What is in them, where secrets are read.
    pub read: Option<ClientCertificate>,
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
        Self::load_with(path.as_ref(), Secrets::Read)
    }

    /// The same without a look into the files that it names for secrets: for all but who ships.
    ///
    /// # Errors
    /// As `load`, but for those of these files.
    pub fn load_without_secrets(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::load_with(path.as_ref(), Secrets::LeftOut)
    }

    fn load_with(path: &Path, secrets: Secrets) -> Result<Self, LoadError> {
        match path.exists() {
            true => file::load_log(path, secrets),
            false => Ok(Self::default()),
        }
    }

    /// Reads log.toml from text. Paths in it are relative to the directory of `file`.
    ///
    /// # Errors
    /// Every mistake of the file.
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Self, LoadError> {
        file::parse_log(file.as_ref(), text, Secrets::Read)
    }
}
