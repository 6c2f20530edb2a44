//! The worker's own identity as its credential, for an API that checks it by itself.
//!
//! Enters: the worker. Leaves: its identity for one audience, the next one well ahead of its end. There is no server to ask and
//! none to take it back: it is short-lived instead.

use std::time::SystemTime;

use config::Audience;

use super::{IssueError, Issued};
use crate::holder::Holder;
use crate::identity::IDENTITY_LIFETIME;

pub(crate) struct WorkerIdentity {
    pub(crate) audience: Audience,
}

impl WorkerIdentity {
    pub(crate) fn issue(&self, holder: &Holder) -> Result<Issued, IssueError> {
        let now = SystemTime::now();
        let identity = holder.identity_for(&self.audience, now).map_err(IssueError::Identity)?;
        let (secret, expires) = (identity.jwt, Some(identity.expires));
        Ok(Issued { secret, receipt: None, expires, refresh: now + IDENTITY_LIFETIME * 4 / 5 })
    }
}
