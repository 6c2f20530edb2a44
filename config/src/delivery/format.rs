//! The formats that clients read credentials from.
//!
//! Enters: the shares of one file. Leaves: its text. Never: an escape; what is put in has letters, digits and marks that mean themselves in
//! each of these formats, which is seen to where `credentials.toml` is read.

use std::fmt::Write as _;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::{Delivery, Share};
use crate::destination::Destination;
use crate::placeholder::NoRandomBytes;

/// Where a service account's client asks for an access token, if its file names no other place.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// How a file is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    Netrc,
    Npmrc,
    Pypirc,
    Aws,
    Docker,
    Kubeconfig,
    Gh,
    Git,
    GoogleServiceAccount,
    /// As the credential's file has it, with `{placeholder}`, `{id}`, `{user}` and `{host}` in it.
    Text(String),
}

impl Format {
    /// Those that have names: the name, the path below the home where clients look, and the user where none is given.
    pub const NAMED: [(&str, Format, &str, &str); 9] = [
        ("netrc", Format::Netrc, ".netrc", "x-access-token"),
        ("npmrc", Format::Npmrc, ".npmrc", ""),
        ("pypirc", Format::Pypirc, ".pypirc", "__token__"),
        ("aws", Format::Aws, ".aws/credentials", "default"),
        ("docker", Format::Docker, ".docker/config.json", "x-access-token"),
        ("kubeconfig", Format::Kubeconfig, ".kube/config", "agent"),
        ("gh", Format::Gh, ".config/gh/hosts.yml", "agent"),
        // Where git looks beside ~/.gitconfig, which stays free for `git config --global`.
        ("git", Format::Git, ".config/git/config", "x-access-token"),
        (
            "google-service-account",
            Format::GoogleServiceAccount,
            ".config/gcloud/application_default_credentials.json",
            "agent@exeat.iam.gserviceaccount.com",
        ),
    ];

    /// The place, as a grant's `in` has it, in which its clients send the credential.
    pub fn place(&self) -> Option<&'static str> {
        match self {
            Self::Netrc | Self::Pypirc | Self::Docker | Self::Git => Some("basic"),
            Self::Npmrc | Self::Kubeconfig | Self::Gh | Self::GoogleServiceAccount => Some("header"),
            Self::Aws | Self::Text(_) => None,
        }
    }

    /// Whether it has an entry for each host.
    pub fn is_by_host(&self) -> bool {
        !matches!(self, Self::Aws | Self::GoogleServiceAccount | Self::Text(_))
    }

    /// A host as its clients call it. Ports are not known to netrc, Docker Hub goes by a name that is none of its hosts', and `gh` by the name
    /// of what people visit.
    pub fn host(&self, authority: String) -> String {
        match (self, authority.as_str()) {
            (Self::Netrc, _) => name(&authority).to_owned(),
            (Self::Docker, "index.docker.io" | "registry-1.docker.io" | "auth.docker.io") => {
                "https://index.docker.io/v1/".to_owned()
            }
            (Self::Gh, "api.github.com" | "uploads.github.com") => "github.com".to_owned(),
            _ => authority,
        }
    }

    /// Whether a file of it is for one credential only.
    pub fn is_one_credentials(&self) -> bool {
        matches!(self, Self::GoogleServiceAccount | Self::Text(_))
    }
}

