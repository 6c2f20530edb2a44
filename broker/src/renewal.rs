//! A lease that lasts longer, instead of another one.
//!
//! Enters: a lease that is due, and its issuer. Leaves: the same lease, by the same name, with a later end; or nothing, and then another one
//! is due. The ledger says that the end is open before the issuer is asked, and the new end before the lease is used until then.
//! Never: a lease that stands at its issuer and is over in the ledger.

use std::sync::Arc;
use std::time::SystemTime;

use crate::issuer::{Issuer, Renewal, chain};
use crate::lease::Lease;
use crate::ledger::Ledger;
use crate::secret::Secret;
use crate::worker::spread;

/// The lease from before, for longer. `None`: another one is due.
pub(crate) async fn renew(issuer: &Issuer, ledger: &Ledger, before: &Lease) -> Result<Option<Arc<Lease>>, String> {
    let unwritable = |error| format!("the broker's ledger cannot be written: {error}");
    let (Some(ends), true) = (before.expires, issuer.renews()) else { return Ok(None) };
    let Some(receipt) = ledger.open_end(before.id).map_err(unwritable)? else { return Ok(None) };
    match issuer.renew(&receipt).await {
        Ok(Renewal::Lasts { expires, refresh }) => {
            let lease = Arc::new(Lease {
                id: before.id,
                credential: before.credential.clone(),
                secret: Secret::new(before.secret.expose()),
                expires: Some(expires),
                refresh: spread(refresh, SystemTime::now()),
            });
            let stands = ledger.set_end(before.id, expires, Some(&lease)).map_err(unwritable)?;
            Ok(stands.then_some(lease))
        }
        Ok(Renewal::Over(known)) => {
            ledger.set_end(before.id, known.unwrap_or(ends), None).map_err(unwritable)?;
            Ok(None)
        }
        Err(error) => {
            let reason = chain(&error);
            tracing::warn!(lease = %before.id, credential = %before.credential, reason, "cannot renew a lease");
            if !error.may_stand() {
                ledger.set_end(before.id, ends, None).map_err(unwritable)?;
            }
            Err(format!("credential `{}`: {reason}", before.credential))
        }
    }
}
