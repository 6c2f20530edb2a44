//! How a credential is had and given back, by kind of issuer.
//!
//! Enters: the settings of one credential, and the worker that is to hold it. Leaves: a short-lived secret with its times, and what became of a revocation.
//! An issuer keeps nothing that it issued, and its errors hold neither a secret nor a text that an endpoint chose.

pub(crate) mod authorization_server;
pub(crate) mod aws_sts;
mod client_assertion;
pub(crate) mod command;
mod dated;
pub(crate) mod federated_client;
pub(crate) mod fixed;
pub(crate) mod github_app;
pub(crate) mod google_sts;
pub(crate) mod jwt_bearer;
pub(crate) mod oauth2_client;
pub(crate) mod token_exchange;
pub(crate) mod vault;
pub(crate) mod worker_identity;

use std::time::{Duration, SystemTime};

use crate::holder::Holder;
use crate::identity::SigningError;
use crate::ledger::{Entry, FIXED};
use crate::outbound::{Answer, Endpoint, Message, Outbound, OutboundError};
use crate::program::ProgramError;
use crate::secret::Secret;
use crate::source::SourceError;

/// Why the ledger keeps an identity until it runs out.
const IDENTITY: &str = "an identity cannot be taken back; it runs out in minutes";

/// The issuer of one credential.
pub(crate) enum Issuer {
    /// A secret that is what it is.
    Fixed(fixed::Fixed),
    /// The broker itself, which says who the worker is.
    Identity(worker_identity::WorkerIdentity),
    /// An authorization server, by the broker's own right.
    OAuth2Client(Box<oauth2_client::OAuth2Client>),
    /// An authorization server, which takes the worker's identity in exchange.
    TokenExchange(Box<token_exchange::TokenExchange>),
    /// An authorization server, which takes the worker's identity as an assertion.
    JwtBearer(Box<jwt_bearer::JwtBearer>),
    /// STS, which takes the worker's identity for a role.
    AwsSts(Box<aws_sts::AwsSts>),
    /// A Vault server, which takes the worker's identity for a login.
    Vault(Box<vault::VaultIssuer>),
    /// A program of the operator's.
    Command(Box<command::CommandIssuer>),
    /// GitHub, which makes access tokens for an app's installation.
    GitHubApp(Box<github_app::Installation>),
    /// Google, which takes the worker's identity.
    GoogleSts(Box<google_sts::GoogleSts>),
    /// An authorization server, which takes an identity for what its client shows.
    FederatedClient(Box<federated_client::FederatedClient>),
}

impl Issuer {
    /// Gets a credential for a worker, which is to be the lease of this entry.
    pub(crate) async fn issue(&self, holder: &Holder, entry: &Entry) -> Result<Issued, IssueError> {
        match self {
            Issuer::Fixed(fixed) => fixed.issue().await,
            Issuer::Identity(identity) => identity.issue(holder),
            Issuer::OAuth2Client(client) => client.issue().await,
            Issuer::TokenExchange(exchange) => exchange.issue(holder).await,
            Issuer::JwtBearer(bearer) => bearer.issue(holder).await,
            Issuer::AwsSts(sts) => sts.issue(holder).await,
            Issuer::Vault(vault) => vault.issue(holder).await,
            Issuer::Command(command) => command.issue(holder, entry).await,
            Issuer::GitHubApp(installation) => installation.issue().await,
            Issuer::GoogleSts(google) => google.issue(holder).await,
            Issuer::FederatedClient(client) => client.issue(holder).await,
        }
    }

    /// Gives back what the worker of this entry held: by its receipt, or where the issuer gave none by the credential itself. An error
    /// means that another attempt may succeed.
    pub(crate) async fn revoke(&self, entry: &Entry, receipt: &Secret) -> Result<Revocation, IssueError> {
        match self {
            Issuer::Fixed(_) => Ok(Revocation::Impossible(FIXED)),
            Issuer::Identity(_) => Ok(Revocation::Impossible(IDENTITY)),
            Issuer::AwsSts(_) => Ok(Revocation::Impossible(aws_sts::SESSION)),
            Issuer::GoogleSts(_) => Ok(Revocation::Impossible(google_sts::FEDERATED)),
            Issuer::FederatedClient(_) => Ok(Revocation::Impossible(federated_client::APPLICATION)),
            Issuer::OAuth2Client(client) => client.server.revoke(receipt).await,
            Issuer::TokenExchange(exchange) => exchange.server.revoke(receipt).await,
            Issuer::JwtBearer(bearer) => bearer.server.revoke(receipt).await,
            Issuer::GitHubApp(installation) => installation.revoke(receipt).await,
            Issuer::Vault(vault) => vault.revoke(receipt).await,
            Issuer::Command(command) => command.revoke(entry, receipt).await,
        }
    }

