//! The broker's own right: client credentials grant (RFC 6749 §4.4), resource indicators (RFC 8707).
//!
//! Enters: nothing of the worker. Leaves: an access token that the server gives to the client that the broker is there.

use config::Wanted;

use super::authorization_server::AuthorizationServer;
use super::{IssueError, Issued};
use crate::form::Form;

pub(crate) struct OAuth2Client {
    pub(crate) server: AuthorizationServer,
    pub(crate) wanted: Wanted,
}

impl OAuth2Client {
    pub(crate) async fn issue(&self) -> Result<Issued, IssueError> {
        self.server.grant(Form::default().with("grant_type", "client_credentials"), &self.wanted).await
    }
}
