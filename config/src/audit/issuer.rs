//! What an issuer's settings say of the life and the breadth of what it gives, and of who it is given to.
//!
//! Enters: the settings. Leaves: what is so, by key. Never: a kind of issuer that nobody thought about: each has its line here.

use std::time::Duration;

use super::Said;
use crate::credential::IssuerSettings;
use crate::error::listed;
use crate::github::{Access, GitHubApp};
use crate::google::GoogleFederation;
use crate::oauth::{OAuthGrant, OAuthSettings};
use crate::risk::Risk;
use crate::vault::VaultSecret;

/// What lives no longer is short-lived: as most authorization servers have it.
const SHORT: Duration = Duration::from_secs(60 * 60);
/// By any of these, written, an app may give itself or its friends more.
const MASTERS: [&str; 9] = [
    "administration",
    "members",
    "organization_administration",
    "organization_custom_roles",
    "organization_hooks",
    "organization_secrets",
    "repository_hooks",
    "secrets",
    "workflows",
];
/// So many permissions that are all written are more than a task.
const MANY: usize = 3;
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// What there is to say of it.
pub(super) fn said(issuer: &IssuerSettings) -> Vec<Said> {
    match issuer {
        IssuerSettings::Fixed { .. } => vec![(
            Risk::LongLived,
            "issuer",
            "it is made by hand and lives until somebody rotates it".to_owned(),
            "have it issued for each worker (`github-app`, `oauth2-client`, `token-exchange`, …); \
             or write why not: `accept = { NHI7 = \"who rotates it, and when\" }`"
                .to_owned(),
        )],
        IssuerSettings::Identity(_) => Vec::new(),
        IssuerSettings::OAuth2(settings) => oauth(settings).into_iter().collect(),
        IssuerSettings::GitHubApp(app) => github(app),
        IssuerSettings::Google(settings) => google(settings),
        IssuerSettings::AwsRole(role) => (role.duration > SHORT).then(irrevocable("duration")).into_iter().collect(),
        IssuerSettings::Vault(secret) => stored(secret).into_iter().collect(),
        // What it does is its operator's to know.
        IssuerSettings::Command(_) => Vec::new(),
    }
}

/// Whether whoever it is shown to knows which agent calls.
pub(super) fn tells_agents_apart(issuer: &IssuerSettings) -> bool {
    match issuer {
        IssuerSettings::Fixed { .. } | IssuerSettings::GitHubApp(_) => false,
        IssuerSettings::Identity(_) => true,
        IssuerSettings::OAuth2(settings) => match &settings.grant {
            OAuthGrant::Client | OAuthGrant::Federated(_) => false,
            OAuthGrant::Exchange(_) | OAuthGrant::Assertion(_) => true,
        },
        IssuerSettings::Google(settings) => settings.account.is_none(),
        IssuerSettings::AwsRole(_) => true,
        IssuerSettings::Vault(secret) => stored(secret).is_none(),
        IssuerSettings::Command(settings) => settings.audience.is_some(),
    }
}

fn oauth(OAuthSettings { wanted, .. }: &OAuthSettings) -> Option<Said> {
    let unsaid = wanted.scope.is_none() && wanted.audience.is_none() && wanted.resource.is_empty();
    unsaid.then(|| {
        let reason = "no scope is asked for, so that the server gives all that it gives by default".to_owned();
        (Risk::Overprivileged, "issuer", reason, "add `scope = \"…\"`, or `resource = [\"https://…\"]`".to_owned())
    })
}

fn github(app: &GitHubApp) -> Vec<Said> {
    let is_master = |(name, access): &(&String, &Access)| {
        **access == Access::Admin || (**access == Access::Write && MASTERS.contains(&name.as_str()))
    };
    let masters: Vec<_> = app.permissions.iter().filter(is_master).map(|(name, _)| name).collect();
    let mut said = Vec::new();
    if !masters.is_empty() {
        let reason = format!("by {} whoever has it can get more than it says", listed(masters));
        said.push((Risk::Overprivileged, "permissions", reason, "take it out, or write `read`".to_owned()));
    }
    let written = app.permissions.values().filter(|access| **access > Access::Read).count();
    if written == app.permissions.len() && written >= MANY {
        let reason = format!("all of its {written} permissions are to write");
        said.push((Risk::Overprivileged, "permissions", reason, "write `read` where that is enough".to_owned()));
    }
    said
}

fn google(GoogleFederation { wanted, account, .. }: &GoogleFederation) -> Vec<Said> {
    let scopes = match account {
        Some(account) => account.scope.iter().any(|scope| scope == CLOUD_PLATFORM),
        None => wanted.scope.iter().any(|scopes| scopes.split(' ').any(|scope| scope == CLOUD_PLATFORM)),
    };
    let mut said = Vec::new();
    if scopes {
        let reason = "`cloud-platform` is every API of Google Cloud".to_owned();
        said.push((Risk::Overprivileged, "scope", reason, "list the scopes of the APIs that are called".to_owned()));
    }
    said.extend(account.as_ref().is_some_and(|account| account.lifetime > SHORT).then(irrevocable("lifetime")));
    said
}

/// What outlives its worker by as much as was asked for.
fn irrevocable(key: &'static str) -> impl FnOnce() -> Said {
    let reason = "it lives for more than an hour, and cannot be revoked";
    let remedy = "write `15m`; it is renewed while its worker lives";
    move || (Risk::LongLived, key, reason.to_owned(), remedy.to_owned())
}

/// What lies in a KV store is as long-lived as any secret made by hand. The second version has `data` in its paths, behind the mount; the
/// first cannot be told from a dynamic secret.
fn stored(secret: &VaultSecret) -> Option<Said> {
    let segments: Vec<_> = secret.path.split('/').collect();
    let is_stored = segments.split_last().is_some_and(|(_, before)| before.iter().skip(1).any(|one| *one == "data"));
    is_stored.then(|| {
        let reason = "it lies in the store and lives until somebody rotates it there".to_owned();
        let remedy = "read a dynamic secret (`database/creds/…`), which is made for each worker; or write why not: \
                      `accept = { NHI7 = \"who rotates it, and when\" }`";
        (Risk::LongLived, "read", reason, remedy.to_owned())
    })
}
