//! A GitHub App, and what its installation is asked for.
//!
//! Enters: what the file reader has checked. Leaves: plain values that say where, as which app, and for how little. Never: the app's
//! key, only where the broker finds it; all of an installation's repositories or permissions.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::credential::Source;
use crate::error::{Malformed, quoted};

/// An installation of an app, and what of it a worker is lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitHubApp {
    /// The base of the REST API, without a slash at its end. `https`, or `http` on a loopback address.
    pub api: String,
    /// The app: its id or its client id.
    pub app: String,
    /// The id of the installation.
    pub installation: u32,
    /// The app's RSA key, PEM.
    pub key: Source,
    /// The repositories by their names, without the owner. Never empty.
    pub repositories: Vec<String>,
    /// The permissions. Never empty.
    pub permissions: BTreeMap<String, Access>,
    /// Files with root certificates to trust there beside the system's.
    pub roots: Vec<PathBuf>,
}

/// How far a permission goes. Each goes as far as those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// `read`
    Read,
    /// `write`
    Write,
    /// `admin`
    Admin,
}

impl Access {
    /// As GitHub writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Access {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let all = [Self::Read, Self::Write, Self::Admin];
        all.into_iter().find(|access| access.as_str() == text).ok_or_else(|| {
            Malformed::new(format!("{} is not how far a permission goes", quoted(text)), "write `read` or `write`")
        })
    }
}
