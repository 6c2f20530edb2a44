//! A secret of a Vault server's, read as the worker: one that the server makes for it (a dynamic secret), or one that lies there (KV).
//!
//! Enters: the worker. Leaves: the field that is the credential. Each has a login of its own, shown to that server only, so that ending the
//! login takes back all that came of it: that, and the server's name for the lease, is the receipt. A dynamic secret is renewed until the
//! server's limit is near. What lies there is read as often as a fixed one, and its login ends with each reading.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};

use super::fixed::REREAD;
use super::{IssueError, Issued, Renewal, Revocation, is_fit};
use crate::holder::Holder;
use crate::secret::Secret;
use crate::vault::Vault;
use crate::vault::answer::{Found, Leased, Login};

/// To log in and read: below the 20 s that a call waits for its lease.
const READ: Duration = Duration::from_secs(18);
/// To end a login of which nothing came.
const UNDO: Duration = Duration::from_secs(7);
/// To make both last longer.
const RENEW: Duration = Duration::from_secs(10);
/// To take back a lease and end its login.
const REVOKE: Duration = Duration::from_secs(25);
/// Why what lies there is not revoked.
const LIES_THERE: &str = "it lies in the server's store, and ends when it is rotated there; its login has ended";

pub(crate) struct VaultIssuer {
    pub(crate) vault: Vault,
    pub(crate) path: String,
    pub(crate) field: Option<String>,
}

/// What renewal and revocation need, as the ledger keeps it sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Receipt {
    /// Nothing.
    Stored,
    /// The login of a lease of the server's.
    Leased {
        #[serde(with = "exposed")]
        client_token: Secret,
        lease_id: String,
        /// For how many seconds it lasted when it was new.
        lasts: u64,
        renewable: bool,
        /// When the login ends, in seconds since 1970, where it cannot be renewed.
        login_ends: Option<u64>,
    },
}

impl VaultIssuer {
    pub(crate) async fn issue(&self, holder: &Holder) -> Result<Issued, IssueError> {
        let asked = SystemTime::now();
        let deadline = Instant::now() + READ;
        let identity = holder.identity_for(&self.vault.settings().audience, asked).map_err(IssueError::Identity)?;
        let login = timeout_at(deadline, self.vault.login(&identity.jwt));
        let login = login.await.unwrap_or_else(|_| Err(self.too_slow(READ)))?;
        let found = timeout_at(deadline, self.vault.read(&login.client_token, &self.path));
        let found = found.await.unwrap_or_else(|_| Err(self.too_slow(READ)));
        let issued = found.and_then(|found| self.issued(found, &login, asked));
        let lasting = issued.as_ref().is_ok_and(|issued| issued.expires.is_some());
        if lasting {
            return issued;
        }
        // Nothing came of the login, or nothing that it is needed for any more: what it may have leased goes with it.
        let ended = timeout(UNDO, self.vault.end_login(&login.client_token));
        match (issued, ended.await.unwrap_or_else(|_| Err(self.too_slow(UNDO)))) {
            (Err(error), Ok(())) => Err(IssueError::Undone(Box::new(error))),
            (Err(error), Err(_)) => Err(error),
            (Ok(issued), Ok(())) => Ok(issued),
            (Ok(_), Err(error)) => Err(error),
        }
    }

    /// Makes a lease last longer, if the server does that.
    pub(crate) async fn renew(&self, receipt: &Secret) -> Result<Renewal, IssueError> {
        timeout(RENEW, self.renew_both(receipt)).await.unwrap_or_else(|_| Err(self.too_slow(RENEW)))
    }

    pub(crate) async fn revoke(&self, receipt: &Secret) -> Result<Revocation, IssueError> {
        timeout(REVOKE, self.end(receipt)).await.unwrap_or_else(|_| Err(self.too_slow(REVOKE)))
    }

    pub(crate) fn revocation(&self) -> String {
        format!("Vault, {}, its lease and the login that it came by", self.vault.name())
    }

