//! All rivals at once.
//!
//! Enters: a directory, and the upstream. Leaves: each rival, running, and how a driver gets to it. Never: two of them on one port.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::tree;
use crate::upstream::{Addresses, CREDENTIAL};

use super::authority::Files;
use super::hudsucker::PLACEHOLDER;
use super::process::Running;
use super::{haproxy, nginx};

/// One that runs.
pub struct Rival {
    /// What it is called.
    pub name: &'static str,
    /// Where a driver connects to for each version: to it, or by way of it.
    pub addresses: Addresses,
    /// Where it takes `CONNECT`, if it has to be asked so.
    pub through: Option<SocketAddr>,
    /// What a driver says as the credential.
    pub credential: &'static str,
    /// Whether it has a certificate for any name.
    pub mints: bool,
    running: Running,
}

impl Rival {
    /// It, with all that it started.
    pub fn processes(&self) -> Result<Vec<u32>, Error> {
        tree::whole(self.running.process())
    }
}

/// Where all of them are found, and what their authority is.
pub struct Place {
    room: PathBuf,
    files: Files,
    verified: PathBuf,
    upstream: Addresses,
}

impl Place {
    /// In `room`, a directory that is there; whoever signed the upstream's certificate is in `verified`.
    pub fn make(room: PathBuf, verified: PathBuf, upstream: Addresses) -> Result<Self, Error> {
        let files = Files::write(&room)?;
        Ok(Self { room, files, verified, upstream })
    }

    /// Whom their clients trust.
    pub fn roots(&self) -> &Path {
        &self.files.roots
    }

    /// Starts all of them.
    pub fn start(&self) -> Result<Vec<Rival>, Error> {
        let Self { room, files, verified, upstream } = self;
        let (running, address) = self.intercepting("bare", &[])?;
        let bare = Rival {
            name: BARE,
            addresses: Addresses { http1: address, both: address },
            through: None,
            credential: CREDENTIAL,
            mints: true,
            running,
        };
        let reverse = |name, (running, ports): (Running, [u16; 2])| {
            let [http1, both] = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            let addresses = Addresses { http1, both };
            Rival { name, addresses, through: None, credential: CREDENTIAL, mints: false, running }
        };
        let hudsucker = |name, credential, words: &[&str]| {
            let (running, address) = self.intercepting("hudsucker", words)?;
            Ok::<_, Error>(Rival {
                name,
                addresses: *upstream,
                through: Some(address),
                credential,
                mints: true,
                running,
            })
        };
        let log = room.join("hudsucker.log");
        Ok(vec![
            bare,
            reverse(NGINX, nginx::start(room, files, verified, upstream)?),
            reverse(HAPROXY, haproxy::start(room, files, verified, upstream)?),
            hudsucker(HUDSUCKER, CREDENTIAL, &[])?,
            hudsucker(HUDSUCKER_SWAPS, PLACEHOLDER, &["--log", &log.to_string_lossy()])?,
        ])
    }

    fn intercepting(&self, which: &str, more: &[&str]) -> Result<(Running, SocketAddr), Error> {
        let (authority, verified) = (self.files.authority.to_string_lossy(), self.verified.to_string_lossy());
        let (http1, both) = (self.upstream.http1.to_string(), self.upstream.both.to_string());
        let words = [which, "--authority", &authority, "--roots", &verified, "--http1", &http1, "--both", &both];
        Running::own(&[&words, more].concat()).map_err(|error| error.during(which))
    }
}

/// What the rivals are called, in tables and among findings.
pub const BARE: &str = "bare relay (no HTTP)";
/// nginx.
pub const NGINX: &str = "nginx, TLS to TLS";
/// HAProxy.
pub const HAPROXY: &str = "HAProxy, TLS to TLS";
/// hudsucker as it comes.
pub const HUDSUCKER: &str = "hudsucker";
/// hudsucker, doing something.
pub const HUDSUCKER_SWAPS: &str = "hudsucker, header changed, line written";
