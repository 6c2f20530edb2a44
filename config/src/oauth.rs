//! Authorization servers, and what the broker asks of them.
//!
//! Enters: what the file reader has checked. Leaves: plain values that say where, as whom, and for what. Never: a client's
//! secret or key, only where the broker finds it.

use std::path::PathBuf;

use crate::credential::Source;
use crate::identity::Audience;

/// An authorization server, and who the broker is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthServer {
    /// `https`, or `http` on a loopback address.
    pub token_endpoint: String,
    /// Where to revoke (RFC 7009).
    pub revocation_endpoint: Option<String>,
    /// Files with root certificates to trust there beside the system's.
    pub roots: Vec<PathBuf>,
    /// The client that the broker is there. `None`: what is shown of the worker says all.
    pub client: Option<OAuthClient>,
}

/// A client of an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthClient {
    /// Its `client_id`.
    pub id: String,
    /// How it shows that it is that client.
    pub proof: ClientProof,
}

/// How an OAuth client authenticates, by its registered name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// `none`: a public client.
    None,
    /// `client_secret_basic`: `Authorization: Basic` (RFC 6749 §2.3.1), which every server must take.
    Basic(Source),
    /// `client_secret_post`: in the form.
    Post(Source),
    /// `private_key_jwt`: an assertion that the broker signs (RFC 7523 §2.2).
    PrivateKey {
        /// PEM: P-256, which signs ES256, or RSA, which signs RS256.
        key: Source,
        /// The `kid` by which the server knows the key, where it has more than one.
        key_id: Option<String>,
        /// The assertion's `aud`. `None`: the token endpoint's URL.
        audience: Option<String>,
    },
}

impl ClientProof {
    /// Where the secret or key is that it needs.
    pub fn source(&self) -> Option<&Source> {
        match self {
            Self::None => None,
            Self::Basic(source) | Self::Post(source) | Self::PrivateKey { key: source, .. } => Some(source),
        }
    }
}

/// What to ask a server for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The scope.
    pub scope: Option<String>,
    /// The logical name of the service (RFC 8693 §2.1).
    pub audience: Option<String>,
    /// The services by their URLs (RFC 8707).
    pub resource: Vec<String>,
}

/// An authorization server, and by what right it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthSettings {
    /// Where, and as whom.
    pub server: OAuthServer,
    /// For what.
    pub wanted: Wanted,
    /// By what right.
    pub grant: OAuthGrant,
}

/// By what right an access token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OAuthGrant {
    /// The client's own: client credentials, RFC 6749 §4.4.
    Client,
    /// The worker's, exchanged: its identity is the subject token of RFC 8693.
    Exchange(Audience),
    /// The worker's, asserted: its identity is the assertion of RFC 7523 §2.1.
    Assertion(Audience),
    /// The client's own, shown by an identity of its agent: client credentials with the assertion of RFC 7523 §2.2.
    Federated(Audience),
}
