//! The walk over `[upstream]` of an agent's file.
//!
//! Enters: text. Leaves: an [`Upstream`]. Never: a proxy that the sandbox could talk to itself.

use std::path::Path;
use std::sync::Arc;

use super::paths::read_paths;
use super::reader::{Reader, Section};
use super::{beside, secret};
use crate::destination::Destination;
use crate::error::{Malformed, quoted};
use crate::pattern::Pattern;
use crate::rule::{Effect, Rule};
use crate::upstream::{Upstream, UpstreamProxy};

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
    let login = section.take("proxy_login").and_then(|field| secret::login(reader, &field)).flatten();
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
    rules: &[(usize, Arc<Rule>)],
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
