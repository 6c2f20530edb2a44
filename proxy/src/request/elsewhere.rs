//! Fields by which a call acts on another resource than its own: what is copied or renamed, and to where.
//!
//! Enters: a call. Leaves: what it comes to beside itself, each as a call of its own. Never: a judgement, which is the policy's; a value that is
//! read in more than one way.

use config::{CallFacts, Destination, Host, Method, NormalPath, Scheme};
use http::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode;

use super::Call;
use super::alike::ends;
use crate::error::Refusal;

/// What is read, by how the field's name ends: `x-amz-copy-source`, `x-goog-copy-source`, `x-ms-copy-source`, `x-copy-from`.
const COPIED: [&str; 2] = ["-copy-source", COPY_FROM];
const COPY_FROM: &str = "-copy-from";
/// How one begins that names an access point instead of a bucket.
const ARN: &str = "arn:";
/// What is gone afterwards: `x-amz-rename-source`, `x-ms-rename-source`, `x-ms-file-rename-source`.
const RENAMED: &str = "-rename-source";
/// Where a copy goes, for these methods (RFC 4918 section 10.3).
const DESTINATION: &str = "destination";
const TO_A_DESTINATION: [&str; 2] = ["COPY", "MOVE"];
/// Of which account the other resource is, in OpenStack's object store, though the path names one.
const ACCOUNT: [&str; 2] = ["-copy-from-account", "destination-account"];
/// What stands before `/ACCOUNT/CONTAINER/OBJECT` there. What is copied is named by container and object alone.
const VERSIONS: [&str; 2] = ["v1", "v1.0"];
/// Behind a bucket in a host's name. What is copied names its bucket all the same.
const BEHIND_A_BUCKET: [&str; 4] = [".s3.", ".s3-", ".s3express-", ".storage.googleapis.com"];

/// What a call comes to beside itself.
#[derive(Debug, Clone)]
pub(crate) struct Elsewhere {
    /// By which field.
    pub(crate) field: HeaderName,
    destination: Destination,
    scheme: Scheme,
    method: Method,
    path: NormalPath,
}

impl Elsewhere {
    /// What a policy looks at.
    pub(crate) fn facts(&self) -> CallFacts<'_> {
        CallFacts { destination: &self.destination, scheme: self.scheme, method: &self.method, path: &self.path }
    }
}

/// What `call` comes to beside itself: nearly always nothing.
///
/// # Errors
/// [`Refusal::Malformed`] for a field that names nothing that every server reads alike.
pub(super) fn elsewhere(call: &Call) -> Result<Vec<Elsewhere>, Refusal> {
    let mut found = Vec::new();
    for (field, value) in &call.headers {
        if of_account(field) {
            return Err(odd(field, "says whose that is, beside what the path says"));
        }
        let methods = methods(field, &call.method);
        if !methods.is_empty() && call.headers.get_all(field).iter().count() > 1 {
            return Err(odd(field, "comes twice"));
        }
        for method in methods {
            found.append(&mut named(call, field, method, value)?);
        }
    }
    Ok(found)
}

/// Whether a field may name another resource.
pub(super) fn naming(field: &HeaderName) -> bool {
    COPIED.iter().chain([&RENAMED]).any(|end| ends(field, end)) || field == DESTINATION || of_account(field)
}

fn of_account(field: &HeaderName) -> bool {
    ACCOUNT.iter().any(|end| ends(field, end))
}

/// What is done with the resource that the field names.
fn methods(field: &HeaderName, method: &Method) -> &'static [&'static str] {
    if ends(field, RENAMED) {
        &["GET", "DELETE"]
    } else if field == DESTINATION {
        if TO_A_DESTINATION.contains(&method.as_str()) { &["PUT"] } else { &[] }
    } else if naming(field) {
        &["GET"]
    } else {
        &[]
    }
}

