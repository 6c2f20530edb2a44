//! The credentials, as the identity team writes them for the broker.
//!
//! Enters: credentials.toml. Leaves: for each credential its grant, its agents, its placeholder's shape and its
//! issuer. Never: a secret itself, only where the broker finds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::{AgentId, CredentialName};
use crate::aws::AwsRole;
use crate::command::CommandSettings;
use crate::error::{LoadError, Mistake, listed};
use crate::file;
use crate::github::GitHubApp;
use crate::google::GoogleFederation;
use crate::grant::Grant;
use crate::identity::Audience;
use crate::oauth::{OAuthGrant, OAuthSettings};
use crate::policy::Policy;
use crate::risk::Risk;
use crate::shape::Shape;
use crate::vault::VaultSecret;

/// All credentials there are. One that exists is valid.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    pub(crate) by_name: BTreeMap<CredentialName, Credential>,
}

/// One credential.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its public part.
    pub grant: Grant,
    /// The agents that may use it.
    pub agents: Vec<AgentId>,
    /// What its placeholders look like.
    pub shape: Shape,
    /// The id that goes with it, where it has one.
    pub id: Option<Id>,
    /// Where it comes from.
    pub issuer: IssuerSettings,
    /// Where each worker needs a person's permission to use it: how long a call waits for that.
    pub approve: Option<Duration>,
    /// What may be wrong with it and has to be so, with the reason.
    pub accepted: BTreeMap<Risk, String>,
    /// Where it stands.
    pub written: Written,
}

/// Where a credential and its keys stand in the file: line and column, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub(crate) file: String,
    pub(crate) at: (usize, usize),
    pub(crate) keys: BTreeMap<String, (usize, usize)>,
}

impl Written {
    /// The file, as it was named to us.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether it has this key.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Where a key stands, or where it would.
    pub fn place(&self, key: &str) -> (usize, usize) {
        self.keys.get(key).copied().unwrap_or(self.at)
    }
}

/// How long a call waits for permission where nothing else is said: most clients give up after 30 s, and the issuer is yet to be asked.
pub const PERMISSION_WAIT: Duration = Duration::from_secs(20);
/// The longest that may be said. A person who needs longer finds the request later, and the agent calls again.
pub(crate) const LONGEST_PERMISSION_WAIT: Duration = Duration::from_secs(120);

/// The id of a key, for which a placeholder of its own stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// What that looks like.
    pub shape: Shape,
    /// The variable that holds it in the sandbox.
    pub env: Option<String>,
}

impl Credential {
    /// The grant of each placeholder that stands for a part of it, with its shape.
    pub fn placeholders(&self) -> impl Iterator<Item = (Grant, &Shape)> {
        let id = self.id.as_ref().map(|id| (self.grant.of_id(id.env.clone()), &id.shape));
        [(self.grant.clone(), &self.shape)].into_iter().chain(id)
    }
}

/// How the broker gets a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerSettings {
    /// One that someone has made by hand.
    Fixed {
        /// Where it is.
        value: Source,
    },
    /// The worker's own identity, for one audience.
    Identity(Audience),
    /// An authorization server.
    OAuth2(Box<OAuthSettings>),
    /// A role at AWS, by the worker's identity.
    AwsRole(Box<AwsRole>),
    /// A Vault server, by the worker's identity.
    Vault(Box<VaultSecret>),
    /// A program.
    Command(Box<CommandSettings>),
    /// An installation of a GitHub App.
    GitHubApp(Box<GitHubApp>),
    /// Google, by the worker's identity.
    Google(Box<GoogleFederation>),
}

impl IssuerSettings {
    /// Whom the worker's identity is shown, where this issuer shows it to anyone.
    pub fn audience(&self) -> Option<&Audience> {
        match self {
            Self::Fixed { .. } | Self::GitHubApp(_) => None,
            Self::Identity(audience) => Some(audience),
            Self::AwsRole(role) => Some(&role.audience),
            Self::Vault(secret) => Some(&secret.login.audience),
            Self::Command(command) => command.audience.as_ref(),
            Self::Google(settings) => Some(&settings.audience),
            Self::OAuth2(settings) => match &settings.grant {
                OAuthGrant::Client => None,
                OAuthGrant::Exchange(audience) | OAuthGrant::Assertion(audience) | OAuthGrant::Federated(audience) => {
                    Some(audience)
                }
            },
        }
    }
}

impl IssuerSettings {
    /// Where the long-lived secrets are that it needs.
    pub fn sources(&self) -> Vec<&Source> {
        match self {
            Self::Fixed { value } => vec![value],
            Self::OAuth2(settings) => {
                settings.server.client.iter().filter_map(|client| client.proof.source()).collect()
            }
            Self::GitHubApp(app) => vec![&app.key],
            Self::Identity(_) | Self::AwsRole(_) | Self::Google(_) | Self::Vault(_) | Self::Command(_) => Vec::new(),
        }
    }

