//! `issuer = "google-sts"` and `issuer = "azure-federated"` in credentials.toml: clouds that trust the broker's keys.
//!
//! Enters: the section of a credential. Leaves: where to ask, for whom the worker's identity is signed, and what for. Never: a secret of
//! ours; a scope that nobody wrote.

use std::path::Path;
use std::time::Duration;

use super::beside;
use super::credential::{parse_endpoint, parse_visible, required};
use super::oauth::{lifted, parse_audience};
use super::paths::read_paths;
use super::reader::{Field, Reader, Section};
use crate::credential::IssuerSettings;
use crate::error::{Malformed, quoted};
use crate::google::{GoogleFederation, ServiceAccount};
use crate::identity::{Audience, SigningAlgorithm};
use crate::limits::parse_duration;
use crate::oauth::{ClientProof, OAuthClient, OAuthGrant, OAuthServer, OAuthSettings, Wanted};

const STS: &str = "https://sts.googleapis.com/v1/token";
const ACCOUNTS: &str = "https://iamcredentials.googleapis.com";
/// What the pool's identity needs to stand for a service account, and no more.
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";
/// A worker that is gone leaves what cannot be revoked for so long at most; a lease is renewed well before.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Renewals should not be all that is done, and Google takes no more than twelve hours.
const LIFETIMES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(12 * 3600)];
const ENTRA: &str = "https://login.microsoftonline.com";
/// For whom Entra wants what it is shown.
const ENTRA_AUDIENCE: &str = "api://AzureADTokenExchange";

