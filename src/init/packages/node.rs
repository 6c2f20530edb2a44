//! npm, yarn, pnpm and Bun.
//!
//! Enters: package.json's neighbours and the managers' own files. Leaves: the hosts of their registries. Never: a line that may have a
//! login.

use serde_json::Value;

use super::{Named, Packages, texts_in_json};
use crate::init::place::{Place, in_lines};
use crate::init::project::Project;

pub(super) const NPM: Packages = Packages {
    kind: "Node.js",
    client: "npm, yarn, pnpm and Bun fetch packages",
    marks: &["package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock"],
    named,
    encoded_slash: true,
};

fn named(project: &Project) -> Named {
    let mut named = Named::default();
    for variable in ["npm_config_registry", "NPM_CONFIG_REGISTRY", "YARN_NPM_REGISTRY_SERVER"] {
        named.add(variable, project.setting(variable).and_then(Place::parse));
    }
    let registry = |line: &str| {
        line.split_once('=').is_some_and(|(key, _)| {
            let key = key.trim();
            key == "registry" || (key.starts_with('@') && key.ends_with(":registry"))
        })
    };
    named.add(".npmrc", project.read(".npmrc").map(|text| in_lines(&text, registry)).unwrap_or_default());
    named.add("~/.npmrc", project.read_home(".npmrc").map(|text| in_lines(&text, registry)).unwrap_or_default());
    let yarn = |line: &str| line.starts_with("npmRegistryServer") || line.starts_with("registry ");
    for file in [".yarnrc.yml", ".yarnrc"] {
        named.add(file, project.read(file).map(|text| in_lines(&text, yarn)).unwrap_or_default());
    }
    for file in ["package-lock.json", "npm-shrinkwrap.json"] {
        let Some(lock) = project.read(file).and_then(|text| serde_json::from_str::<Value>(&text).ok()) else {
            continue;
        };
        let mut resolved = Vec::new();
        texts_in_json(&lock, &["resolved"], &mut resolved);
        resolved.iter().filter(|url| url.starts_with("git")).for_each(|url| named.repository(url));
        named.add(file, resolved.into_iter().filter_map(Place::parse));
    }
    let locked = |line: &str| line.starts_with("resolved ") || line.contains("tarball:");
    for file in ["yarn.lock", "pnpm-lock.yaml"] {
        named.add(file, project.read(file).map(|text| in_lines(&text, locked)).unwrap_or_default());
    }
    named
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hosts, project};
    use super::*;

    #[test]
    fn registries_are_named_by_locks_and_settings_and_logins_are_left() {
        let lock = r#"{"packages": {"": {"name": "https://no.example.com"}, "node_modules/a": {"resolved": "https://bot:s3cret@locked.example.com/a/-/a-1.tgz"},
            "node_modules/b": {"resolved": "git+ssh://git@git.example.com/acme/b.git#abc"}}}"#;
        let npmrc = "; https://no.example.com\n@acme:registry = https://acme.example.com/npm\n//acme.example.com/:_authToken=s3cret\n";
        let (_directory, project) = project(
            &[
                ("package-lock.json", lock),
                (".npmrc", npmrc),
                ("yarn.lock", "  resolved \"https://yarn.example.com/x.tgz#1\"\n"),
            ],
            &[(".npmrc", "registry=http://10.0.0.5:4873/\n")],
            &[],
        );
        assert_eq!(
            hosts("Node.js", &project),
            ["acme.example.com", "10.0.0.5:4873", "locked.example.com", "yarn.example.com"]
        );
        let named = named(&project);
        assert!(!format!("{named:?}").contains("s3cret"));
        let (at, repository) = named.repositories.iter().next().unwrap();
        assert_eq!((at.to().as_str(), repository.as_str()), ("git.example.com", "/acme/b"));
    }
}
