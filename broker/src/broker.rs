//! What a broker knows: its key, who may have what, the issuers, and the ledger.
//!
//! Enters: [`Settings`]. Leaves: answers to "may this agent have this credential for that destination", each with a reason
//! when it is no. Whether an issuer can be reached is not asked here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::SystemTime;

use config::{AgentId, Credential, CredentialName, Credentials, Destination, IssuerSettings};

use crate::answer::Refusal;
use crate::error::Error;
use crate::identity::Signer;
use crate::issuer::Issuer;
use crate::issuer::fixed::Fixed;
use crate::issuer::oauth2::OAuth2;
use crate::ledger::Ledger;
use crate::outbound::{Endpoint, Outbound, system_roots};
use crate::settings::Settings;
use crate::source::Environment;

/// One broker, shared by all its connections.
pub(crate) struct Broker {
    pub(crate) signer: Arc<Signer>,
    pub(crate) issuer: String,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) workers: AtomicUsize,
    audiences: BTreeSet<String>,
    credentials: Credentials,
    issuers: HashMap<CredentialName, Arc<Issuer>>,
}

impl Broker {
    /// Makes the key, checks every issuer's endpoints and roots, opens the ledger.
    pub(crate) fn start(settings: Settings) -> Result<Arc<Broker>, Error> {
        let Settings { credentials, environment, issuer, trust_domain, audiences, ledger, .. } = settings;
        let (ledger, left) = Ledger::open(ledger.as_deref(), SystemTime::now())?;
        for entry in left {
            let (lease, credential) = (entry.lease, &entry.credential);
            tracing::warn!(%lease, %credential, agent = %entry.agent, expires = ?entry.expires, "left open by an earlier broker");
        }
        let signer = Signer::generate(issuer.clone(), trust_domain).map_err(|error| Error::Start(error.into()))?;
        let issuers = issuers(&credentials, &Arc::new(environment))?;
        Ok(Arc::new(Broker {
            signer: Arc::new(signer),
            issuer,
            ledger: Arc::new(ledger),
            workers: AtomicUsize::new(0),
            audiences,
            credentials,
            issuers,
        }))
    }

    /// What an agent may use.
    pub(crate) fn grants<'a>(&'a self, agent: &'a AgentId) -> impl Iterator<Item = &'a Credential> {
        self.credentials.for_agent(agent)
    }

    /// The issuer of a credential that this agent may have for this destination.
    pub(crate) fn granted(
        &self,
        agent: &AgentId,
        name: &CredentialName,
        destination: &Destination,
    ) -> Result<&Arc<Issuer>, Refusal> {
        // One answer for "there is none" and "not for you": a worker learns nothing of other agents' credentials.
        let credential = self.grants(agent).find(|credential| credential.grant.credential() == name);
        let credential = credential
            .ok_or_else(|| Refusal::Denied(format!("agent `{agent}` has no grant for credential `{name}`")))?;
        if !credential.grant.allows(destination) {
            let reason = format!("the grant of credential `{name}` does not list {destination}");
            return Err(Refusal::Denied(reason));
        }
        self.issuers.get(name).ok_or_else(|| Refusal::Unavailable(format!("credential `{name}` has no issuer")))
    }

    /// Whether a worker may have an identity for this audience.
    pub(crate) fn may_address(&self, audience: &str) -> bool {
        audience == self.issuer || self.audiences.contains(audience)
    }
}

fn issuers(
    credentials: &Credentials,
    environment: &Arc<Environment>,
) -> Result<HashMap<CredentialName, Arc<Issuer>>, Error> {
    let mut system = None;
    let mut issuers = HashMap::new();
    for credential in credentials.iter() {
        let name = credential.grant.credential();
        let issuer = match &credential.issuer {
            IssuerSettings::Fixed { value } => {
                Issuer::Fixed(Fixed { value: value.clone(), environment: Arc::clone(environment) })
            }
            IssuerSettings::OAuth2 {
                token_endpoint,
                client_id,
                client_secret,
                scope,
                audience,
                revocation_endpoint,
                roots,
                auth,
            } => {
                // Reading the system's roots takes milliseconds that a broker without such an issuer need not spend.
                let system = system.get_or_insert_with(system_roots);
                let outbound = Outbound::new(system, roots).map_err(|error| unusable(name, "roots", error.into()))?;
                Issuer::OAuth2(Box::new(OAuth2 {
                    token_endpoint: endpoint(name, token_endpoint)?,
                    revocation_endpoint: revocation_endpoint.as_deref().map(|url| endpoint(name, url)).transpose()?,
                    client_id: client_id.clone(),
                    client_secret: client_secret.clone(),
                    auth: *auth,
                    scope: scope.clone(),
                    audience: audience.clone(),
                    outbound,
                    environment: Arc::clone(environment),
                }))
            }
        };
        issuers.insert(name.clone(), Arc::new(issuer));
    }
    Ok(issuers)
}

fn endpoint(credential: &CredentialName, url: &str) -> Result<Endpoint, Error> {
    url.parse().map_err(|reason: &str| unusable(credential, &format!("`{url}`"), reason.into()))
}

fn unusable(credential: &CredentialName, what: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Issuer { credential: credential.clone(), what: what.to_owned(), source }
}
