//! The walk over an agent's file.
//!
//! Enters: text. Leaves: a [`Policy`]. Never: a rule that can never come to pass; it is a mistake of whoever wrote it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::reader::{Field, Reader, Section};
use super::{MAX_POLICY, Secrets, expect, protocol, reach, sandbox, secret, upstream};
use crate::agent::AgentId;
use crate::destination::split_port;
use crate::error::{LoadError, Malformed, quoted};
use crate::expectation::Expectation;
use crate::glob::PathGlob;
use crate::index::Index;
use crate::paths::Paths;
use crate::pattern::{Pattern, parse_range};
use crate::policy::Policy;
use crate::rule::{Effect, Rule, RuleId, TlsMode};

/// Of either effect. As many as are measured (bench/README.md): a decision takes no longer for them, reading the file does.
const MAX_RULES: usize = 10_000;
/// Each of them is judged and told of, whenever the file is checked.
const MAX_EXPECTATIONS: usize = 1000;
/// What an allow rule has and a deny rule has not.
const ALLOW_ONLY: [&str; 10] = [
    "credential",
    "rate",
    "dial",
    "addresses",
    "plain",
    "encoded_slash",
    "tls",
    "mcp",
    "graphql",
    "client_certificate",
];
/// What takes reading a request, and so means nothing where connections pass unread.
const READ_ONLY: [&str; 8] =
    ["methods", "paths", "credential", "plain", "mcp", "graphql", "encoded_slash", "client_certificate"];

pub(crate) fn parse_policy(agent: AgentId, file: &Path, text: &str, secrets: Secrets) -> Result<Policy, LoadError> {
    Reader::new(file, text).with(secrets).up_to(MAX_POLICY).read(|reader, mut top| {
        let sandbox = top.take("sandbox").and_then(|field| reader.section(&field));
        let upstream = top.take("upstream").and_then(|field| reader.section(&field));
        let upstream = upstream.map(|section| upstream::read(reader, section, file)).unwrap_or_default();
        let mut rules = Vec::new();
        for (effect, name) in [(Effect::Allow, "allow"), (Effect::Deny, "deny")] {
            let Some(field) = top.take(name) else { continue };
            let sections = reader.sections(&field);
            if sections.len() > MAX_RULES {
                reader.mistake_at(
                    &field,
                    format!("there are more than {MAX_RULES} rules"),
                    "let one rule list many paths",
                );
                continue;
            }
            for (i, section) in sections.into_iter().enumerate() {
                let at = section.at;
                let id = RuleId { effect, number: i + 1, line: reader.lines.line(at) };
                rules.extend(read_rule(reader, section, id).map(|rule| (at, Arc::new(rule))));
            }
        }
        let expectations = top.take("expect").map(|field| read_expectations(reader, &field)).unwrap_or_default();
        reader.nothing_else(top);
        rules.sort_by_key(|(at, _)| *at);
        reach::check_that_each_can_come_to_pass(reader, &rules);
        reach::check_that_each_can_be_applied(reader, &rules);
        upstream::check_that_none_leads_to_the_proxy(reader, &rules, upstream.proxy.as_ref());
        let rules: Vec<Arc<Rule>> = rules.into_iter().map(|(_, rule)| rule).collect();
        Policy {
            agent,
            file: reader.file_name(),
            digest: hash(text).into(),
            sandbox: sandbox.map(|section| sandbox::read(reader, section)).unwrap_or_default(),
            extra_roots: upstream.roots,
            proxy: upstream.proxy.map(Arc::new),
            allow: Index::of(&rules, Effect::Allow),
            deny: Index::of(&rules, Effect::Deny),
            rules,
            observes: false,
            expectations,
        }
    })
}

