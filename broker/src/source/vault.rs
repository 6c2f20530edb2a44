//! A long-lived secret at a Vault server, read as the broker itself.
//!
//! Enters: where it is; the broker's signer. Leaves: the text of one field. The login is for this one reading and ends with it, also
//! where nobody waits for what was read any more. Never: a dynamic secret, which nobody would take back.

use std::sync::Arc;
use std::time::SystemTime;

use config::VaultSecret;

use super::Environment;
use crate::issuer::{IssueError, chain};
use crate::secret::Secret;
use crate::vault::Vault;

/// Reads it.
pub(super) async fn read(settings: &VaultSecret, environment: &Environment) -> Result<Secret, IssueError> {
    let VaultSecret { login, path, field } = settings.clone();
    let signer = environment.signer().ok_or(IssueError::Unfit("the broker's own keys cannot be at a Vault server"))?;
    let identity = signer.own_identity(&login.audience, SystemTime::now()).map_err(IssueError::Identity)?;
    let vault = Vault::new(login, environment.roots()).map_err(|_| IssueError::Unfit("its roots cannot be read"))?;
    let vault = Arc::new(vault);
    // A task of its own, each step of which is bounded: a reading that is given up must not leave its login behind.
    let reading = tokio::spawn(async move {
        let login = vault.login(&identity.jwt).await?;
        let found = vault.read(&login.client_token, &path).await;
        if let Err(error) = vault.end_login(&login.client_token).await {
            tracing::warn!(reason = chain(&error), "a login at a Vault server stands until it runs out");
        }
        let found = found?;
        let unusable = |reason| IssueError::Answer { endpoint: vault.url(&path), reason };
        if found.lease.is_some() {
            return Err(unusable("it is a dynamic secret: use `issuer = \"vault\"`"));
        }
        found.fields.choose(field.as_deref()).map_err(unusable)
    });
    reading.await.unwrap_or(Err(IssueError::Unfit("the reading broke off")))
}