/// The file of these shares, which are of one format.
pub(crate) fn render(shares: &[Share<'_>], roots: &str) -> Result<String, NoRandomBytes> {
    let Some(Share { delivery, .. }) = shares.first() else { return Ok(String::new()) };
    Ok(match &delivery.format {
        Format::Netrc => by_host(shares, netrc),
        Format::Npmrc => shares.iter().map(npmrc).collect(),
        Format::Pypirc => pypirc(shares),
        Format::Aws => shares.iter().map(aws).collect(),
        Format::Docker => docker(shares),
        Format::Kubeconfig => kubeconfig(shares, roots),
        Format::Gh => by_host(shares, gh),
        Format::Git => by_host(shares, git),
        Format::GoogleServiceAccount => google(&shares[0])?,
        Format::Text(text) => filled(text, &shares[0]),
    })
}

fn by_host(shares: &[Share<'_>], entry: fn(&Share<'_>, &str) -> String) -> String {
    shares.iter().flat_map(|share| share.delivery.hosts.iter().map(move |host| entry(share, host))).collect()
}

/// A host as in a URL, without its port.
fn name(host: &str) -> &str {
    host.split(':').next().unwrap_or(host)
}

fn basic(share: &Share<'_>) -> String {
    BASE64_STANDARD.encode(format!("{}:{}", share.delivery.user, share.placeholder))
}

fn netrc(share: &Share<'_>, host: &str) -> String {
    format!("machine {host} login {} password {}\n", share.delivery.user, share.placeholder)
}

fn npmrc(share: &Share<'_>) -> String {
    let mut text = String::new();
    let mut places: Vec<String> = share.delivery.hosts.iter().map(|host| format!("//{host}/")).collect();
    if let Some(url) = &share.delivery.url {
        let _ = writeln!(text, "registry={url}");
        places.extend(url.strip_prefix("https:").map(str::to_owned));
    }
    places.dedup();
    for place in places {
        let _ = writeln!(text, "{place}:_authToken={}", share.placeholder);
    }
    text
}

/// A repository for each credential, by its name; the Python Package Index has one of its own.
fn pypirc(shares: &[Share<'_>]) -> String {
    let (mut names, mut sections) = (String::new(), String::new());
    for Share { delivery, credential, placeholder, .. } in shares {
        let host = delivery.hosts.first().map_or("", String::as_str);
        let repository = delivery.url.clone().unwrap_or_else(|| format!("https://{host}/legacy/"));
        let name = if host == "upload.pypi.org" { "pypi" } else { credential.as_str() };
        let user = &delivery.user;
        let _ = writeln!(names, "    {name}");
        let _ =
            write!(sections, "\n[{name}]\nrepository = {repository}\nusername = {user}\npassword = {placeholder}\n");
    }
    format!("[distutils]\nindex-servers =\n{names}{sections}")
}

fn aws(share: &Share<'_>) -> String {
    let Share { delivery, placeholder, id, .. } = share;
    format!("[{}]\naws_access_key_id = {id}\naws_secret_access_key = {placeholder}\n", delivery.user)
}

fn docker(shares: &[Share<'_>]) -> String {
    let entries = by_host(shares, |share, host| format!(",\n    \"{host}\": {{ \"auth\": \"{}\" }}", basic(share)));
    format!("{{\n  \"auths\": {{{}\n  }}\n}}\n", entries.trim_start_matches(','))
}

fn kubeconfig(shares: &[Share<'_>], roots: &str) -> String {
    let (mut clusters, mut users, mut contexts) = (String::new(), String::new(), String::new());
    for Share { delivery, credential, placeholder, .. } in shares {
        let user = format!("{}-{credential}", delivery.user);
        let _ = write!(users, "- name: \"{user}\"\n  user:\n    token: \"{placeholder}\"\n");
        for host in &delivery.hosts {
            let _ = write!(
                clusters,
                "- name: \"{host}\"\n  cluster:\n    server: \"https://{host}\"\n    certificate-authority: \"{roots}\"\n"
            );
            let _ = write!(contexts, "- name: \"{host}\"\n  context:\n    cluster: \"{host}\"\n    user: \"{user}\"\n");
        }
    }
    let first = shares.iter().flat_map(|share| &share.delivery.hosts).next().map_or("", String::as_str);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n{clusters}users:\n{users}contexts:\n{contexts}current-context: \"{first}\"\n"
    )
}

fn gh(share: &Share<'_>, host: &str) -> String {
    let (user, placeholder) = (&share.delivery.user, share.placeholder);
    format!("\"{host}\":\n    user: \"{user}\"\n    oauth_token: \"{placeholder}\"\n    git_protocol: https\n")
}

/// What would go over SSH goes over HTTPS, with the credential from the first request on.
fn git(share: &Share<'_>, host: &str) -> String {
    let (ssh, basic) = (name(host), basic(share));
    format!(
        "[url \"https://{host}/\"]\n\tinsteadOf = \"git@{ssh}:\"\n\tinsteadOf = \"ssh://git@{ssh}/\"\n\
         [http \"https://{host}/\"]\n\textraHeader = \"Authorization: Basic {basic}\"\n"
    )
}

/// Clients refuse a file whose key does not parse: it has one that was made for it and is good for nothing else. They say which key they
/// sign with, by its id, which is a placeholder.
fn google(share: &Share<'_>) -> Result<String, NoRandomBytes> {
    let Share { delivery, id, .. } = share;
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| NoRandomBytes)?;
    let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| NoRandomBytes)?;
    let lines = BASE64_STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = lines.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let key = format!("-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----\\n", lines.join("\\n"));
    let project = delivery.user.split_once('@').and_then(|(_, host)| host.split('.').next()).unwrap_or("exeat");
    let token = delivery.token_url();
    Ok(format!(
        "{{\n  \"type\": \"service_account\",\n  \"project_id\": \"{project}\",\n  \"private_key_id\": \"{id}\",\n  \
         \"private_key\": \"{key}\",\n  \"client_email\": \"{}\",\n  \"client_id\": \"1\",\n  \"token_uri\": \"{token}\",\n  \
         \"universe_domain\": \"googleapis.com\"\n}}\n",
        delivery.user
    ))
}

impl Delivery {
    /// Where its client sends an assertion.
    pub(crate) fn token_url(&self) -> &str {
        self.url.as_deref().unwrap_or(TOKEN_URL)
    }

    /// Whether its client sends assertions there.
    pub(crate) fn asserts_at(&self, to: &Destination, path: &str) -> bool {
        let rest = self.token_url().strip_prefix("https://").unwrap_or_default();
        let (authority, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_there = || Destination::parse_authority(authority, 443).is_ok_and(|own| own == *to);
        self.format == Format::GoogleServiceAccount && path == (if rest.is_empty() { "/" } else { rest }) && is_there()
    }
}

fn filled(text: &str, share: &Share<'_>) -> String {
    let Share { delivery, placeholder, id, .. } = share;
    let host = delivery.hosts.first().map_or("", String::as_str);
    // None of them can bring in the name of another: they have no braces.
    text.replace("{placeholder}", placeholder)
        .replace("{id}", id)
        .replace("{user}", &delivery.user)
        .replace("{host}", host)
}
