//! The walk over credentials.toml.
//!
//! Enters: text. Leaves: [`Credentials`]. Never: a secret written in the file itself; it is refused with the places
//! where one may be.

use std::path::Path;

use super::delivery::{self, Given};
use super::reader::{Field, Reader, Section};
pub(super) use super::source::read_source;
use super::{accept, approval, aws, cloud, command, github, oauth, vault};
use crate::agent::CredentialName;
use crate::credential::{Credential, Credentials, IssuerSettings};
use crate::destination::{Destination, Host};
use crate::error::{LoadError, Malformed, quoted};
use crate::grant::{Grant, Places};
use crate::preset::Usage;

const ISSUERS: &str = "`fixed`, `oauth2-client`, `token-exchange`, `jwt-bearer`, `identity`, `aws-sts`, `google-sts`, `azure-federated`, \
                       `github-app`, `vault`, `command`";

pub(crate) fn parse_credentials(file: &Path, text: &str) -> Result<Credentials, LoadError> {
    Reader::new(file, text).read(|reader, mut top| {
        let mut credentials = Credentials::default();
        for (name, field) in top.take_all() {
            let name = reader.kept(&field, name.parse::<CredentialName>());
            let Some(section) = reader.section(&field) else { continue };
            let Some((credential, given)) = name.and_then(|name| read_credential(reader, section, name, file)) else {
                continue;
            };
            given.check_is_free(reader, &credential, &credentials);
            credentials.by_name.insert(credential.grant.credential.clone(), credential);
        }
        credentials
    })
}

/// The credential, and where it says how the sandbox is given it.
fn read_credential<'f>(
    reader: &mut Reader<'_>,
    mut section: Section<'f>,
    name: CredentialName,
    file: &Path,
) -> Option<(Credential, Given<'f>)> {
    let written = accept::written(reader, &section);
    let accepted = accept::read(reader, &mut section);
    let agents = required(reader, &mut section, "agents", "agents = [\"release-bot\"]");
    let agents = agents.and_then(|field| reader.some_values(&field, "list the agents that may use it", str::parse));
    let to = required(reader, &mut section, "to", "to = [\"api.example.com\"]");
    let to = to.and_then(|field| reader.some_values(&field, "list the destinations it is for", str::parse));
    let is_identity = section.peek("issuer").is_some_and(|field| field.text() == Some("identity"));
    let places_field = section.take("in");
    let places = read_places(reader, places_field.as_ref(), is_identity);
    let shape_field = section.peek("shape");
    let given = delivery::read(reader, &mut section, to.as_deref(), places, places_field.as_ref());
    let approve = approval::read(reader, &mut section);
    let pair = (section.peek("issuer"), shape_field);
    let issuer = read_issuer(reader, section, file);
    if let ((Some(issuer), shape), Some(given)) = (&pair, &given) {
        aws::check_pair(reader, issuer, shape.as_ref(), given.look.usage == Usage::Signs);
    }
    let (mut given, to, places) = (given?, to?, places?);
    let grant = given.grant(Grant::new(name, to, places, None));
    let (shape, id) = (given.look.secret.clone(), given.id.take());
    let (agents, issuer, approve, accepted) = (agents?, issuer?, approve?, accepted?);
    Some((Credential { grant, agents, shape, id, issuer, approve, accepted, written }, given))
}

pub(super) fn required<'f>(
    reader: &mut Reader<'_>,
    section: &mut Section<'f>,
    name: &'static str,
    example: &str,
) -> Option<Field<'f>> {
    let field = section.take(name);
    if field.is_none() {
        reader.missing(section, name, example);
    }
    field
}