    fn issued(&self, Found { lease, fields }: Found, login: &Login, asked: SystemTime) -> Result<Issued, IssueError> {
        let unusable = |reason| IssueError::Answer { endpoint: self.vault.url(&self.path), reason };
        let secret = fields.choose(self.field.as_deref()).map_err(unusable)?;
        if !is_fit(&secret) {
            return Err(unusable(
                "the field is empty, longer than 16 KiB, or has a line break or another control character",
            ));
        }
        let Some(Leased { id, lasts, renewable }) = lease else {
            let receipt = Some(Receipt::Stored.sealed()?);
            return Ok(Issued { secret, receipt, expires: None, refresh: SystemTime::now() + REREAD });
        };
        // The server ends a lease together with the login that it came by.
        let lasts = lasts.min(login.lasts);
        let login_ends = (!login.renewable).then(|| asked + login.lasts);
        let receipt = Receipt::Leased {
            client_token: Secret::new(login.client_token.expose()),
            lease_id: id,
            lasts: lasts.as_secs(),
            renewable,
            login_ends: login_ends.map(|ends| ends.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
        };
        let receipt = Some(receipt.sealed()?);
        Ok(Issued { secret, receipt, expires: Some(asked + lasts), refresh: asked + lasts * 4 / 5 })
    }

    async fn renew_both(&self, receipt: &Secret) -> Result<Renewal, IssueError> {
        let Ok(Receipt::Leased { client_token: client, lease_id, lasts, renewable: true, login_ends }) =
            Receipt::open(receipt)
        else {
            return Ok(Renewal::Over(None));
        };
        let asked = SystemTime::now();
        let login_ends = match login_ends {
            Some(seconds) => UNIX_EPOCH + Duration::from_secs(seconds),
            None => match self.vault.renew_login(&client).await {
                Ok(ends) => ends,
                Err(IssueError::Refused { status: 400..500, .. }) => return Ok(Renewal::Over(None)),
                Err(error) => return Err(error),
            },
        };
        let ends = match self.vault.renew_lease(&client, &lease_id).await {
            Ok(ends) => ends.min(login_ends),
            Err(IssueError::Refused { status: 400..500, .. }) => return Ok(Renewal::Over(None)),
            Err(error) => return Err(error),
        };
        let left = ends.duration_since(asked).unwrap_or_default();
        // The server's limit is near: it lasts until then, and another one is due now.
        if left < Duration::from_secs(lasts) / 2 {
            return Ok(Renewal::Over(Some(ends)));
        }
        Ok(Renewal::Lasts { expires: ends, refresh: asked + left * 4 / 5 })
    }

    async fn end(&self, receipt: &Secret) -> Result<Revocation, IssueError> {
        let Receipt::Leased { client_token: client, lease_id, .. } = Receipt::open(receipt)? else {
            return Ok(Revocation::Impossible(LIES_THERE));
        };
        // First the lease, as the server says then whether it is done; with the login it would go some time later. A login whose
        // policies do not allow that takes its leases with it all the same.
        self.vault.revoke_lease(&client, &lease_id).await?;
        self.vault.end_login(&client).await?;
        Ok(Revocation::Revoked)
    }

    fn too_slow(&self, bound: Duration) -> IssueError {
        IssueError::TooSlow { endpoint: self.vault.url(&self.path), seconds: bound.as_secs() }
    }
}

impl Receipt {
    fn sealed(&self) -> Result<Secret, IssueError> {
        let mut json = Vec::with_capacity(16 * 1024);
        serde_json::to_writer(&mut json, self).map_err(|_| IssueError::Unfit("its receipt cannot be written"))?;
        String::from_utf8(json).map(Secret::new).map_err(|_| IssueError::Unfit("its receipt cannot be written"))
    }

    fn open(receipt: &Secret) -> Result<Receipt, IssueError> {
        serde_json::from_str(receipt.expose()).map_err(|_| IssueError::Unfit("its receipt is not one of this issuer"))
    }
}

/// A receipt is the one place where what it holds is written.
mod exposed {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, json: S) -> Result<S::Ok, S::Error> {
        json.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(json: D) -> Result<Secret, D::Error> {
        String::deserialize(json).map(Secret::new)
    }
}
