//! The end of a lease that is renewed.
//!
//! Enters: that an issuer is about to be asked to make a lease last longer, and what it said. Leaves: the row's new end, on the disk.
//! Between the two nobody knows the end, and the row says a late one: what is swept in between is revoked.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;

use super::store::Durability;
use super::{Ledger, SHOWN, Standing};
use crate::lease::{Lease, LeaseId};
use crate::secret::Secret;

impl Ledger {
    /// Says that the end of a lease is about to change, and leaves what its issuer needs for that. `None`: nobody may use it any more.
    pub(crate) fn open_end(&self, id: LeaseId) -> io::Result<Option<Arc<Secret>>> {
        let Some(mut standing) = self.standing.get_mut(&id).filter(|one| one.is_lent()) else { return Ok(None) };
        let Some(receipt) = standing.receipt.clone() else { return Ok(None) };
        let late = Timestamp::now().checked_add(SHOWN).map_err(io::Error::other)?;
        standing.entry.expires = standing.entry.expires.max(Some(late));
        self.store.put(&standing.entry, None, Durability::Now)?;
        Ok(Some(receipt))
    }

    /// Says when a lease ends; it is in use until then where it is given anew. `false`: nobody may use it any more.
    pub(crate) fn set_end(&self, id: LeaseId, ends: SystemTime, renewed: Option<&Arc<Lease>>) -> io::Result<bool> {
        let Some(mut standing) = self.standing.get_mut(&id) else { return Ok(false) };
        standing.entry.expires = ends.try_into().ok();
        if let Some(lease) = renewed {
            standing.lease = Arc::clone(lease);
        }
        self.store.put(&standing.entry, None, Durability::Now)?;
        Ok(standing.is_lent())
    }

    /// Takes back that an issuer was about to be asked: it gave what was there before.
    pub(crate) fn not_asked(&self, id: LeaseId) -> io::Result<()> {
        self.store.remove(id)
    }
}

impl Standing {
    /// Whether it has ended by itself, as far as the ledger knows.
    pub(crate) fn is_over(&self, now: SystemTime) -> bool {
        let ends = self.entry.expires.and_then(|ends| SystemTime::try_from(ends).ok());
        ends.is_some_and(|ends| ends <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::Duration;

    use config::{Credentials, IssuerSettings, WorkerId};

    use super::*;
    use crate::issuer::Issuer;
    use crate::issuer::vault::VaultIssuer;
    use crate::ledger::{Entry, State};
    use crate::outbound::system_roots;
    use crate::settings::LedgerPlace;
    use crate::vault::Vault;

    fn issuer() -> Arc<Issuer> {
        let text = "[api]\nissuer = \"vault\"\naddress = \"http://127.0.0.1:1\"\nrole = \"r\"\nread = \"a/b\"\nagents = [\"bot\"]\nto = [\"x\"]";
        let credentials = Credentials::parse("credentials.toml", text).unwrap();
        let IssuerSettings::Vault(secret) = credentials.iter().next().unwrap().issuer.clone() else { panic!() };
        let vault = Vault::new(secret.login, &system_roots()).unwrap();
        Arc::new(Issuer::Vault(Box::new(VaultIssuer { vault, path: secret.path, field: None })))
    }

    /// A ledger with a lease that is over in a moment.
    fn with_a_lease(place: &LedgerPlace, issuer: &Arc<Issuer>) -> (Ledger, Arc<Lease>) {
        let ledger = Ledger::open(Some(place)).unwrap();
        let (agent, credential): (_, config::CredentialName) = ("bot".parse().unwrap(), "api".parse().unwrap());
        let entry = Entry::asked(WorkerId::generate(), agent, credential.clone(), "x".to_owned(), issuer.revocation());
        let now = SystemTime::now();
        let lease = Lease {
            id: entry.lease,
            credential,
            secret: Secret::new("p"),
            expires: Some(now + Duration::from_millis(200)),
            refresh: now,
        };
        let lease = Arc::new(lease);
        ledger.enter(entry, &lease, Some(Secret::new("receipt")), issuer).unwrap();
        (ledger, lease)
    }

    #[test]
    fn a_broker_that_is_killed_while_it_renews_leaves_a_lease_to_revoke() {
        let (state, issuer) = (tempfile::tempdir().unwrap(), issuer());
        let place = |name: &str| LedgerPlace {
            directory: state.path().join("leases"),
            name: Some(name.to_owned()),
            key: state.path().join("ledger.key"),
        };
        let (over, _) = with_a_lease(&place("over"), &issuer);
        let (renewing, lease) = with_a_lease(&place("renewing"), &issuer);
        assert_eq!(renewing.open_end(lease.id).unwrap().unwrap().expose(), "receipt");
        drop((over, renewing));
        sleep(Duration::from_millis(300));
        let next = Ledger::open(Some(&place("next"))).unwrap();
        let left = next.take_over(Some(&state.path().join("leases")), |_| Some(Arc::clone(&issuer))).unwrap();
        assert_eq!(left, [lease.id]);
        assert_eq!(next.standing.get(&lease.id).unwrap().receipt().expose(), "receipt");
    }

    #[test]
    fn a_renewed_lease_stands_until_its_new_end_and_one_that_was_taken_back_is_not_renewed() {
        let (state, issuer) = (tempfile::tempdir().unwrap(), issuer());
        let directory = state.path().join("leases");
        let place = LedgerPlace { directory, name: None, key: state.path().join("ledger.key") };
        let (ledger, lease) = with_a_lease(&place, &issuer);
        let later = SystemTime::now() + Duration::from_secs(60);
        assert!(ledger.set_end(lease.id, later, None).unwrap());
        sleep(Duration::from_millis(300));
        ledger.expire(SystemTime::now());
        assert!(ledger.standing.contains_key(&lease.id));
        ledger.expire(later);
        assert!(!ledger.standing.contains_key(&lease.id));
        assert!(ledger.open_end(lease.id).unwrap().is_none() && !ledger.set_end(lease.id, later, None).unwrap());
        let (ledger, lease) = with_a_lease(&place, &issuer);
        ledger.keep(lease.id, "taken back");
        assert!(ledger.open_end(lease.id).unwrap().is_none());
        assert_eq!(ledger.standing.get(&lease.id).unwrap().entry.state, State::Kept);
    }
}
