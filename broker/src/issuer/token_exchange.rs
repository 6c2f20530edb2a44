//! The worker's right, in exchange for who it is: token exchange (RFC 8693).
//!
//! Enters: the worker. Leaves: an access token for what is wanted, which the server gives for the worker's identity, signed for
//! that server alone at the moment of asking. No secret of ours has to be known there.

use std::time::SystemTime;

use config::{Audience, Wanted};

use super::authorization_server::AuthorizationServer;
use super::{IssueError, Issued};
use crate::form::Form;
use crate::holder::Holder;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(crate) struct TokenExchange {
    pub(crate) server: AuthorizationServer,
    pub(crate) wanted: Wanted,
    pub(crate) audience: Audience,
}

impl TokenExchange {
    pub(crate) async fn issue(&self, holder: &Holder) -> Result<Issued, IssueError> {
        let subject = holder.identity_for(&self.audience, SystemTime::now()).map_err(IssueError::Identity)?;
        let form = Form::default()
            .with("grant_type", GRANT)
            .with("subject_token", subject.jwt.expose())
            .with("subject_token_type", JWT)
            .with("requested_token_type", ACCESS_TOKEN);
        self.server.grant(form, &self.wanted).await
    }
}
