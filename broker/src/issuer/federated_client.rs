//! A client whose credential is an identity that the broker signs: Microsoft Entra's workload identity federation.
//!
//! Enters: the agent. Leaves: an access token that the server gives to the application which trusts that agent, by client credentials
//! (RFC 6749 §4.4) with the identity as the client's assertion (RFC 7523 §2.2). No secret of ours has to be known there.

use std::time::SystemTime;

use config::{Audience, Wanted};

use super::authorization_server::AuthorizationServer;
use super::{IssueError, Issued, client_assertion};
use crate::form::Form;
use crate::holder::Holder;

/// Why the ledger keeps it until it runs out.
pub(crate) const APPLICATION: &str = "Microsoft Entra revokes no access of an application; it runs out by itself";

pub(crate) struct FederatedClient {
    /// Its client shows nothing by itself.
    pub(crate) server: AuthorizationServer,
    pub(crate) wanted: Wanted,
    pub(crate) audience: Audience,
}

impl FederatedClient {
    pub(crate) async fn issue(&self, holder: &Holder) -> Result<Issued, IssueError> {
        // Entra compares the subject letter by letter with what the application trusts; a worker's own could not be written there.
        let shown = holder.agent_identity(&self.audience, SystemTime::now()).map_err(IssueError::Identity)?;
        let form = Form::default()
            .with("grant_type", "client_credentials")
            .with("client_assertion_type", client_assertion::TYPE)
            .with("client_assertion", shown.jwt.expose());
        self.server.grant(form, &self.wanted).await
    }
}