/// `issuer = "google-sts"`
pub(super) fn read_google(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IssuerSettings> {
    let provider = required(
        reader,
        section,
        "provider",
        "provider = \"projects/123/locations/global/workloadIdentityPools/agents/providers/exeat\"",
    );
    let provider = provider.and_then(|field| reader.value(&field, parse_provider));
    let scope =
        required(reader, section, "scope", "scope = [\"https://www.googleapis.com/auth/devstorage.read_only\"]");
    let scope = scope.and_then(|field| reader.some_values(&field, "list what the agent does there", parse_scope));
    let sts = section.take("token_endpoint").map_or(Some(STS.to_owned()), |field| reader.value(&field, parse_endpoint));
    let name = lifted(section.take("identity_audience").map(|field| reader.value(&field, parse_audience)));
    let algorithm = lifted(section.take("algorithm").map(|field| reader.value(&field, str::parse)));
    let account = read_account(reader, section, scope.as_deref());
    let roots = section.take("roots").map_or(Some(Vec::new()), |field| read_paths(reader, &field));
    let (provider, scope, account) = (provider?, scope?, account?);
    let name = name?.unwrap_or_else(|| format!("https://iam.googleapis.com/{provider}"));
    let scope = if account.is_some() { IAM_SCOPE.to_owned() } else { scope.join(" ") };
    Some(IssuerSettings::Google(Box::new(GoogleFederation {
        server: OAuthServer {
            token_endpoint: sts?,
            revocation_endpoint: None,
            roots: roots?.iter().map(|path| beside(file, path)).collect(),
            client: None,
        },
        wanted: Wanted {
            scope: Some(scope),
            audience: Some(format!("//iam.googleapis.com/{provider}")),
            resource: Vec::new(),
        },
        audience: Audience { name, algorithm: algorithm? },
        account,
    })))
}

/// The service account, if there is one. `None` where there is a mistake.
fn read_account(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    scope: Option<&[String]>,
) -> Option<Option<ServiceAccount>> {
    let email = section.take("service_account");
    let [lifetime, endpoint] = [section.take("lifetime"), section.take("credentials_endpoint")];
    let Some(email) = email else {
        let Some(stray) = lifetime.or(endpoint) else { return Some(None) };
        let reason = "it is about a service account, and there is no `service_account`";
        reader.mistake_at(
            &stray,
            reason,
            "add `service_account = \"bot@project.iam.gserviceaccount.com\"`, or leave it out",
        );
        return None;
    };
    let email = reader.value(&email, parse_email);
    let lifetime = lifetime.map_or(Some(LIFETIME), |field| reader.value(&field, parse_lifetime));
    let base = endpoint.map_or(Some(ACCOUNTS.to_owned()), |field| base(reader, &field));
    let (email, base) = (email?, base?);
    let endpoint = format!("{base}/v1/projects/-/serviceAccounts/{email}:generateAccessToken");
    Some(Some(ServiceAccount { email, endpoint, scope: scope?.to_vec(), lifetime: lifetime? }))
}

/// `issuer = "azure-federated"`
pub(super) fn read_azure(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IssuerSettings> {
    let tenant = required(reader, section, "tenant", "tenant = \"00000000-0000-0000-0000-000000000000\"");
    let tenant = tenant.and_then(|field| {
        reader
            .value(&field, |text| parse_word(text, "a tenant", "its id, or a domain of it: `example.onmicrosoft.com`"))
    });
    let client = required(reader, section, "client_id", "client_id = \"00000000-0000-0000-0000-000000000000\"");
    let client = client.and_then(|field| {
        reader.value(&field, |text| parse_word(text, "the id of an application", "the id, not the name"))
    });
    let scope = required(reader, section, "scope", "scope = \"https://storage.azure.com/.default\"");
    let scope = scope.and_then(|field| reader.value(&field, parse_visible));
    let authority = section.take("authority").map_or(Some(ENTRA.to_owned()), |field| base(reader, &field));
    let name = section.take("identity_audience");
    let name = name.map_or(Some(ENTRA_AUDIENCE.to_owned()), |field| reader.value(&field, parse_audience));
    let roots = section.take("roots").map_or(Some(Vec::new()), |field| read_paths(reader, &field));
    let (authority, tenant) = (authority?, tenant?);
    let server = OAuthServer {
        token_endpoint: format!("{authority}/{tenant}/oauth2/v2.0/token"),
        revocation_endpoint: None,
        roots: roots?.iter().map(|path| beside(file, path)).collect(),
        client: Some(OAuthClient { id: client?, proof: ClientProof::None }),
    };
    let wanted = Wanted { scope: Some(scope?), ..Wanted::default() };
    // Entra takes nothing else.
    let grant = OAuthGrant::Federated(Audience { name: name?, algorithm: Some(SigningAlgorithm::Rs256) });
    Some(IssuerSettings::OAuth2(Box::new(OAuthSettings { server, wanted, grant })))
}

/// A URL to which a path is added.
fn base(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let url = reader.value(field, parse_endpoint)?;
    if url.contains('?') {
        reader.mistake_at(field, "a path is added to it, and it has a query", format!("write it like `{ENTRA}`"));
        return None;
    }
    Some(url.trim_end_matches('/').to_owned())
}

/// The resource name of a provider, with or without the service's name before it.
fn parse_provider(text: &str) -> Result<String, Malformed> {
    let name = text.strip_prefix("//iam.googleapis.com/").unwrap_or(text);
    let parts: Vec<_> = name.split('/').collect();
    let is_word = |part: &str| {
        !part.is_empty() && part.len() <= 64 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match parts[..] {
        ["projects", project, "locations", location, "workloadIdentityPools", pool, "providers", provider]
            if [project, location, pool, provider].into_iter().all(is_word) =>
        {
            Ok(name.to_owned())
        }
        _ => Err(Malformed::new(
            format!("{} is not the resource name of a provider", quoted(text)),
            "write `projects/123/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`",
        )),
    }
}

fn parse_scope(text: &str) -> Result<String, Malformed> {
    match text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => {
            Err(Malformed::new(format!("{} is not a scope", quoted(text)), "write each as an element of the list"))
        }
    }
}

fn parse_email(text: &str) -> Result<String, Malformed> {
    let fits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    match text.split_once('@') {
        Some((name, domain)) if text.len() <= 254 && fits(name) && fits(domain) => Ok(text.to_owned()),
        _ => Err(Malformed::new(
            format!("{} is not a service account", quoted(text)),
            "write its email address: `bot@project.iam.gserviceaccount.com`",
        )),
    }
}

fn parse_lifetime(text: &str) -> Result<Duration, Malformed> {
    let lifetime = parse_duration(text)?;
    let [shortest, longest] = LIFETIMES;
    match (shortest..=longest).contains(&lifetime) {
        true => Ok(lifetime),
        false => Err(Malformed::new(
            format!("{} is not between a minute and twelve hours", quoted(text)),
            "write `15m`; more than `1h` only where an organisation's policy allows it",
        )),
    }
}

fn parse_word(text: &str, what: &str, hint: &str) -> Result<String, Malformed> {
    match text.len() <= 254 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) {
        true => Ok(text.to_owned()),
        false => Err(Malformed::new(format!("{} is not {what}", quoted(text)), format!("write {hint}"))),
    }
}
