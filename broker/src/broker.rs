//! What a broker knows: its keys, who may have what, the issuers, and the ledger.
//!
//! Enters: [`Settings`]. Leaves: answers to "may this agent have this credential for that destination", each with a reason
//! when it is no. Whether an issuer can be reached is not asked here.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use config::{
    AgentId, Credential, CredentialName, Credentials, Destination, GitHubApp, GoogleFederation, IssuerSettings,
    OAuthGrant, OAuthServer, VaultSecret, Wanted,
};
use rustls::RootCertStore;

use crate::answer::Refusal;
use crate::approval::Desk;
use crate::error::Error;
use crate::identity::{self, Signer};
use crate::issuer::Issuer;
use crate::issuer::authorization_server::AuthorizationServer;
use crate::issuer::aws_sts::AwsSts;
use crate::issuer::command::CommandIssuer;
use crate::issuer::federated_client::FederatedClient;
use crate::issuer::fixed::Fixed;
use crate::issuer::github_app::Installation;
use crate::issuer::google_sts::{Account, GoogleSts};
use crate::issuer::jwt_bearer::JwtBearer;
use crate::issuer::oauth2_client::OAuth2Client;
use crate::issuer::token_exchange::TokenExchange;
use crate::issuer::vault::VaultIssuer;
use crate::issuer::worker_identity::WorkerIdentity;
use crate::ledger::Ledger;
use crate::notary::Notary;
use crate::outbound::{Endpoint, Outbound, system_roots};
use crate::settings::Settings;
use crate::source::Environment;
use crate::vault::Vault;

/// One broker, shared by all its connections.
pub(crate) struct Broker {
    pub(crate) signer: Arc<Signer>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) notary: Option<Notary>,
    pub(crate) workers: AtomicUsize,
    pub(crate) desk: Desk,
    offboarded: Option<PathBuf>,
    credentials: Credentials,
    issuers: HashMap<CredentialName, Arc<Issuer>>,
}

impl Broker {
    /// Reads or makes the keys, checks every issuer's endpoints and roots, opens the ledger, and begins to revoke what brokers that are
    /// gone left.
    pub(crate) async fn start(settings: Settings) -> Result<Arc<Broker>, Error> {
        let Settings { credentials, environment, identity, ledger: place, notary, offboarded, .. } = settings;
        let notary = notary.map(|place| Notary::new(place, &identity.trust_domain));
        let ledger = Arc::new(Ledger::open(place.as_ref())?);
        let wanted = credentials.iter().flat_map(|credential| credential.issuer.audiences());
        let wanted = wanted.filter_map(|audience| audience.algorithm);
        let environment = Arc::new(Environment::from(environment));
        let signer = Arc::new(Signer::start(&identity, wanted, &environment).await?);
        environment.sign_by(&signer);
        tokio::spawn(identity::keep(Arc::downgrade(&signer)));
        let issuers = issuers(&credentials, &environment)?;
        let ledgers = place.as_ref().map(|place| &*place.directory);
        let left = ledger.take_over(ledgers, |credential| issuers.get(credential).cloned())?;
        ledger.sweep(left);
        let (workers, desk) = (AtomicUsize::new(0), Desk::new(place.map(|place| place.directory)));
        Ok(Arc::new(Broker { signer, ledger, notary, workers, desk, offboarded, credentials, issuers }))
    }

    /// What an agent may use.
    pub(crate) fn grants<'a>(&'a self, agent: &'a AgentId) -> impl Iterator<Item = &'a Credential> {
        self.credentials.for_agent(agent)
    }

    /// Whether an agent was offboarded. Asked for each lease: the file may come at any time.
    pub(crate) fn admits(&self, agent: &AgentId) -> Result<(), Refusal> {
        let Some(directory) = &self.offboarded else { return Ok(()) };
        match fs::symlink_metadata(directory.join(agent.as_str())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                Err(Refusal::Broken(format!("whether agent `{agent}` was offboarded cannot be told: {error}")))
            }
            Ok(_) => Err(Refusal::Denied(format!("agent `{agent}` was offboarded"))),
        }
    }

    /// How long a call waits for a person's permission to use a credential, where that is needed.
    pub(crate) fn permission_wait(&self, name: &CredentialName) -> Option<Duration> {
        self.credentials.get(name)?.approve
    }

    /// The issuer of a credential that this agent may have for this destination, and what it is for.
    pub(crate) fn granted(
        &self,
        agent: &AgentId,
        name: &CredentialName,
        destination: &Destination,
    ) -> Result<(&Arc<Issuer>, String), Refusal> {
        // One answer for "there is none" and "not for you": a worker learns nothing of other agents' credentials.
        let credential = self.grants(agent).find(|credential| credential.grant.credential() == name);
        let credential = credential
            .ok_or_else(|| Refusal::Denied(format!("agent `{agent}` has no grant for credential `{name}`")))?;
        if !credential.grant.allows(destination) {
            let reason = format!("the grant of credential `{name}` does not list {destination}");
            return Err(Refusal::Denied(reason));
        }
        let issuer = self.issuers.get(name);
        let issuer = issuer.ok_or_else(|| Refusal::Unavailable(format!("credential `{name}` has no issuer")))?;
        Ok((issuer, scope(credential)))
    }
}

