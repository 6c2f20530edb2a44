//! Vault servers, OpenBao among them, and what the broker reads there.
//!
//! Enters: what the file reader has checked. Leaves: plain values that say where, as which role, and what. Never: anything
//! secret: the broker logs in by an identity that it signs.

use std::path::PathBuf;

use crate::identity::Audience;

/// A server, and how the broker logs in there: by a JWT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultLogin {
    /// `https`, or `http` on a loopback address; what comes before `/v1`.
    pub address: String,
    /// The namespace, where the server has any.
    pub namespace: Option<String>,
    /// Where the JWT auth method is mounted.
    pub mount: String,
    /// The role of that method.
    pub role: String,
    /// For whom the identity is signed.
    pub audience: Audience,
    /// Files with root certificates to trust there beside the system's.
    pub roots: Vec<PathBuf>,
}

/// A secret at such a server, read as whoever the login shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSecret {
    /// Where, and as whom.
    pub login: VaultLogin,
    /// The path below `/v1`: `database/creds/readonly`, `secret/data/team/api-key`.
    pub path: String,
    /// The field that is the credential. `None`: the only one that there is.
    pub field: Option<String>,
}
