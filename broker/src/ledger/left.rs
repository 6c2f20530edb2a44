//! What brokers that are gone left open: killed ones, and those that the machine took with it.
//!
//! Enters: the ledgers of one directory, and today's issuers. Leaves: their open rows in this broker's own ledger, to be revoked; where
//! that cannot be, to be shown with the reason. A row is in the new ledger before it is taken out of the old one. Never: a
//! credential that is sent to another place than where its row says it is revoked.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use config::CredentialName;
use jiff::Timestamp;

use super::store::{Durability, Sealed, Store, directories};
use super::{Entry, FIXED, Ledger, Standing, State, shown_until};
use crate::error::Error;
use crate::issuer::Issuer;
use crate::lease::{Lease, LeaseId};
use crate::secret::Secret;

const INTERRUPTED: &str = "its broker ended before it knew the issuer's answer";

impl Ledger {
    /// Takes over what this ledger had open at its last end, and what other brokers left. Leaves the leases that are to be revoked now.
    pub(crate) fn take_over(
        &self,
        ledgers: Option<&Path>,
        issuer: impl Fn(&CredentialName) -> Option<Arc<Issuer>>,
    ) -> Result<Vec<LeaseId>, Error> {
        let mut revocable = Vec::new();
        let own = self.directory().unwrap_or(Path::new(""));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| Error::Ledger { path, source: source.into() }
        };
        for row in self.store.still_open().map_err(failed(own))? {
            revocable.extend(self.receive(row, &issuer).map_err(failed(own))?);
        }
        let Some(ledgers) = ledgers else { return Ok(revocable) };
        for directory in directories(ledgers).map_err(failed(ledgers))? {
            if directory == own {
                continue;
            }
            let Some(gone) = Store::of_gone(&directory)? else { continue };
            for row in gone.still_open().map_err(failed(&directory))? {
                let lease = row.0.lease;
                revocable.extend(self.receive(row, &issuer).map_err(failed(own))?);
                gone.remove(lease).map_err(failed(&directory))?;
            }
            gone.close().map_err(failed(&directory))?;
        }
        Ok(revocable)
    }

    fn receive(
        &self,
        (mut entry, sealed): Sealed,
        issuer: impl Fn(&CredentialName) -> Option<Arc<Issuer>>,
    ) -> io::Result<Option<LeaseId>> {
        let before = entry.clone();
        let found = match entry.is_open(Timestamp::now()) {
            false => Left::Over(State::Expired, None),
            true => self.look_at(&before, sealed.as_deref(), issuer(&before.credential)),
        };
        let revocable = match found {
            Left::Over(state, reason) => {
                entry.became(state, reason);
                None
            }
            Left::Shown(state, reason) => {
                if entry.state == State::Asked {
                    entry.expires = shown_until(&entry);
                }
                entry.became(state, Some(reason));
                None
            }
            // What was sealed is the receipt; nobody uses such a lease any more.
            Left::Revocable(secret, issuer) => {
                entry.became(State::Kept, Some("left by a broker that is gone".to_owned()));
                let lease = Arc::new(Lease {
                    id: entry.lease,
                    credential: entry.credential.clone(),
                    secret,
                    expires: entry.expires.and_then(|expires| SystemTime::try_from(expires).ok()),
                    refresh: SystemTime::now(),
                });
                let standing =
                    Standing { entry: entry.clone(), lease, receipt: None, issuer, given_back: None, retried: false };
                self.standing.insert(entry.lease, standing);
                Some(entry.lease)
            }
        };
        let Entry { lease, credential, agent, state, .. } = &entry;
        tracing::warn!(%lease, %credential, %agent, %state, reason = entry.reason, "left by a broker that is gone");
        self.store.put(&entry, sealed.as_deref(), Durability::Now)?;
        Ok(revocable)
    }

    fn look_at(&self, entry: &Entry, sealed: Option<&[u8]>, issuer: Option<Arc<Issuer>>) -> Left {
        let kept = |reason: &str| Left::Shown(State::Kept, reason.to_owned());
        let (revocation, sealed) = match (entry.state, &entry.revocation, sealed) {
            (State::Asked, ..) => return Left::Shown(State::Unanswered, INTERRUPTED.to_owned()),
            (State::Unanswered, ..) => {
                return Left::Shown(State::Unanswered, entry.reason.clone().unwrap_or_default());
            }
            (_, None, _) if entry.expires.is_none() => {
                return Left::Over(State::Returned, Some(FIXED.to_owned()));
            }
            (_, None, _) => return kept("its issuer does not revoke"),
            (_, Some(_), None) => return kept("what its revocation needs is not in the ledger"),
            (_, Some(revocation), Some(sealed)) => (revocation, sealed),
        };
        let Some(issuer) = issuer else { return kept("its credential is no longer in the credentials file") };
        if issuer.revocation().as_ref() != Some(revocation) {
            return kept("its credential has another issuer by now, to whom it is not shown");
        }
        match self.key.open(entry, sealed) {
            Some(secret) => Left::Revocable(secret, issuer),
            None => kept("what its revocation needs cannot be unsealed: it was changed, or the key file is another"),
        }
    }
}

/// What can be done about a lease that was left.
enum Left {
    /// Nothing has to be.
    Over(State, Option<String>),
    /// Nothing can be, but to show it.
    Shown(State, String),
    /// It can be revoked.
    Revocable(Secret, Arc<Issuer>),
}
