//! The files of the sandbox's home, as `files` of a credential has them.
//!
//! Enters: a list of templates' names and of tables. Leaves: a delivery for each. Never: one whose client would send the credential where
//! `in` does not list it, or that has no host to be written for; a path out of the home.

use super::delivery::{Of, has};
use super::paths::parse_path;
use super::reader::{Field, Reader};
use crate::delivery::{Delivery, Format};
use crate::destination::Destination;
use crate::error::{Malformed, quoted};
use crate::injection::parse_user;
use crate::pattern::Pattern;
use crate::preset::Usage;

/// A page of configuration; it crosses the wire to the worker with the grant.
const LONGEST_TEXT: usize = 16 * 1024;

/// What each element of the list makes, and where it stands.
pub(super) fn read<'f>(reader: &mut Reader<'_>, field: &Field<'f>, of: &Of<'_>) -> Option<Vec<(Field<'f>, Delivery)>> {
    let elements = reader.list(field, "[\"netrc\"]")?;
    let mut files: Vec<(Field<'f>, Delivery)> = Vec::new();
    let mut good = true;
    for element in elements {
        let Some(delivery) = read_file(reader, &element, of) else {
            good = false;
            continue;
        };
        if let Some(clash) = files.iter().find_map(|(_, other)| delivery.clash(other, "this credential already")) {
            reader.mistake_at(&element, clash, "list it once");
        }
        files.push((element, delivery));
    }
    good.then_some(files)
}

/// A template's name, or a table with more to say.
fn read_file(reader: &mut Reader<'_>, field: &Field<'_>, of: &Of<'_>) -> Option<Delivery> {
    if !field.is_table() {
        let (format, path, user) = reader.value(field, named)?;
        let made = Delivery { hosts: hosts(of, &format), format, path: path.into(), user: user.into(), url: None };
        return fits(reader, field, of, &made).then_some(made);
    }
    let mut section = reader.section(field)?;
    let (template, text) = (section.take("template"), section.take("text"));
    let path = section.take("path").map(|field| reader.value(&field, parse_home_path));
    let user = section.take("user").map(|field| reader.value(&field, parse_user));
    let url = section.take("url").map(|field| reader.value(&field, |text| parse_url(text, of.to)));
    reader.nothing_else(section);
    let (format, usual, default) = match (template, text) {
        (Some(template), None) => reader.value(&template, named)?,
        (None, Some(text)) => (Format::Text(reader.value(&text, parse_text)?), "", "agent"),
        _ => {
            let remedy =
                "write `{ template = \"netrc\" }`, or `{ path = \".config/tool\", text = \"key = {placeholder}\" }`";
            reader.mistake_at(field, "a file has a template or a text, and not both", remedy);
            return None;
        }
    };
    let path = match path {
        Some(path) => path?,
        None if usual.is_empty() => {
            reader.mistake_at(field, "`path` is missing", "add `path = \".config/tool/config\"`, below the home");
            return None;
        }
        None => usual.to_owned(),
    };
    let (user, url) =
        (user.map_or(Some(default.to_owned()), |user| user)?, url.map_or(Some(None), |url| url.map(Some))?);
    let made = Delivery { hosts: hosts(of, &format), format, path, user, url };
    fits(reader, field, of, &made).then_some(made)
}

/// Whether what clients do with such a file is granted, and what it needs is there.
fn fits(reader: &mut Reader<'_>, field: &Field<'_>, of: &Of<'_>, file: &Delivery) -> bool {
    let format = &file.format;
    let is_text = matches!(format, Format::Text(_));
    let wrong = match (format, of.look.usage) {
        (Format::Aws, Usage::Signs) | (Format::GoogleServiceAccount, Usage::Asserts) => None,
        (Format::Aws, _) => Some(("it holds a key pair".to_owned(), "write `shape = \"aws\"`".to_owned())),
        (Format::GoogleServiceAccount, _) => {
            Some(("it is a service account's".to_owned(), "write `shape = \"google-service-account\"`".to_owned()))
        }
        (_, Usage::Signs) if !is_text => {
            Some(("it does not hold a key pair".to_owned(), "write `files = [\"aws\"]`".to_owned()))
        }
        _ => None,
    };
    let asks_elsewhere = || {
        let asks = *format == Format::GoogleServiceAccount && parse_url(file.token_url(), of.to).is_err();
        let reason = || format!("its clients ask for access at `{}`, which `to` does not list", file.token_url());
        asks.then(|| (reason(), "add that host to `to`, or name another place by `url`".to_owned()))
    };
    let wrong = wrong.or_else(asks_elsewhere);
    let place = format.place().filter(|place| !has(&of.places, place));
    let wrong = wrong
        .or_else(|| {
            let place = place?;
            Some((
                format!("its clients send it in the {place}, and `in` does not list that"),
                format!("add `{place}` to `in`"),
            ))
        })
        .or_else(|| {
            let escapes = [Some(&of.look.secret), of.look.id.as_ref()]
                .into_iter()
                .flatten()
                .find(|shape| !shape.needs_no_escape())?;
            let reason =
                format!("a placeholder of the shape {} may have to be escaped in it", quoted(&escapes.to_string()));
            Some((reason, "let `shape` have letters, digits and `-._~+/=` only".to_owned()))
        })
        .or_else(|| {
            let says = |name: &str| matches!(format, Format::Text(text) if text.contains(name));
            if says("{id}") && of.look.id.is_none() {
                let remedy = "take it out; only `aws` and `google-service-account` have one beside the placeholder";
                return Some(("the credential has no `{id}`".to_owned(), remedy.to_owned()));
            }
            let by_host = format.is_by_host() && (file.url.is_none() || *format != Format::Npmrc);
            let nobody = file.hosts.is_empty() && (by_host || says("{host}"));
            let needs =
                Some("it is written for a host, and `to` has none but patterns".to_owned()).filter(|_| nobody)?;
            Some((needs, "add the host's name to `to`".to_owned()))
        });
    let Some((reason, remedy)) = wrong else { return true };
    reader.mistake_at(field, reason, remedy);
    false
}

/// The hosts in `to`, as the format's clients call them.
fn hosts(of: &Of<'_>, format: &Format) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for host in of.to.iter().filter_map(Pattern::authority).map(|authority| format.host(authority)) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn named(text: &str) -> Result<(Format, &'static str, &'static str), Malformed> {
    let found = Format::NAMED.into_iter().find(|(name, ..)| *name == text);
    found.map(|(_, format, path, user)| (format, path, user)).ok_or_else(|| {
        let names: Vec<String> = Format::NAMED.iter().map(|(name, ..)| format!("`{name}`")).collect();
        let hint = format!("there are {}; for others, `{{ path = \"…\", text = \"…\" }}`", names.join(", "));
        Malformed::new(format!("there is no template {}", quoted(text)), hint)
    })
}

/// A path below the home, written with `~/` before it or without.
fn parse_home_path(text: &str) -> Result<String, Malformed> {
    let path = text.strip_prefix("~/").unwrap_or(text);
    let plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
    if path.len() > 1024 || path.contains(char::is_control) || !path.split('/').all(plain) {
        let hint = "write it from the home on, as `.config/tool/config`, without `..`";
        return Err(Malformed::new(format!("{} is not a path below the home", quoted(text)), hint));
    }
    parse_path(path)
}

fn parse_text(text: &str) -> Result<String, Malformed> {
    if text.len() > LONGEST_TEXT {
        let reason = format!("a file's text has more than {} KiB", LONGEST_TEXT / 1024);
        return Err(Malformed::new(reason, "keep what is not about the credential in a file of the project"));
    }
    if !text.contains("{placeholder}") && !text.contains("{id}") {
        let hint = "write `{placeholder}` where the credential would stand; also `{id}`, `{user}`, `{host}`";
        return Err(Malformed::new("the text has no place for a placeholder", hint));
    }
    Ok(text.to_owned())
}

/// An address of a service at one of the credential's destinations.
fn parse_url(text: &str, to: &[Pattern]) -> Result<String, Malformed> {
    let refused = |reason: &str, hint: &str| Err(Malformed::new(format!("{} {reason}", quoted(text)), hint));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:@+".contains(&b);
    let Some(rest) = text.strip_prefix("https://").filter(|_| text.len() <= 1024 && text.bytes().all(plain)) else {
        return refused("is not a plain HTTPS URL", "write `https://registry.example.com/path/`");
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let destination = Destination::parse_authority(authority, 443)?;
    if !to.iter().any(|pattern| pattern.matches(&destination)) {
        return refused("is not at a destination of this credential", "add its host to `to`, or name another");
    }
    Ok(text.to_owned())
}
