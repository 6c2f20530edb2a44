//! Cargo.
//!
//! Enters: Cargo.lock, cargo's configuration, and what it keeps of the registries that this machine has used. Leaves: the hosts of their
//! indexes and of their files. Never: the repository by which a lock file calls a registry that cargo itself reaches elsewhere.

use serde_json::Value;

use super::{Named, Packages, texts_in_json, texts_in_toml, toml_of};
use crate::init::place::Place;
use crate::init::project::{Project, text};

pub(super) const CRATES: Packages = Packages {
    kind: "Rust",
    client: "cargo fetches crates",
    marks: &["Cargo.toml", "Cargo.lock"],
    named,
    encoded_slash: false,
};

fn named(project: &Project) -> Named {
    let mut named = Named::default();
    for (file, config) in [
        (".cargo/config.toml", project.read(".cargo/config.toml")),
        ("~/.cargo/config.toml", project.read_home(".cargo/config.toml")),
    ] {
        let Some(config) = config.as_deref().and_then(toml_of) else { continue };
        let mut urls = Vec::new();
        for part in ["registries", "source"].iter().filter_map(|part| config.get(part)) {
            texts_in_toml(part, &["index", "registry"], &mut urls);
        }
        named.add(file, urls.into_iter().filter_map(|url| Place::parse(url.trim_start_matches("sparse+"))));
    }
    let lock = project.read("Cargo.lock").as_deref().and_then(toml_of);
    let mut sources = Vec::new();
    lock.iter().for_each(|lock| texts_in_toml(lock, &["source"], &mut sources));
    named.add("Cargo.lock", sources.iter().filter_map(|url| Place::parse(url.strip_prefix("sparse+")?)));
    sources.iter().filter(|url| url.starts_with("git+")).for_each(|url| named.repository(url));
    if sources.iter().any(|url| url.starts_with("registry+")) || lock.is_none() {
        used(project, &mut named);
    }
    named
}

/// The registries that this machine has used: a directory for each, called by its host and a hash.
fn used(project: &Project, named: &mut Named) {
    let cargo = project.setting("CARGO_HOME").map(Into::into).or_else(|| project.in_home(".cargo"));
    let index = cargo.map(|cargo| cargo.join("registry/index"));
    let entries = index.and_then(|index| std::fs::read_dir(index).ok()).into_iter().flatten().flatten();
    let mut registries: Vec<_> = entries.map(|entry| entry.path()).collect();
    registries.sort();
    for registry in registries {
        let name = registry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // One that is reached by git is called so too, and has no such file.
        let Some(config) = text(&registry.join("config.json")) else { continue };
        let host = name.rsplit_once('-').map_or(name, |(host, _)| host);
        named.add("~/.cargo/registry", Place::of(host));
        if let Ok(config) = serde_json::from_str::<Value>(&config) {
            let mut urls = Vec::new();
            texts_in_json(&config, &["dl"], &mut urls);
            named.add("~/.cargo/registry", urls.into_iter().filter_map(|url| Place::parse(url.split('{').next()?)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hosts, project};

    const LOCK: &str = "[[package]]\nname = \"a\"\nsource = \"registry+https://git.example.com/some-index\"\n\
        [[package]]\nname = \"b\"\nsource = \"sparse+https://sparse.example.com/index/\"\n\
        [[package]]\nname = \"c\"\nsource = \"git+https://git.example.com/acme/c?branch=x#abc\"\n";

    #[test]
    fn registries_are_those_of_the_lock_the_settings_and_the_machine() {
        let config = "[registries.acme]\nindex = \"sparse+https://acme.example.com/index/\"\ntoken = \"s3cret\"\n";
        let cache = "{\"dl\": \"https://files.example.com/crates/{crate}\", \"api\": \"https://no.example.com\"}";
        let (_directory, project) = project(
            &[("Cargo.lock", LOCK), (".cargo/config.toml", config)],
            &[(".cargo/registry/index/index.example.com-0123456789abcdef/config.json", cache)],
            &[],
        );
        assert_eq!(
            hosts("Rust", &project),
            ["acme", "sparse", "index", "files"].map(|name| format!("{name}.example.com"))
        );
    }
}