fn named(call: &Call, field: &HeaderName, method: &str, value: &HeaderValue) -> Result<Vec<Elsewhere>, Refusal> {
    let text = value.to_str().map_err(|_| odd(field, "is no plain text"))?;
    let (destination, scheme, target) = match text.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let scheme = [Scheme::Https, Scheme::Http].into_iter().find(|known| known.as_str() == scheme);
            let named =
                |scheme: Scheme| Some((Destination::parse_authority(authority, scheme.default_port()).ok()?, scheme));
            let (destination, scheme) = scheme.and_then(named).ok_or_else(|| odd(field, "is no URL of a server"))?;
            (destination, scheme, target.to_owned())
        }
        None if is_almost_absolute(text) => return Err(odd(field, "is a URL to some servers and a path to others")),
        None => {
            let target = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
            let (destination, target) = if field == DESTINATION { None } else { of_bucket(&call.destination, &target) }
                .unwrap_or_else(|| Ok((call.destination.clone(), target.clone())))
                .map_err(|what| odd(field, what))?;
            (destination, call.scheme, target)
        }
    };
    // What stands there is not written anew, as a signature may be over it: so it has to be as a path is sent.
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let normal = NormalPath::parse(path).map_err(|error| odd(field, &error.to_string()))?;
    if normal.as_str() != path || path.contains('+') {
        return Err(odd(
            field,
            "is a path that servers read in different ways: write it percent-encoded, without `+` and dots",
        ));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"=&._~-".contains(&byte);
    if !text.contains("://") && !query.bytes().all(plain) {
        return Err(odd(field, "has something behind a `?` that servers read in different ways"));
    }
    if percent_decode(path.trim_start_matches('/').as_bytes()).take(ARN.len()).eq(ARN.bytes()) {
        return Err(odd(field, "is an ARN, of which only the service knows what it stands for"));
    }
    let method: Method = method.parse().map_err(|error| odd(field, &format!("{error}")))?;
    // A URL is the whole of a name; and what others call a source is never below an account.
    let is_below = !text.contains("://") && (ends(field, COPY_FROM) || field == DESTINATION);
    let accounts = if is_below { accounts(call.path.as_str()) } else { Vec::new() };
    let below =
        |account| NormalPath::parse(&format!("{account}{path}")).map_err(|error| odd(field, &error.to_string()));
    let below = accounts.into_iter().map(below);
    let path = |path| Elsewhere {
        field: field.clone(),
        destination: destination.clone(),
        scheme,
        method: method.clone(),
        path,
    };
    [Ok(normal)].into_iter().chain(below).map(|normal| normal.map(path)).collect()
}

/// What of a call's path a container's name may be behind: `/v1/ACCOUNT`, and `/v1` where the account is the caller's own.
fn accounts(path: &str) -> Vec<&str> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    let is_version = |end: &usize| VERSIONS.contains(&path[..*end].rsplit('/').next().unwrap_or_default());
    ends.skip_while(|end| !is_version(end)).take(2).map(|end| &path[..end]).collect()
}

/// Whether it begins with a scheme behind which slashes are missing: a URL to whoever reads it as browsers do.
fn is_almost_absolute(text: &str) -> bool {
    let scheme = text.split(':').next().filter(|scheme| scheme.len() < text.len());
    scheme.is_some_and(|scheme| {
        [Scheme::Https, Scheme::Http].iter().any(|known| known.as_str().eq_ignore_ascii_case(scheme))
    })
}

/// The host that has the bucket of `target` in its name, where `own` has one, and what is left of the path.
fn of_bucket(own: &Destination, target: &str) -> Option<Result<(Destination, String), &'static str>> {
    let Host::Name(name) = own.host() else { return None };
    let service = BEHIND_A_BUCKET.iter().filter_map(|service| name.as_str().rfind(service)).max()?;
    let (bucket, key) = target[1..].split_at(target[1..].find('/').unwrap_or(target.len() - 1));
    let host = format!("{bucket}{}", &name.as_str()[service..]);
    let named = host.parse().ok().filter(|named: &Host| named.to_string() == host);
    let named = named.map(|host| (Destination::new(host, own.port()), key.to_owned()));
    Some(named.ok_or("names no bucket of this service"))
}

fn odd(field: &HeaderName, what: &str) -> Refusal {
    Refusal::Malformed(format!("`{field}`, by which a server acts on another resource as well, {what}"))
}

#[cfg(test)]
mod tests;