    /// Whether it can make what it issued last longer.
    pub(crate) fn renews(&self) -> bool {
        matches!(self, Issuer::Vault(_))
    }

    /// Makes what it issued last longer, by its receipt.
    pub(crate) async fn renew(&self, receipt: &Secret) -> Result<Renewal, IssueError> {
        match self {
            Issuer::Vault(vault) => vault.renew(receipt).await,
            _ => Ok(Renewal::Over(None)),
        }
    }

    /// How a credential of this issuer is revoked, in a line for the ledger, which a later broker compares: a credential is shown to
    /// nobody else. `None`: it cannot be, and the ledger keeps nothing of it.
    pub(crate) fn revocation(&self) -> Option<String> {
        match self {
            Issuer::Fixed(_) | Issuer::Identity(_) | Issuer::AwsSts(_) => None,
            Issuer::GoogleSts(_) | Issuer::FederatedClient(_) => None,
            Issuer::OAuth2Client(client) => client.server.revocation(),
            Issuer::TokenExchange(exchange) => exchange.server.revocation(),
            Issuer::JwtBearer(bearer) => bearer.server.revocation(),
            Issuer::Vault(vault) => Some(vault.revocation()),
            Issuer::Command(command) => command.revocation(),
            Issuer::GitHubApp(installation) => Some(installation.revocation()),
        }
    }

    /// Whether asking it makes something that was not there before, and that would be lost if its answer were.
    pub(crate) fn mints(&self) -> bool {
        !matches!(self, Issuer::Fixed(_) | Issuer::Identity(_))
    }
}

/// What an issuer gave.
#[derive(Debug)]
pub(crate) struct Issued {
    /// What the upstream wants to see.
    pub(crate) secret: Secret,
    /// What its revocation needs, where that is something else: the broker's alone.
    pub(crate) receipt: Option<Secret>,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) refresh: SystemTime,
}

/// What became of a wish that something last longer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It does.
    Lasts { expires: SystemTime, refresh: SystemTime },
    /// It does not, or not for long, and ends then; where that is not said, as before. Another one is due.
    Over(Option<SystemTime>),
}

/// What became of a revocation that was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// The issuer no longer takes it.
    Revoked,
    /// It cannot be revoked, ever, for this reason.
    Impossible(&'static str),
}

/// Why a credential was not to be had, or not to be revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error("cannot read its long-lived secret")]
    Source(#[from] SourceError),
    #[error("{0}")]
    Unfit(&'static str),
    #[error("cannot sign who the worker is")]
    Identity(#[source] SigningError),
    #[error("cannot sign with the client's key")]
    ClientKey(#[source] SigningError),
    #[error("no answer from {endpoint}")]
    Outbound { endpoint: String, source: OutboundError },
    #[error("{endpoint} answered {status}{}{}", if code.is_empty() { "" } else { " " }, code)]
    Refused { endpoint: String, status: u16, code: &'static str },
    #[error("the answer of {endpoint} is unusable: {reason}")]
    Answer { endpoint: String, reason: &'static str },
    #[error("no end with {endpoint} within {seconds} s")]
    TooSlow { endpoint: String, seconds: u64 },
    #[error("its program gave none")]
    Program(#[source] ProgramError),
    #[error(transparent)]
    Undone(Box<IssueError>),
}

impl IssueError {
    /// Whether a credential may have been made all the same.
    pub(crate) fn may_stand(&self) -> bool {
        match self {
            IssueError::Source(_)
            | IssueError::Unfit(_)
            | IssueError::Identity(_)
            | IssueError::ClientKey(_)
            | IssueError::Undone(_) => false,
            // A gateway that gave up, or a server that broke in the middle, may have let it through; 503 says that nothing was done.
            IssueError::Refused { status, .. } => matches!(status, 500 | 502 | 504),
            IssueError::Program(error) => error.may_have_done_it(),
            IssueError::Outbound { source, .. } => source.may_have_arrived(),
            IssueError::Answer { .. } | IssueError::TooSlow { .. } => true,
        }
    }
}

/// What does not fit into a request's head is no use.
const MAX_CREDENTIAL: usize = 16 * 1024;
/// No credential is believed to live longer. Keeps the sums within range, too.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// Whether a secret can be sent in a head: not empty, not too long, with nothing that would break out of its line.
fn is_fit(secret: &Secret) -> bool {
    (1..=MAX_CREDENTIAL).contains(&secret.expose().len()) && !secret.expose().contains(char::is_control)
}

/// Sends a message to an endpoint, and takes whatever it answers.
pub(crate) async fn ask(outbound: &Outbound, endpoint: &Endpoint, message: Message) -> Result<Answer, IssueError> {
    let sent = outbound.send(endpoint, message).await;
    sent.map_err(|source| IssueError::Outbound { endpoint: endpoint.to_string(), source })
}

/// An error with its causes on one line, for a place that takes one text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
