//! `issuer = "aws-sts"` in credentials.toml, and which issuers have key pairs to sign with.
//!
//! Enters: the section of a credential. Leaves: the role, where it is asked for, and how much of it. Never: a session that AWS would
//! refuse for its length or its policy; a pair of placeholders for which no pair is issued, or the other way round.

use std::path::Path;
use std::time::Duration;

use serde::de::IgnoredAny;

use super::beside;
use super::credential::{parse_endpoint, required};
use super::oauth::{lifted, parse_audience};
use super::paths::read_paths;
use super::reader::{Field, Reader, Section};
use crate::aws::AwsRole;
use crate::credential::IssuerSettings;
use crate::error::{Malformed, quoted};
use crate::identity::Audience;
use crate::limits::parse_duration;

/// The global one. Regions have their own, which answer sooner.
const ENDPOINT: &str = "https://sts.amazonaws.com/";
/// What AWS itself suggests for an OIDC provider.
const AUDIENCE: &str = "sts.amazonaws.com";
/// What STS takes for `DurationSeconds`; how much of it, the role says.
const SHORTEST: Duration = Duration::from_secs(900);
const LONGEST: Duration = Duration::from_secs(43_200);
/// What STS takes for `Policy`, in characters.
const LONGEST_POLICY: usize = 2048;
/// What IAM allows for an ARN.
const LONGEST_ARN: usize = 2048;
/// The issuers that have key pairs.
const OF_PAIRS: [&str; 2] = ["aws-sts", "fixed"];

/// `issuer = "aws-sts"`
pub(super) fn read_role(reader: &mut Reader<'_>, section: &mut Section<'_>, file: &Path) -> Option<IssuerSettings> {
    let role = required(reader, section, "role", "role = \"arn:aws:iam::123456789012:role/agents\"");
    let role = role.and_then(|field| reader.value(&field, parse_role));
    let endpoint = lifted(section.take("endpoint").map(|field| reader.value(&field, parse_endpoint)));
    let duration = lifted(section.take("duration").map(|field| reader.value(&field, parse_session)));
    let session_policy = lifted(section.take("session_policy").map(|field| reader.value(&field, parse_policy)));
    let audience = lifted(section.take("identity_audience").map(|field| reader.value(&field, parse_audience)));
    let algorithm = lifted(section.take("algorithm").map(|field| reader.value(&field, str::parse)));
    let roots = section.take("roots").map_or(Some(Vec::new()), |field| read_paths(reader, &field));
    Some(IssuerSettings::AwsRole(Box::new(AwsRole {
        endpoint: endpoint?.unwrap_or_else(|| ENDPOINT.to_owned()),
        role: role?,
        duration: duration?.unwrap_or(SHORTEST),
        session_policy: session_policy?,
        audience: Audience { name: audience?.unwrap_or_else(|| AUDIENCE.to_owned()), algorithm: algorithm? },
        roots: roots?.iter().map(|path| beside(file, path)).collect(),
    })))
}

/// A pair signs, and whoever issues it knows that.
pub(super) fn check_pair(reader: &mut Reader<'_>, issuer: &Field<'_>, shape: Option<&Field<'_>>, signs: bool) {
    let Some(name) = issuer.text() else { return };
    match shape {
        Some(shape) if signs && !OF_PAIRS.contains(&name) => reader.mistake_at(
            shape,
            format!("requests are signed with a key pair, and the issuer {} has none", quoted(name)),
            "use `issuer = \"aws-sts\"`, or `issuer = \"fixed\"` with `ID:SECRET` where its value is found",
        ),
        _ if !signs && name == "aws-sts" => reader.mistake_at(
            shape.unwrap_or(issuer),
            "STS gives a key pair to sign with, and its placeholders have to be a pair",
            "write `shape = \"aws\"`",
        ),
        _ => {}
    }
}

/// `arn:PARTITION:iam::ACCOUNT:role/NAME`; stores that only speak like AWS have partitions of their own, and no accounts.
fn parse_role(text: &str) -> Result<String, Malformed> {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let [arn, partition, service, region, account, role] = [next(), next(), next(), next(), next(), next()];
    let name = role.strip_prefix("role/").unwrap_or_default();
    let is_role = arn == "arn"
        && !partition.is_empty()
        && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && service == "iam"
        && region.is_empty()
        && matches!(account.len(), 0 | 12)
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && text.len() <= LONGEST_ARN
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&byte));
    is_role.then(|| text.to_owned()).ok_or_else(|| {
        let hint = "write `arn:aws:iam::123456789012:role/agents`, as `aws iam get-role` shows it";
        Malformed::new(format!("{} is not the ARN of a role", quoted(text)), hint)
    })
}

fn parse_session(text: &str) -> Result<Duration, Malformed> {
    let duration = parse_duration(text)?;
    match (SHORTEST..=LONGEST).contains(&duration) {
        true => Ok(duration),
        false => Err(Malformed::new(
            format!("{} is not a length that STS gives to a session", quoted(text)),
            "write `15m` to `12h`, and no more than the role allows; the shortest ends soonest, as no session can be revoked",
        )),
    }
}

fn parse_policy(text: &str) -> Result<String, Malformed> {
    let refused = |reason: &str| {
        let hint = "write a policy document: '{\"Version\":\"2012-10-17\",\"Statement\":[…]}'";
        Malformed::new(reason.to_owned(), hint)
    };
    if text.chars().count() > LONGEST_POLICY {
        return Err(refused("STS takes a session policy of up to 2048 characters"));
    }
    match text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err(refused("a session policy is an object in JSON")),
    }
}
