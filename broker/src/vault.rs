//! A Vault server, OpenBao among them: one login, and what is asked for with it.
//!
//! Enters: an identity; then what the server gave for it, which goes back to that server alone. Leaves: what was read, and for how long
//! it lasts. Each request is bounded, as `outbound` says. Never: a redirect that is followed, a text of the server's in an error, or
//! a login that is shown to anybody else.

pub mod answer;
mod fields;

use std::time::SystemTime;

use bytes::Bytes;
use config::VaultLogin;
use http::header::HeaderName;
use http::{HeaderValue, Method, StatusCode};
use rustls::RootCertStore;
use serde::Serialize;

use self::answer::{Found, Login};
use crate::issuer::{IssueError, ask};
use crate::outbound::{Answer, Endpoint, Message, Outbound, RootsError};
use crate::secret::{Secret, sensitive_header, zeroising_bytes};

const CLIENT: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Servers can be told to answer nothing that lacks it: a browser that was talked into a request cannot send it.
const MEANT: HeaderName = HeaderName::from_static("x-vault-request");

/// The server, and the way to it.
pub(crate) struct Vault {
    login: VaultLogin,
    outbound: Outbound,
}

impl Vault {
    /// Trusts the `system`'s roots and those that the settings name.
    pub(crate) fn new(login: VaultLogin, system: &RootCertStore) -> Result<Vault, RootsError> {
        let outbound = Outbound::new(system, &login.roots)?;
        Ok(Vault { login, outbound })
    }

    /// What it is reached by, to compare.
    pub(crate) fn name(&self) -> String {
        let VaultLogin { address, namespace, .. } = &self.login;
        match namespace {
            Some(namespace) => format!("{address}, namespace {namespace}"),
            None => address.clone(),
        }
    }

    /// How to show who asks.
    pub(crate) fn settings(&self) -> &VaultLogin {
        &self.login
    }

    /// Logs in by an identity.
    pub(crate) async fn login(&self, identity: &Secret) -> Result<Login, IssueError> {
        #[derive(Serialize)]
        struct Body<'a> {
            role: &'a str,
            jwt: &'a str,
        }
        let body = json(&Body { role: &self.login.role, jwt: identity.expose() })?;
        let path = format!("auth/{}/login", self.login.mount);
        let answer = self.send(Method::POST, &path, None, Some(body)).await?;
        self.read_as(&path, &answer, answer::login)
    }

    /// Reads what is on a path.
    pub(crate) async fn read(&self, client: &Secret, path: &str) -> Result<Found, IssueError> {
        let answer = self.send(Method::GET, path, Some(client), None).await?;
        self.read_as(path, &answer, answer::found)
    }

    /// Makes the login last longer. Leaves its new end.
    pub(crate) async fn renew_login(&self, client: &Secret) -> Result<SystemTime, IssueError> {
        const PATH: &str = "auth/token/renew-self";
        let asked = SystemTime::now();
        let answer = self.send(Method::POST, PATH, Some(client), Some(Bytes::from_static(b"{}"))).await?;
        Ok(asked + self.read_as(PATH, &answer, answer::login_renewed)?)
    }

    /// Makes a lease last longer. Leaves its new end.
    pub(crate) async fn renew_lease(&self, client: &Secret, lease_id: &str) -> Result<SystemTime, IssueError> {
        const PATH: &str = "sys/leases/renew";
        #[derive(Serialize)]
        struct Body<'a> {
            lease_id: &'a str,
        }
        let asked = SystemTime::now();
        let answer = self.send(Method::POST, PATH, Some(client), Some(json(&Body { lease_id })?)).await?;
        Ok(asked + self.read_as(PATH, &answer, answer::lease_renewed)?)
    }

    /// Revokes a lease, and waits until that is done. `false`: the login's policies do not allow it, or there is no such login.
    pub(crate) async fn revoke_lease(&self, client: &Secret, lease_id: &str) -> Result<bool, IssueError> {
        const PATH: &str = "sys/leases/revoke";
        #[derive(Serialize)]
        struct Body<'a> {
            lease_id: &'a str,
            sync: bool,
        }
        let answer = self.send(Method::POST, PATH, Some(client), Some(json(&Body { lease_id, sync: true })?)).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::FORBIDDEN => Ok(false),
            _ => Err(self.refused(PATH, &answer)),
        }
    }

    /// Ends a login, and all that was leased with it. One that the server does not know any more has ended before.
    pub(crate) async fn end_login(&self, client: &Secret) -> Result<(), IssueError> {
        const PATH: &str = "auth/token/revoke-self";
        let answer = self.send(Method::POST, PATH, Some(client), Some(Bytes::from_static(b"{}"))).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::FORBIDDEN if self.is_unknown(client, &answer).await? => Ok(()),
            _ => Err(self.refused(PATH, &answer)),
        }
    }

    /// Whether a client was refused because there is none such: it is in what every client may ask for, whatever its policies are.
    async fn is_unknown(&self, client: &Secret, refusal: &Answer) -> Result<bool, IssueError> {
        if !answer::knows_no_such_client(&refusal.body) {
            return Ok(false);
        }
        let answer = self.send(Method::GET, "sys/internal/ui/mounts", Some(client), None).await?;
        Ok(answer.status == StatusCode::FORBIDDEN && answer::knows_no_such_client(&answer.body))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        client: Option<&Secret>,
        body: Option<Bytes>,
    ) -> Result<Answer, IssueError> {
        let endpoint: Endpoint = self.url(path).parse().map_err(IssueError::Unfit)?;
        let mut message = Message::new(method).with(MEANT, HeaderValue::from_static("true"));
        if let Some(body) = body {
            message = message.with_body("application/json", body);
        }
        if let Some(namespace) = &self.login.namespace {
            let value = HeaderValue::from_str(namespace);
            message = message.with(NAMESPACE, value.map_err(|_| IssueError::Unfit("the namespace fits no header"))?);
        }
        if let Some(client) = client {
            let value = sensitive_header(client.expose().as_bytes().to_vec());
            message = message.with(CLIENT, value.ok_or(IssueError::Unfit("the login fits no header"))?);
        }
        ask(&self.outbound, &endpoint, message).await
    }

    fn read_as<T>(
        &self,
        path: &str,
        answer: &Answer,
        read: impl Fn(&[u8]) -> Result<T, &'static str>,
    ) -> Result<T, IssueError> {
        if answer.status != StatusCode::OK {
            return Err(self.refused(path, answer));
        }
        read(&answer.body).map_err(|reason| IssueError::Answer { endpoint: self.url(path), reason })
    }

    fn refused(&self, path: &str, answer: &Answer) -> IssueError {
        let (status, code) = (answer.status.as_u16(), answer::refusal(&answer.body));
        IssueError::Refused { endpoint: self.url(path), status, code }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.login.address)
    }
}

/// A body that may hold a secret: with room for all of it, so that growing leaves no copy behind.
fn json(body: &impl Serialize) -> Result<Bytes, IssueError> {
    let mut json = Vec::with_capacity(16 * 1024);
    serde_json::to_writer(&mut json, body).map_err(|_| IssueError::Unfit("it cannot be written as JSON"))?;
    Ok(zeroising_bytes(json))
}
