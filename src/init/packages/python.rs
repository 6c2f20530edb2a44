//! pip, uv, Poetry, PDM and Pipenv.
//!
//! Enters: requirements, pyproject.toml, lock files, pip's and uv's own files and variables. Leaves: the hosts of their indexes. Never: the
//! home page of a package, which those files name too.

use serde_json::Value;

use super::{Named, Packages, texts_in_json, texts_in_toml, toml_of};
use crate::init::place::{Place, in_lines};
use crate::init::project::{Project, text};

pub(super) const PYPI: Packages = Packages {
    kind: "Python",
    client: "pip, uv, Poetry, PDM and Pipenv fetch packages",
    marks: &[
        "pyproject.toml",
        "requirements*.txt",
        "setup.py",
        "setup.cfg",
        "uv.lock",
        "poetry.lock",
        "pdm.lock",
        "Pipfile",
        "Pipfile.lock",
    ],
    named,
    encoded_slash: false,
};

const VARIABLES: [&str; 8] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "PIPENV_PYPI_MIRROR",
];

fn named(project: &Project) -> Named {
    let mut named = Named::default();
    for variable in VARIABLES {
        // Several, with blanks between them; uv's may have names: `acme=https://…`.
        let urls = project.setting(variable).unwrap_or_default().split_whitespace();
        named.add(variable, urls.filter_map(|url| Place::parse(url.find("http").map_or(url, |at| &url[at..]))));
    }
    for name in project.names().iter().filter(|name| name.starts_with("requirements") && name.ends_with(".txt")) {
        let option = |line: &str| {
            ["-i", "--index-url", "--extra-index-url", "-f", "--find-links"]
                .iter()
                .any(|option| line.starts_with(option))
                || line.contains(" @ http")
        };
        let lines = project.read(name).unwrap_or_default();
        named.add(name, in_lines(&lines, option));
        let git = lines.lines().filter_map(|line| line.find("git+http").map(|at| &line[at..]));
        git.for_each(|url| named.repository(url.split(['@', ' ', '#', ';']).next().unwrap_or_default()));
    }
    let index = |line: &str| !line.starts_with(['#', ';']) && !line.starts_with("proxy");
    for (name, lines) in [
        ("pip.conf", (!project.has("PIP_CONFIG_FILE")).then(|| text("/etc/pip.conf".as_ref())).flatten()),
        ("PIP_CONFIG_FILE", project.setting("PIP_CONFIG_FILE").and_then(|file| text(file.as_ref()))),
        ("~/.config/pip/pip.conf", project.read_home(".config/pip/pip.conf")),
        ("~/.pip/pip.conf", project.read_home(".pip/pip.conf")),
    ] {
        named.add(name, lines.map(|lines| in_lines(&lines, index)).unwrap_or_default());
    }
    for (file, table) in [
        ("pyproject.toml", project.read("pyproject.toml")),
        ("uv.toml", project.read("uv.toml")),
        ("~/.config/uv/uv.toml", project.read_home(".config/uv/uv.toml")),
        ("Pipfile", project.read("Pipfile")),
        ("poetry.lock", project.read("poetry.lock")),
        ("uv.lock", project.read("uv.lock")),
        ("pdm.lock", project.read("pdm.lock")),
    ] {
        let Some(table) = table.as_deref().and_then(toml_of) else { continue };
        let mut urls = Vec::new();
        for part in parts(file, &table) {
            texts_in_toml(part, &["url", "registry", "index-url", "extra-index-url", "default-index"], &mut urls);
        }
        named.add(file, urls.into_iter().filter_map(Place::parse));
        let mut git = Vec::new();
        if file != "pyproject.toml" {
            texts_in_toml(&table, &["git"], &mut git);
        }
        git.into_iter().for_each(|url| named.repository(url));
    }
    if let Some(lock) = project.read("Pipfile.lock").and_then(|text| serde_json::from_str::<Value>(&text).ok()) {
        let mut urls = Vec::new();
        texts_in_json(&lock["_meta"], &["url"], &mut urls);
        named.add("Pipfile.lock", urls.into_iter().filter_map(Place::parse));
    }
    named
}

/// The parts of a file that name indexes.
fn parts<'a>(file: &str, table: &'a toml::Value) -> Vec<&'a toml::Value> {
    let below = |path: &[&str]| path.iter().try_fold(table, |table, key| table.get(key));
    let paths: &[&[&str]] = match file {
        "pyproject.toml" => &[
            &["tool", "uv", "index"],
            &["tool", "uv", "pip"],
            &["tool", "poetry", "source"],
            &["tool", "pdm", "source"],
        ],
        "Pipfile" => &[&["source"]],
        _ => return vec![table],
    };
    paths.iter().filter_map(|path| below(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hosts, project};

    #[test]
    fn indexes_are_named_by_files_locks_and_variables_and_home_pages_are_none() {
        let pyproject = "[project]\nname = \"x\"\nurls = { home = \"https://no.example.com\" }\n[[tool.uv.index]]\nurl = \"https://uv.example.com/simple\"\n";
        let uv = "[[package]]\nname = \"a\"\nsource = { registry = \"https://index.example.com/simple\" }\nsdist = { url = \"https://files.example.com/a.tgz\" }\n";
        let (_directory, project) = project(
            &[
                ("pyproject.toml", pyproject),
                ("uv.lock", uv),
                (
                    "requirements-dev.txt",
                    "# https://no.example.com\n--extra-index-url https://bot:s3cret@extra.example.com/simple\nflask\n",
                ),
                (
                    "Pipfile.lock",
                    "{\"_meta\": {\"sources\": [{\"url\": \"https://pipenv.example.com/simple\"}]}, \"default\": {}}",
                ),
            ],
            &[(
                ".pip/pip.conf",
                "[global]\nproxy = http://no.example.com:3128\nindex-url = https://conf.example.com/simple\n",
            )],
            &[("UV_INDEX", "acme=https://named.example.com/simple https://two.example.com/simple")],
        );
        let mut found = hosts("Python", &project);
        found.retain(|host| host.ends_with("example.com"));
        assert_eq!(
            found,
            ["named", "two", "extra", "conf", "uv", "files", "index", "pipenv"]
                .map(|name| format!("{name}.example.com"))
        );
    }
}
