//! The issuers of credentials.toml that are authorization servers, and the one that is the broker itself.
//!
//! Enters: the section of a credential. Leaves: the server, who the broker is there, what is asked for and by what right.
//! Never: two ways to authenticate, or one without what it needs.

use std::path::Path;

use super::beside;
use super::credential::{parse_endpoint, parse_visible, read_source, required};
use super::paths::read_paths;
use super::reader::{Field, Reader, Section};
use crate::credential::{IssuerSettings, Source};
use crate::error::{Malformed, quoted};
use crate::identity::Audience;
use crate::oauth::{ClientProof, OAuthClient, OAuthGrant, OAuthServer, OAuthSettings, Wanted};

/// What `auth` can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Auth {
    Basic,
    Post,
    PrivateKeyJwt,
}

/// `issuer = "oauth2-client"`
pub(super) fn read_client(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IssuerSettings> {
    const SECRET: &str = "client_secret = { file = \"secrets/client-secret\" }";
    // The grant is for clients that can show who they are.
    let [has_id, has_secret, has_key] =
        ["client_id", "client_secret", "private_key"].map(|key| section.peek(key).is_some());
    if !has_id {
        reader.missing(section, "client_id", "client_id = \"…\"");
    }
    if !has_secret && !has_key {
        reader.missing(
            section,
            "client_secret",
            &format!("{SECRET}`, or `private_key = {{ file = \"secrets/client.pem\" }}"),
        );
    }
    let (server, wanted) = (read_server(reader, section, file), read_wanted(reader, section));
    settings(server?, wanted?, OAuthGrant::Client)
}

/// `issuer = "token-exchange"`
pub(super) fn read_exchange(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IssuerSettings> {
    let (server, wanted) = (read_server(reader, section, file), read_wanted(reader, section));
    let audience = read_identity_audience(reader, section, server.as_ref());
    settings(server?, wanted?, OAuthGrant::Exchange(audience?))
}

/// `issuer = "jwt-bearer"`
pub(super) fn read_bearer(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IssuerSettings> {
    let (server, wanted) = (read_server(reader, section, file), read_wanted(reader, section));
    let audience = read_identity_audience(reader, section, server.as_ref());
    settings(server?, wanted?, OAuthGrant::Assertion(audience?))
}

/// `issuer = "identity"`
pub(super) fn read_identity(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<IssuerSettings> {
    let name = required(reader, section, "audience", "audience = \"https://api.example.com\"");
    let name = name.and_then(|field| reader.value(&field, parse_audience));
    let algorithm = section.take("algorithm").map(|field| reader.value(&field, str::parse));
    Some(IssuerSettings::Identity(Audience { name: name?, algorithm: lifted(algorithm)? }))
}

fn settings(server: OAuthServer, wanted: Wanted, grant: OAuthGrant) -> Option<IssuerSettings> {
    Some(IssuerSettings::OAuth2(Box::new(OAuthSettings { server, wanted, grant })))
}

fn read_server(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<OAuthServer> {
    let endpoint = required(reader, section, "token_endpoint", "token_endpoint = \"https://login.example.com/token\"");
    let token_endpoint = endpoint.and_then(|field| reader.value(&field, parse_endpoint));
    let revocation_endpoint = section.take("revocation_endpoint").map(|field| reader.value(&field, parse_endpoint));
    let roots = section.take("roots").map_or(Some(Vec::new()), |field| read_paths(reader, &field));
    let client = read_oauth_client(reader, section, file);
    Some(OAuthServer {
        token_endpoint: token_endpoint?,
        revocation_endpoint: lifted(revocation_endpoint)?,
        roots: roots?.iter().map(|path| beside(file, path)).collect(),
        client: client?,
    })
}

/// The client, if the credential says that the broker is one. `None` where there is a mistake.
fn read_oauth_client(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<Option<OAuthClient>> {
    let id_field = section.take("client_id");
    let id = id_field.as_ref().map(|field| reader.value(field, parse_visible));
    let auth_field = section.take("auth");
    let auth = lifted(auth_field.as_ref().map(|field| reader.value(field, parse_auth)));
    let (secret_field, key_field) = (section.take("client_secret"), section.take("private_key"));
    let secret = lifted(secret_field.as_ref().map(|field| read_source(reader, field, file)));
    let key = lifted(key_field.as_ref().map(|field| read_source(reader, field, file)));
    let key_id = section.take("key_id");
    let audience = section.take("assertion_audience");
    if let (Some(field), None) = (&key_id.as_ref().or(audience.as_ref()), &key_field) {
        reader.mistake_at(field, "there is no `private_key` here, so no assertion is signed", "leave the key out");
        return None;
    }
    let key_id = lifted(key_id.map(|field| reader.value(&field, parse_visible)));
    let audience = lifted(audience.map(|field| reader.value(&field, parse_visible)));
    let (Some(auth), Some(secret), Some(key)) = (auth, secret, key) else { return None };
    let proof = match (auth, secret, key) {
        (None | Some(Auth::Basic), Some(secret), None) => ClientProof::Basic(secret),
        (Some(Auth::Post), Some(secret), None) => ClientProof::Post(secret),
        (None | Some(Auth::PrivateKeyJwt), None, Some(key)) => {
            ClientProof::PrivateKey { key, key_id: key_id?, audience: audience? }
        }
        (None, None, None) => ClientProof::None,
        (auth, secret, key) => {
            let field = key_field.as_ref().or(auth_field.as_ref())?;
            let (reason, remedy) = disagreement(auth, secret.as_ref(), key.as_ref());
            reader.mistake_at(field, reason, remedy);
            return None;
        }
    };
    match (lifted(id)?, secret_field.or(key_field)) {
        (Some(id), _) => Some(Some(OAuthClient { id, proof })),
        (None, None) => Some(None),
        (None, Some(field)) => {
            reader.mistake_at(&field, "it is no client's, as there is no `client_id`", "add `client_id = \"…\"`");
            None
        }
    }
}

/// Why these do not go together, and what does.
fn disagreement(auth: Option<Auth>, secret: Option<&Source>, key: Option<&Source>) -> (&'static str, &'static str) {
    match (auth, secret, key) {
        (_, Some(_), Some(_)) => {
            ("a client shows one thing, and here are two", "leave out `client_secret`, or `private_key`")
        }
        (Some(Auth::PrivateKeyJwt), ..) => {
            ("`private_key_jwt` needs the client's key", "add `private_key = { file = \"secrets/client.pem\" }`")
        }
        (Some(_), _, Some(_)) => ("a key is shown by `private_key_jwt` only", "leave `auth` out"),
        _ => ("`basic` and `post` need a secret", "add `client_secret = { file = \"secrets/client-secret\" }`"),
    }
}

fn read_wanted(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Wanted> {
    let scope = section.take("scope").map(|field| reader.value(&field, parse_visible));
    let audience = section.take("audience").map(|field| reader.value(&field, parse_visible));
    let resource = section.take("resource").map_or(Some(Vec::new()), |field| read_resources(reader, &field));
    Some(Wanted { scope: lifted(scope)?, audience: lifted(audience)?, resource: resource? })
}

/// RFC 8707 §2: absolute URIs without a fragment.
fn read_resources(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Vec<String>> {
    reader.some_values(field, "leave the key out to name no service", |text| {
        let uri = text
            .split_once(':')
            .is_some_and(|(scheme, rest)| scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !rest.is_empty());
        match uri && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('#') {
            true => Ok(text.to_owned()),
            false => Err(Malformed::new(
                format!("{} is not the URL of a service", quoted(text)),
                "write `https://api.example.com/`, without a `#`",
            )),
        }
    })
}

/// For whom the worker's identity is signed: for the server that it is shown to.
fn read_identity_audience(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    server: Option<&OAuthServer>,
) -> Option<Audience> {
    let name = section.take("identity_audience").map(|field| reader.value(&field, parse_audience));
    let algorithm = section.take("algorithm").map(|field| reader.value(&field, str::parse));
    let name = lifted(name)?.or_else(|| Some(server?.token_endpoint.clone()));
    Some(Audience { name: name?, algorithm: lifted(algorithm)? })
}

/// An `aud`: one word, most often a URL.
pub(super) fn parse_audience(text: &str) -> Result<String, Malformed> {
    match text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(Malformed::new(
            format!("{} is not an audience", quoted(text)),
            "write up to 512 visible ASCII characters without a blank: `https://api.example.com`",
        )),
    }
}

fn parse_auth(text: &str) -> Result<Auth, Malformed> {
    match text {
        "basic" => Ok(Auth::Basic),
        "post" => Ok(Auth::Post),
        "private_key_jwt" => Ok(Auth::PrivateKeyJwt),
        _ => Err(Malformed::new(
            format!("{} is no way to authenticate", quoted(text)),
            "write `basic`, `post` or `private_key_jwt`",
        )),
    }
}

/// A key that may be absent: `None` where it is there and has a mistake.
pub(super) fn lifted<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    read.map_or(Some(None), |value| value.map(Some))
}
