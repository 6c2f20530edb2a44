//! The worker's right, on the word of the broker: JWT bearer grant (RFC 7523 §2.1).
//!
//! Enters: the worker. Leaves: an access token for what is wanted, which the server gives on an assertion of who the worker is.
//! Each assertion is signed anew and has a `jti` of its own, as servers take each only once.

use std::time::SystemTime;

use config::{Audience, Wanted};

use super::authorization_server::AuthorizationServer;
use super::{IssueError, Issued};
use crate::form::Form;
use crate::holder::Holder;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(crate) struct JwtBearer {
    pub(crate) server: AuthorizationServer,
    pub(crate) wanted: Wanted,
    pub(crate) audience: Audience,
}

impl JwtBearer {
    pub(crate) async fn issue(&self, holder: &Holder) -> Result<Issued, IssueError> {
        let assertion = holder.identity_for(&self.audience, SystemTime::now()).map_err(IssueError::Identity)?;
        let form = Form::default().with("grant_type", GRANT).with("assertion", assertion.jwt.expose());
        self.server.grant(form, &self.wanted).await
    }
}
