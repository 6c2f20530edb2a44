//! Go, RubyGems, Composer and NuGet.
//!
//! Enters: their manifests, lock files and settings. Leaves: the hosts that these name. Never: what a module's own path looks like: it is
//! fetched by way of a proxy.

use serde_json::Value;

use super::{Named, Packages, texts_in_json};
use crate::init::place::{Place, in_lines};
use crate::init::project::{Project, text};

pub(super) const GO: Packages = Packages {
    kind: "Go",
    client: "go fetches modules",
    marks: &["go.mod", "go.work"],
    named: go,
    encoded_slash: false,
};
pub(super) const GEMS: Packages = Packages {
    kind: "Ruby",
    client: "Bundler fetches gems",
    marks: &["Gemfile", "Gemfile.lock"],
    named: gems,
    encoded_slash: false,
};
pub(super) const COMPOSER: Packages = Packages {
    kind: "PHP",
    client: "Composer fetches packages",
    marks: &["composer.json", "composer.lock"],
    named: composer,
    encoded_slash: false,
};
pub(super) const NUGET: Packages = Packages {
    kind: ".NET",
    client: "dotnet fetches packages",
    marks: &["*.csproj", "*.fsproj", "*.sln", "nuget.config", "NuGet.Config", "packages.lock.json"],
    named: nuget,
    encoded_slash: false,
};

/// The proxies of the environment, of the user's `go env -w`, or of the installation.
fn go(project: &Project) -> Named {
    let mut named = Named::default();
    let proxies = |list: &str| list.split([',', '|']).filter_map(Place::parse).collect::<Vec<_>>();
    if let Some(list) = project.setting("GOPROXY") {
        named.add("GOPROXY", proxies(list));
        return named;
    }
    let root = project.setting("GOROOT").unwrap_or("/usr/local/go");
    for (file, settings) in [
        ("~/.config/go/env", project.read_home(".config/go/env")),
        ("go.env", text(format!("{root}/go.env").as_ref())),
        ("go.env", text("/usr/lib/go/go.env".as_ref())),
    ] {
        let list = settings.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("GOPROXY="));
        if let Some(list) = list {
            named.add(file, proxies(list));
            break;
        }
    }
    named
}

fn gems(project: &Project) -> Named {
    let mut named = Named::default();
    let source = |line: &str| line.starts_with("source ") || line.starts_with("source(");
    named.add("Gemfile", project.read("Gemfile").map(|text| in_lines(&text, source)).unwrap_or_default());
    let mut from_git = false;
    for line in project.read("Gemfile.lock").unwrap_or_default().lines() {
        match line.trim().strip_prefix("remote: ") {
            Some(url) if from_git => named.repository(url),
            Some(url) => named.add("Gemfile.lock", Place::parse(url)),
            None if !line.starts_with(' ') => from_git = line == "GIT",
            None => {}
        }
    }
    named
}

fn composer(project: &Project) -> Named {
    let mut named = Named::default();
    let read = |file: &str| project.read(file).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let mut add = |file: &str, value: &Value| {
        let mut urls = Vec::new();
        texts_in_json(value, &["url"], &mut urls);
        named.add(file, urls.into_iter().filter_map(Place::parse));
    };
    if let Some(manifest) = read("composer.json") {
        add("composer.json", &manifest["repositories"]);
    }
    if let Some(lock) = read("composer.lock") {
        let packages = ["packages", "packages-dev"].iter().filter_map(|key| lock[*key].as_array()).flatten();
        packages.for_each(|package| add("composer.lock", &package["dist"]));
    }
    named
}

fn nuget(project: &Project) -> Named {
    let mut named = Named::default();
    let source = |line: &str| line.starts_with("<add ") && line.contains("value=");
    for file in ["nuget.config", "NuGet.Config", "NuGet.config"] {
        named.add(file, project.read(file).map(|text| in_lines(&text, source)).unwrap_or_default());
    }
    let own = project.read_home(".nuget/NuGet/NuGet.Config");
    named.add("~/.nuget/NuGet/NuGet.Config", own.map(|text| in_lines(&text, source)).unwrap_or_default());
    named
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hosts, project};

    #[test]
    fn each_manager_is_read_in_its_own_format() {
        let lock =
            "GIT\n  remote: https://git.example.com/acme/x.git\n  specs:\nGEM\n  remote: https://gems.example.com/\n";
        let composer = r#"{"packages": [{"source": {"url": "https://no.example.com/x.git"}, "dist": {"url": "https://dist.example.com/x.zip"}}]}"#;
        let nuget = "<packageSources>\n  <add key=\"a\" value=\"https://nuget.example.com/v3/index.json\" />\n</packageSources>";
        let (_directory, project) = project(
            &[
                ("go.mod", "module no.example.com/x\n"),
                ("Gemfile", "source \"https://bot:s3cret@source.example.com\"\n# source 'https://no.example.com'\n"),
                ("Gemfile.lock", lock),
                ("composer.lock", composer),
                ("nuget.config", nuget),
            ],
            &[],
            &[("GOPROXY", "https://go.example.com|https://bot:s3cret@other.example.com/x,direct")],
        );
        assert_eq!(hosts("Go", &project), ["go.example.com", "other.example.com"]);
        assert_eq!(hosts("Ruby", &project), ["source.example.com", "gems.example.com"]);
        assert_eq!(hosts("PHP", &project), ["dist.example.com"]);
        assert_eq!(hosts(".NET", &project), ["nuget.example.com"]);
    }
}
