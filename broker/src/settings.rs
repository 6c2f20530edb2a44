//! What the caller decides about a broker before it starts.
//!
//! Enters: the credentials that the identity team wrote, and what only the command may look at (the environment, paths).
//! Leaves: plain values that the rest of the crate reads. Nothing here touches the system.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use config::Credentials;

use crate::identity::TrustDomain;
use crate::secret::Secret;

/// How a broker is set up.
#[derive(Debug)]
pub struct Settings {
    /// Which credentials there are, who may have them, and how they are had.
    pub credentials: Credentials,
    /// The environment that `{ env = … }` reads and that `{ command = … }` runs in: exactly this, nothing inherited.
    pub environment: HashMap<String, Secret>,
    /// The issuer URL of worker identities: `iss`, and the base of the discovery document.
    pub issuer: String,
    /// The trust domain of the SPIFFE IDs.
    pub trust_domain: TrustDomain,
    /// The audiences, besides the issuer itself, for which a worker may have an identity. Empty allows no other.
    pub audiences: BTreeSet<String>,
    /// The ledger's file, appended to. Without one the ledger lives and dies with the broker.
    pub ledger: Option<PathBuf>,
    /// How long a broker that is to end goes on trying to revoke what it could not revoke at once.
    pub linger: Duration,
}

impl Settings {
    /// Settings with an empty environment, no ledger file, no audience but the issuer, and an hour to linger: as long
    /// as most issuers let an access token live.
    pub fn new(credentials: Credentials) -> Settings {
        Settings {
            credentials,
            environment: HashMap::new(),
            issuer: "https://broker.exeat.internal".to_owned(),
            trust_domain: TrustDomain::default(),
            audiences: BTreeSet::new(),
            ledger: None,
            linger: Duration::from_secs(60 * 60),
        }
    }
}