    /// The programs that are run for it, each with its arguments.
    pub fn programs(&self) -> Vec<&[String]> {
        match self {
            Self::Command(command) => {
                [Some(&command.issue), command.revoke.as_ref()].into_iter().flatten().map(Vec::as_slice).collect()
            }
            _ => self.sources().into_iter().filter_map(Source::program).collect(),
        }
    }

    /// The files with roots by which those are believed that it asks.
    pub fn roots(&self) -> Vec<&Path> {
        let own: &[PathBuf] = match self {
            Self::OAuth2(settings) => &settings.server.roots,
            Self::Google(settings) => &settings.server.roots,
            Self::AwsRole(role) => &role.roots,
            Self::Vault(secret) => &secret.login.roots,
            Self::GitHubApp(app) => &app.roots,
            Self::Fixed { .. } | Self::Identity(_) | Self::Command(_) => &[],
        };
        own.iter().chain(self.sources().into_iter().flat_map(Source::roots)).map(PathBuf::as_path).collect()
    }

    /// Everybody to whom the worker's identity or the broker's own is shown.
    pub fn audiences(&self) -> impl Iterator<Item = &Audience> {
        self.audience().into_iter().chain(self.sources().into_iter().filter_map(Source::audience))
    }
}

/// Where a long-lived secret is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// In a variable of the broker's environment.
    Env(String),
    /// On the standard output of a command.
    Command(Vec<String>),
    /// A credential that systemd gave to the broker's unit, by its name.
    Systemd(String),
    /// A key of the type `user` in the kernel's keyrings, by its description.
    Keyring(String),
    /// At a Vault server, read as the broker itself.
    Vault(Box<VaultSecret>),
}

impl Source {
    /// The files with roots by which the server is believed that has it, where one does.
    pub fn roots(&self) -> &[PathBuf] {
        match self {
            Self::Vault(secret) => &secret.login.roots,
            Self::File(_) | Self::Env(_) | Self::Command(_) | Self::Systemd(_) | Self::Keyring(_) => &[],
        }
    }

    /// The program that prints it, with its arguments, where one does.
    pub fn program(&self) -> Option<&[String]> {
        match self {
            Self::Command(words) => Some(words),
            Self::File(_) | Self::Env(_) | Self::Systemd(_) | Self::Keyring(_) | Self::Vault(_) => None,
        }
    }

    /// Whom the broker's own identity is shown, where this source shows it to anyone.
    pub fn audience(&self) -> Option<&Audience> {
        match self {
            Self::Vault(secret) => Some(&secret.login.audience),
            Self::File(_) | Self::Env(_) | Self::Command(_) | Self::Systemd(_) | Self::Keyring(_) => None,
        }
    }
}

impl Credentials {
    /// Reads credentials.toml.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        file::load_credentials(path.as_ref())
    }

    /// Reads credentials.toml from text. Paths in it are relative to the directory of `file`.
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Self, LoadError> {
        file::parse_credentials(file.as_ref(), text)
    }

    /// The credential of this name.
    pub fn get(&self, name: &CredentialName) -> Option<&Credential> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Credential> {
        self.by_name.values()
    }

    /// Those that list this agent.
    pub fn for_agent<'a>(&'a self, agent: &'a AgentId) -> impl Iterator<Item = &'a Credential> {
        self.iter().filter(move |credential| credential.agents.contains(agent))
    }
}

/// What only shows when both files are read: a rule that names a credential which is not there, not for its agent, or
/// not for all of its destinations.
pub fn cross_check(policies: &[Policy], credentials: &Credentials) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for policy in policies {
        for rule in policy.rules() {
            let Some(name) = rule.credential() else { continue };
            let Some((reason, remedy)) = disagreement(policy.agent(), rule, name, credentials) else { continue };
            let key = format!("allow[{}].credential", rule.id.number);
            let (line, column) = rule.credential_at;
            mistakes.push(Mistake { file: policy.file.clone(), line, column, key, reason, remedy });
        }
    }
    mistakes
}

fn disagreement(
    agent: &AgentId,
    rule: &crate::rule::Rule,
    name: &CredentialName,
    credentials: &Credentials,
) -> Option<(String, String)> {
    let Some(credential) = credentials.get(name) else {
        let known = listed(credentials.by_name.keys());
        let known = if known.is_empty() { "there are none yet".to_owned() } else { format!("there are {known}") };
        return Some((format!("there is no credential `{name}`"), format!("add it to the credentials file; {known}")));
    };
    if !credential.agents.contains(agent) {
        let remedy = format!("add `{agent}` to `agents` of `{name}` in the credentials file");
        return Some((format!("credential `{name}` is not for agent `{agent}`"), remedy));
    }
    if !credential.grant.to().iter().any(|pattern| pattern.covers(rule.to())) {
        let remedy = format!("add `{}` to `to` of `{name}` in the credentials file, or narrow the rule", rule.to());
        return Some((format!("credential `{name}` is not for all of `{}`", rule.to()), remedy));
    }
    None
}
