//! The worker for whom a credential is had, and which can show who it is.
//!
//! Enters: an agent, a worker, the broker's signer. Leaves: the worker's identity for an audience that an issuer names,
//! signed at the moment of asking. It keeps no identity, and never signs for another worker.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use config::{AgentId, Audience, WorkerId};

use crate::identity::{Identity, Signer, SigningError};

/// Who is to hold a credential.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) agent: AgentId,
    pub(crate) worker: WorkerId,
    signer: Arc<Signer>,
}

impl Holder {
    pub(crate) fn new(signer: &Arc<Signer>, agent: AgentId, worker: WorkerId) -> Holder {
        Holder { agent, worker, signer: Arc::clone(signer) }
    }

    /// Signs who the worker is, for `audience`. The caller has checked that it may be shown there.
    pub(crate) fn identity(&self, audience: &str, now: SystemTime) -> Result<Identity, SigningError> {
        self.identity_for(&Audience { name: audience.to_owned(), algorithm: None }, now)
    }

    /// The same, signed as the audience wants it.
    pub(crate) fn identity_for(&self, audience: &Audience, now: SystemTime) -> Result<Identity, SigningError> {
        self.signer.identity(&self.agent, &self.worker, audience, now)
    }

    /// Signs which agent the worker is of, without the worker: for who compares subjects letter by letter.
    pub(crate) fn agent_identity(&self, audience: &Audience, now: SystemTime) -> Result<Identity, SigningError> {
        self.signer.agent_identity(&self.agent, audience, now)
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holder({}/{})", self.agent, self.worker)
    }
}