/// Where a credential may go, and what it was asked for to do there.
fn scope(credential: &Credential) -> String {
    let to: Vec<_> = credential.grant.to().iter().map(ToString::to_string).collect();
    match &credential.issuer {
        IssuerSettings::OAuth2(settings) => match &settings.wanted.scope {
            Some(scope) => format!("{}; scope {scope}", to.join(" ")),
            None => to.join(" "),
        },
        IssuerSettings::Google(settings) => match &settings.account {
            Some(account) => format!("{}; {}; scope {}", to.join(" "), account.email, account.scope.join(" ")),
            None => format!("{}; scope {}", to.join(" "), settings.wanted.scope.as_deref().unwrap_or_default()),
        },
        IssuerSettings::GitHubApp(app) => {
            let permissions: Vec<_> = app.permissions.iter().map(|(name, access)| format!("{name}:{access}")).collect();
            format!("{}; repositories {}; {}", to.join(" "), app.repositories.join(" "), permissions.join(" "))
        }
        IssuerSettings::AwsRole(role) => format!("{}; role {}", to.join(" "), role.role),
        IssuerSettings::Vault(secret) => format!("{}; {}", to.join(" "), secret.path),
        IssuerSettings::Fixed { .. } | IssuerSettings::Identity(_) | IssuerSettings::Command(_) => to.join(" "),
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
                let pair = credential.grant.signs();
                Issuer::Fixed(Fixed { value: value.clone(), pair, environment: Arc::clone(environment) })
            }
            IssuerSettings::Identity(audience) => Issuer::Identity(WorkerIdentity { audience: audience.clone() }),
            IssuerSettings::OAuth2(settings) => {
                // Reading the system's roots takes milliseconds that a broker without such an issuer need not spend.
                let system = system.get_or_insert_with(system_roots);
                let server = authorization_server(name, &settings.server, system, environment)?;
                oauth2(server, settings.wanted.clone(), &settings.grant)
            }
            IssuerSettings::AwsRole(role) => {
                let system = system.get_or_insert_with(system_roots);
                let outbound =
                    Outbound::new(system, &role.roots).map_err(|error| unusable(name, "roots", error.into()))?;
                let endpoint = endpoint(name, &role.endpoint)?;
                Issuer::AwsSts(Box::new(AwsSts { endpoint, outbound, role: (**role).clone() }))
            }
            IssuerSettings::Command(settings) => {
                let (settings, environment) = ((**settings).clone(), Arc::clone(environment));
                Issuer::Command(Box::new(CommandIssuer { settings, environment }))
            }
            IssuerSettings::Vault(secret) => {
                let system = system.get_or_insert_with(system_roots);
                let VaultSecret { login, path, field } = (**secret).clone();
                endpoint(name, &login.address)?;
                let vault = Vault::new(login, system).map_err(|error| unusable(name, "roots", error.into()))?;
                Issuer::Vault(Box::new(VaultIssuer { vault, path, field }))
            }
            IssuerSettings::Google(settings) => {
                let system = system.get_or_insert_with(system_roots);
                Issuer::GoogleSts(Box::new(google(name, settings, system, environment)?))
            }
            IssuerSettings::GitHubApp(app) => {
                let system = system.get_or_insert_with(system_roots);
                Issuer::GitHubApp(Box::new(installation(name, app, system, environment)?))
            }
        };
        issuers.insert(name.clone(), Arc::new(issuer));
    }
    Ok(issuers)
}

fn oauth2(server: AuthorizationServer, wanted: Wanted, grant: &OAuthGrant) -> Issuer {
    match grant {
        OAuthGrant::Client => Issuer::OAuth2Client(Box::new(OAuth2Client { server, wanted })),
        OAuthGrant::Exchange(audience) => {
            Issuer::TokenExchange(Box::new(TokenExchange { server, wanted, audience: audience.clone() }))
        }
        OAuthGrant::Assertion(audience) => {
            Issuer::JwtBearer(Box::new(JwtBearer { server, wanted, audience: audience.clone() }))
        }
        OAuthGrant::Federated(audience) => {
            Issuer::FederatedClient(Box::new(FederatedClient { server, wanted, audience: audience.clone() }))
        }
    }
}

fn authorization_server(
    name: &CredentialName,
    server: &OAuthServer,
    system: &RootCertStore,
    environment: &Arc<Environment>,
) -> Result<AuthorizationServer, Error> {
    Ok(AuthorizationServer {
        token_endpoint: endpoint(name, &server.token_endpoint)?,
        revocation_endpoint: server.revocation_endpoint.as_deref().map(|url| endpoint(name, url)).transpose()?,
        client: server.client.clone(),
        outbound: Outbound::new(system, &server.roots).map_err(|error| unusable(name, "roots", error.into()))?,
        environment: Arc::clone(environment),
    })
}

fn google(
    name: &CredentialName,
    settings: &GoogleFederation,
    system: &RootCertStore,
    environment: &Arc<Environment>,
) -> Result<GoogleSts, Error> {
    let GoogleFederation { server, wanted, audience, account } = settings;
    let server = authorization_server(name, server, system, environment)?;
    let account = account.as_ref().map(|settings| {
        Ok::<_, Error>(Account { settings: settings.clone(), endpoint: endpoint(name, &settings.endpoint)? })
    });
    let exchange = TokenExchange { server, wanted: wanted.clone(), audience: audience.clone() };
    Ok(GoogleSts { exchange, account: account.transpose()? })
}

fn installation(
    name: &CredentialName,
    app: &GitHubApp,
    system: &RootCertStore,
    environment: &Arc<Environment>,
) -> Result<Installation, Error> {
    let [making, own] = Installation::urls(app);
    Ok(Installation {
        app: app.clone(),
        making: endpoint(name, &making)?,
        own: endpoint(name, &own)?,
        outbound: Outbound::new(system, &app.roots).map_err(|error| unusable(name, "roots", error.into()))?,
        environment: Arc::clone(environment),
    })
}

fn endpoint(credential: &CredentialName, url: &str) -> Result<Endpoint, Error> {
    url.parse().map_err(|reason: &str| unusable(credential, &format!("`{url}`"), reason.into()))
}

fn unusable(credential: &CredentialName, what: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Issuer { credential: credential.clone(), what: what.to_owned(), source }
}
