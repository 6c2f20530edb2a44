//! The walk over `[upstream]` of an agent's file, and over the secrets that stand beside it.
//!
//! Enters: text, and the files it names for secrets. Leaves: an [`Upstream`]. Never: a secret written in the file itself.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::agent::{parse_path, read_paths};
use super::beside;
use super::reader::{Field, Reader, Section};
use crate::destination::Destination;
use crate::error::{Malformed, quoted};
use crate::pattern::Pattern;
use crate::rule::{Effect, Rule};
use crate::upstream::{ProxyLogin, Upstream, UpstreamProxy};

/// A login is a line; a certificate with its chain and a key are a few KiB each.
const LONGEST_SECRET: usize = 64 * 1024;
/// What means nothing without a proxy.
const OF_A_PROXY: [&str; 3] = ["proxy_login", "no_proxy", "proxy_resolves"];

pub(super) fn read(reader: &mut Reader<'_>, mut section: Section<'_>, file: &Path) -> Upstream {
    let roots = section.take("roots").and_then(|field| read_paths(reader, &field)).unwrap_or_default();
    let place = section.take("proxy").map(|field| reader.value(&field, parse_proxy));
    if place.is_none() {
        for field in OF_A_PROXY.into_iter().filter_map(|name| section.take(name)) {
            reader.mistake_at(&field, "there is no proxy", "add `proxy = \"http://proxy.example.com:3128\"`");
        }
    }
    let login = section.take("proxy_login").and_then(|field| read_login(reader, &field, file));
    let without = section.take("no_proxy").and_then(|field| reader.values(&field, Pattern::parse_denied));
    let resolves = section.take("proxy_resolves").and_then(|field| reader.flag(&field)).unwrap_or_default();
    reader.nothing_else(section);
    let proxy =
        place.flatten().map(|place| UpstreamProxy { place, without: without.unwrap_or_default(), login, resolves });
    Upstream { roots: roots.iter().map(|path| beside(file, path)).collect(), proxy }
}

/// A proxy that takes a client anywhere is no destination for the sandbox.
pub(super) fn check_that_none_leads_to_the_proxy(
    reader: &mut Reader<'_>,
    rules: &[(usize, Rule)],
    proxy: Option<&UpstreamProxy>,
) {
    let Some(proxy) = proxy else { return };
    for (at, rule) in rules.iter().filter(|(_, rule)| rule.effect() == Effect::Allow) {
        if rule.to.matches(&proxy.place) {
            let reason =
                format!("it leads to {}, the proxy of [upstream], which could take a call anywhere", proxy.place);
            let remedy = "take the rule out, or narrow it; calls go by way of the proxy without one";
            reader.mistake(format!("allow[{}]", rule.id.number), *at, reason, remedy);
        }
    }
}

fn parse_proxy(text: &str) -> Result<Destination, Malformed> {
    let refused = |hint: &str| Malformed::new(format!("{} is not a proxy", quoted(text)), hint);
    const HINT: &str = "write `http://proxy.example.com:3128`, with its port";
    let rest = text.strip_prefix("http://").ok_or_else(|| {
        refused("only HTTP proxies are spoken to, which does not weaken TLS to the upstream: `http://proxy.example.com:3128`")
    })?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err(refused("a login is not written here: add `proxy_login = { file = \"…\" }`"));
    }
    authority.parse().map_err(|_| refused(HINT))
}

fn read_login(reader: &mut Reader<'_>, field: &Field<'_>, file: &Path) -> Option<ProxyLogin> {
    const IN_A_FILE: &str = "write `{ file = \"…\" }`; the file has `user:password` in one line";
    if !field.is_table() {
        reader.mistake_at(field, "a secret is not written in this file, only where it is found", IN_A_FILE);
        return None;
    }
    let mut section = reader.section(field)?;
    let found = section.take("file");
    if found.is_none() {
        reader.mistake_at(field, "it names no file", IN_A_FILE);
    }
    reader.nothing_else(section);
    let field = found?;
    let (file, bytes) = read_beside(reader, &field, file)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end_matches(['\r', '\n']);
    let (user, _) = text.split_once(':').unwrap_or_default();
    if user.is_empty() || text.chars().any(char::is_control) {
        reader.mistake_at(&field, format!("`{}` is not a login", file.display()), IN_A_FILE);
        return None;
    }
    Some(ProxyLogin { file, text: Zeroizing::new(text.to_owned()) })
}

/// The bytes of a file that a field names, relative to the policy's, and its path.
pub(super) fn read_beside(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    file: &Path,
) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
    let path = beside(file, Path::new(&reader.value(field, parse_path)?));
    // A buffer that grew would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_SECRET + 1));
    let read = File::open(&path).and_then(|file| file.take(LONGEST_SECRET as u64 + 1).read_to_end(&mut bytes));
    let reason = match read {
        Ok(_) if bytes.len() <= LONGEST_SECRET => return Some((path, bytes)),
        Ok(_) => format!("is larger than {} KiB", LONGEST_SECRET / 1024),
        Err(error) => format!("cannot be read: {error}"),
    };
    reader.mistake_at(field, format!("`{}` {reason}", path.display()), "check the path and who may read it");
    None
}