/// `identity` is where a worker's own JWT is expected: in a header, `Authorization: Bearer` most often.
fn read_places(reader: &mut Reader<'_>, field: Option<&Field<'_>>, is_identity: bool) -> Option<Places> {
    let unsaid = Places { basic: !is_identity, ..Places::default() };
    let Some(field) = field else { return Some(unsaid) };
    let without = "leave the key out to mean `header` and `basic`; of an identity, `identity`";
    let names = reader.some_values(field, without, |text| match text {
        "header" | "basic" | "query" | "body" | "websocket" => Ok(text.to_owned()),
        "identity" if is_identity => Ok(text.to_owned()),
        "identity" => Err(Malformed::new(
            "`identity` is the place of a worker's own identity, and this credential is another",
            "write `issuer = \"identity\"` and `audience = \"…\"`, or `in = [\"header\"]`",
        )),
        _ => Err(Malformed::new(
            format!("{} is not a place", quoted(text)),
            "use `header`, `basic`, `query`, `body`, `websocket` or `identity`",
        )),
    })?;
    let has = |name: &str| names.iter().any(|own| own == name);
    Some(Places {
        header: has("header") || has("identity"),
        basic: has("basic"),
        query: has("query"),
        body: has("body"),
        websocket: has("websocket"),
    })
}

/// The issuer takes the fields that are its own; whatever is left then is unknown.
fn read_issuer(reader: &mut Reader<'_>, mut section: Section<'_>, file: &Path) -> Option<IssuerSettings> {
    let field = required(reader, &mut section, "issuer", "issuer = \"fixed\"")?;
    let issuer = match &*reader.value(&field, |text| Ok(text.to_owned()))? {
        "fixed" => read_fixed(reader, &mut section, file),
        "oauth2-client" => oauth::read_client(reader, &mut section, file),
        "token-exchange" => oauth::read_exchange(reader, &mut section, file),
        "jwt-bearer" => oauth::read_bearer(reader, &mut section, file),
        "identity" => oauth::read_identity(reader, &mut section),
        "aws-sts" => aws::read_role(reader, &mut section, file),
        "command" => command::read_issuer(reader, &mut section),
        "vault" => vault::read_issuer(reader, &mut section, file),
        "github-app" => github::read(reader, &mut section, file),
        "google-sts" => cloud::read_google(reader, &mut section, file),
        "azure-federated" => cloud::read_azure(reader, &mut section, file),
        other => {
            reader.mistake_at(&field, format!("there is no issuer {}", quoted(other)), format!("there are {ISSUERS}"));
            return None;
        }
    };
    reader.nothing_else(section);
    issuer
}

fn read_fixed(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IssuerSettings> {
    let field = required(reader, section, "value", "value = { file = \"secrets/api-key\" }")?;
    Some(IssuerSettings::Fixed { value: read_source(reader, &field, file)? })
}

pub(super) fn parse_visible(text: &str) -> Result<String, Malformed> {
    if text.chars().any(char::is_control) {
        return Err(Malformed::new(format!("{} has control characters", quoted(text)), "write it without them"));
    }
    Ok(text.to_owned())
}

/// A URL where the broker shows a client's secret: `https`, or `http` to this machine by its loopback address.
pub(super) fn parse_endpoint(text: &str) -> Result<String, Malformed> {
    let refused = |hint: &str| Malformed::new(format!("{} is not a URL for an endpoint", quoted(text)), hint);
    const HINT: &str = "write `https://login.example.com/token`";
    let (scheme, rest) = text.split_once("://").ok_or_else(|| refused(HINT))?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('#') {
        return Err(refused(HINT));
    }
    let destination =
        |port| Destination::parse_authority(authority, port).map_err(|malformed| refused(malformed.hint()));
    match scheme {
        "https" => destination(443)?,
        "http" => match destination(80)? {
            local if matches!(local.host(), Host::Address(address) if address.is_loopback()) => local,
            _ => {
                return Err(refused(
                    "`http` is for loopback addresses only: `https://…`, or `http://127.0.0.1:8080/token`",
                ));
            }
        },
        _ => return Err(refused(HINT)),
    };
    Ok(text.to_owned())
}