fn read_expectations(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<Expectation> {
    let sections = reader.sections(field);
    if sections.len() > MAX_EXPECTATIONS {
        let reason = format!("there are more than {MAX_EXPECTATIONS} expectations");
        reader.mistake_at(field, reason, "keep those that tell rules apart");
        return Vec::new();
    }
    let numbered = sections.into_iter().enumerate();
    numbered.filter_map(|(i, section)| expect::read(reader, section, i + 1)).collect()
}

pub(super) fn hash(text: &str) -> String {
    let hex = digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

fn read_rule(reader: &mut Reader<'_>, mut section: Section<'_>, id: RuleId) -> Option<Rule> {
    let effect = id.effect;
    let to_field = section.take("to");
    let to = match &to_field {
        Some(field) if effect == Effect::Deny => reader.value(field, Pattern::parse_denied),
        Some(field) => reader.value(field, str::parse),
        None => {
            reader.missing(&section, "to", "to = \"api.example.com\"");
            None
        }
    };
    let tls_field = section.take("tls");
    let tls = tls_field.as_ref().filter(|_| effect == Effect::Allow).and_then(|field| reader.value(field, str::parse));
    if let Some(mode) = tls.filter(|mode| *mode != TlsMode::Intercept) {
        check_unread(reader, &section, mode, to_field.filter(|_| to.is_some()).as_ref());
    }
    let methods = section.take("methods").map(|field| reader.some_values(&field, LEAVE_OUT, str::parse));
    let paths_field = section.take("paths");
    let paths = paths_field.as_ref().map(|field| reader.some_values(field, LEAVE_OUT, str::parse));
    if effect == Effect::Deny {
        let strays = ALLOW_ONLY.into_iter().filter_map(|name| section.take_stray(name));
        for field in tls_field.into_iter().chain(strays) {
            reader.mistake_at(&field, "it means nothing in a deny rule", "a deny rule has `to`, `methods` and `paths`");
        }
        reader.nothing_else(section);
        let (methods, paths) = (all_or(methods)?, all_or(paths)?);
        return Some(Rule { methods, paths: paths.map(Paths::folding), ..Rule::everything(id, to?) });
    }
    let credential_field = section.take("credential");
    let credential = credential_field.as_ref().and_then(|field| reader.value(field, str::parse));
    let rate = section.take("rate").and_then(|field| reader.value(&field, str::parse));
    let dial_field = section.take("dial");
    let dial = dial_field.as_ref().and_then(|field| reader.value(field, parse_dial));
    let addresses = section.take("addresses").and_then(|field| reader.some_values(&field, LEAVE_OUT, parse_range));
    let plain = section.take("plain").and_then(|field| reader.flag(&field));
    let encoded_slash = section.take("encoded_slash").map(|field| reader.flag(&field));
    let certificate_field = section.take("client_certificate");
    let certificate = certificate_field.as_ref().map(|field| secret::client_certificate(reader, field));
    let protocol = protocol::read(reader, &mut section, methods.as_ref());
    reader.nothing_else(section);

    let to = to?;
    let plain = plain.unwrap_or(to.port() == Some(80) && tls.unwrap_or_default() == TlsMode::Intercept);
    if let Some(field) = credential_field.as_ref().filter(|_| plain) {
        let remedy = "let the rule be for HTTPS, or take the credential out";
        reader.mistake_at(field, "a credential never travels over plain HTTP", remedy);
    }
    if let Some(field) = certificate_field.as_ref().filter(|_| plain) {
        reader.mistake_at(field, "plain HTTP has no place for it", "let the rule be for HTTPS, or take it out");
    }
    let range = to.network().filter(|network| network.prefix_len() < network.max_prefix_len());
    if let (Some(field), Some(range)) = (&dial_field, range) {
        let reason = format!("`{range}` is many addresses, and `dial` is one");
        reader.mistake_at(field, reason, "take `dial` out, or write a name or one address under `to`");
    }
    let mut ranges = addresses.unwrap_or_default();
    ranges.extend(to.network());
    ranges.extend(dial.map(|dial| ipnet::IpNet::from(dial.ip())));
    let credential_at = credential_field.map_or((0, 0), |field| reader.place(field.at));
    let (methods, paths, protocol) = (all_or(methods)?, all_or(paths)?, all_or(protocol)?);
    let client_certificate = all_or(certificate)?.flatten().map(Arc::new);
    let needs = paths.iter().flatten().find(|glob: &&PathGlob| glob.has_encoded_slash());
    if let (Some(field), Some(glob), None) = (&paths_field, needs, encoded_slash) {
        let reason = format!("`{glob}` has an escaped slash, and no path with one is let through by this rule");
        reader.mistake_at(field, reason, "add `encoded_slash = true`, or write a plain `/`");
    }
    Some(Rule {
        methods,
        paths: paths.map(Paths::new),
        credential,
        rate,
        dial,
        addresses: ranges,
        plain,
        encoded_slash: encoded_slash.flatten().unwrap_or_default(),
        protocol,
        client_certificate,
        credential_at,
        tls: tls.unwrap_or_default(),
        ..Rule::everything(id, to)
    })
}

/// Says which keys would need a request to be read, and that raw TCP goes to the port that is written and no other.
fn check_unread(reader: &mut Reader<'_>, section: &Section<'_>, mode: TlsMode, to: Option<&Field<'_>>) {
    let names_port = |text: &str| Ok(split_port(text).is_ok_and(|(_, port)| port.is_some()));
    if let Some(field) = to.filter(|_| mode == TlsMode::Tcp)
        && reader.value(field, names_port) == Some(false)
    {
        reader.mistake_at(field, "a rule with `tls = \"tcp\"` has to name its port", "write `db.example.com:5432`");
    }
    for field in READ_ONLY.into_iter().filter_map(|name| section.peek(name)) {
        let reason = format!("with `tls = \"{}\"` connections pass unread, so it cannot be applied", mode.as_str());
        reader.mistake_at(&field, reason, "take it out, or take `tls` out");
    }
}

pub(super) const LEAVE_OUT: &str = "leave the key out";

/// A key that was left out means all; one that was written with a mistake means nothing at all.
fn all_or<T>(list: Option<Option<T>>) -> Option<Option<T>> {
    match list {
        None => Some(None),
        Some(list) => list.map(Some),
    }
}

fn parse_dial(text: &str) -> Result<SocketAddr, Malformed> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
    let address = address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
    address.ok_or_else(|| {
        let hint = "write an address and a port: `127.0.0.1:8443`, `[::1]:8443`";
        Malformed::new(format!("{} is not an address to dial", quoted(text)), hint)
    })
}
