//! `issuer = "github-app"` in credentials.toml.
//!
//! Enters: the section of a credential. Leaves: the app, its installation, and what is asked for. Never: an installation whole, by
//! leaving out which repositories and permissions.

use std::collections::BTreeMap;
use std::path::Path;

use super::beside;
use super::credential::{parse_endpoint, read_source, required};
use super::paths::read_paths;
use super::reader::{Reader, Section};
use crate::credential::IssuerSettings;
use crate::error::{Malformed, quoted};
use crate::github::{Access, GitHubApp};

const API: &str = "https://api.github.com";
/// As many as GitHub takes in one request.
const MAX_REPOSITORIES: usize = 500;
/// GitHub has some forty.
const MAX_PERMISSIONS: usize = 100;
/// The longest name of a repository; the others are shorter.
const MAX_NAME: usize = 100;

pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IssuerSettings> {
    let api = section.take("api").map_or(Some(API.to_owned()), |field| reader.value(&field, parse_api));
    let app = read_app(reader, section);
    let installation = required(reader, section, "installation_id", "installation_id = 12345678");
    let installation = installation.and_then(|field| reader.count(&field));
    let key = required(reader, section, "key", "key = { file = \"secrets/github-app.pem\" }");
    let key = key.and_then(|field| read_source(reader, &field, file));
    let repositories = read_repositories(reader, section);
    let permissions = read_permissions(reader, section);
    let roots = section.take("roots").map_or(Some(Vec::new()), |field| read_paths(reader, &field));
    Some(IssuerSettings::GitHubApp(Box::new(GitHubApp {
        api: api?,
        app: app?,
        installation: installation?,
        key: key?,
        repositories: repositories?,
        permissions: permissions?,
        roots: roots?.iter().map(|path| beside(file, path)).collect(),
    })))
}

/// `app_id`, or `client_id`, which GitHub recommends.
fn read_app(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<String> {
    let (id, client) = (section.take("app_id"), section.take("client_id"));
    match (id, client) {
        (Some(id), None) => reader.count(&id).map(|id| id.to_string()),
        (None, Some(client)) => reader.value(&client, |text| parse_name(text, "a client id", "Iv23liXXXXXXXXXXXXXX")),
        (None, None) => {
            reader.missing(section, "client_id", "client_id = \"Iv23li…\"`, or `app_id = 12345");
            None
        }
        (Some(_), Some(client)) => {
            reader.mistake_at(&client, "the app is named by `app_id` already", "leave one of them out");
            None
        }
    }
}

fn read_repositories(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Vec<String>> {
    let field = required(reader, section, "repositories", "repositories = [\"website\"]")?;
    let without = "list the repositories that the agent works on";
    let repositories = reader.some_values(&field, without, |text| match text.split_once('/') {
        Some((_, name)) => Err(Malformed::new(
            format!("{} has an owner", quoted(text)),
            format!("write {}: the installation says whose they are", quoted(name)),
        )),
        None => parse_name(text, "the name of a repository", "website"),
    })?;
    if repositories.len() > MAX_REPOSITORIES {
        let reason = format!("GitHub takes {MAX_REPOSITORIES} at a time, and these are {}", repositories.len());
        reader.mistake_at(&field, reason, "list those that the agent works on");
        return None;
    }
    Some(repositories)
}

fn read_permissions(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<BTreeMap<String, Access>> {
    const EXAMPLE: &str = "permissions = { contents = \"read\", pull_requests = \"write\" }";
    let field = required(reader, section, "permissions", EXAMPLE)?;
    let written = reader.section(&field)?.take_all();
    if written.is_empty() || written.len() > MAX_PERMISSIONS {
        let reason = match written.len() {
            0 => "the table is empty, which would mean all that the installation has".to_owned(),
            many => format!("GitHub has no {many} permissions"),
        };
        reader.mistake_at(&field, reason, format!("write `{EXAMPLE}`"));
        return None;
    }
    let count = written.len();
    let mut permissions = BTreeMap::new();
    for (name, field) in written {
        let known = name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if !known {
            let reason = format!("{} is not the name of a permission", quoted(name));
            reader.mistake_at(&field, reason, "write it as the REST API does: `pull_requests`");
            continue;
        }
        permissions.extend(reader.value(&field, str::parse).map(|access| (name.to_owned(), access)));
    }
    (permissions.len() == count).then_some(permissions)
}

/// The base of the API: an endpoint to which paths are added.
fn parse_api(text: &str) -> Result<String, Malformed> {
    let url = parse_endpoint(text)?;
    match url.contains('?') {
        false => Ok(url.trim_end_matches('/').to_owned()),
        true => Err(Malformed::new(
            format!("{} is not the base of an API", quoted(text)),
            format!("write `{API}`, or `https://github.example.com/api/v3` for a server of your own"),
        )),
    }
}

fn parse_name(text: &str, what: &str, example: &str) -> Result<String, Malformed> {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    match fits && text.len() <= MAX_NAME {
        true => Ok(text.to_owned()),
        false => Err(Malformed::new(format!("{} is not {what}", quoted(text)), format!("write it like `{example}`"))),
    }
}
