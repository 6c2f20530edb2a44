//! Maven and Gradle.
//!
//! Enters: pom.xml, build scripts, settings. Leaves: the hosts of their repositories. Never: a project's page, a schema's address.

use super::{Named, Packages};
use crate::init::place::{Place, in_lines};
use crate::init::project::Project;

pub(super) const MAVEN: Packages = Packages {
    kind: "Maven",
    client: "Maven fetches artifacts",
    marks: &["pom.xml"],
    named: maven,
    encoded_slash: false,
};

pub(super) const GRADLE: Packages = Packages {
    kind: "Gradle",
    client: "Gradle fetches artifacts",
    marks: &["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"],
    named: gradle,
    encoded_slash: false,
};

fn maven(project: &Project) -> Named {
    let mut named = Named::default();
    for (file, text) in
        [("pom.xml", project.read("pom.xml")), ("~/.m2/settings.xml", project.read_home(".m2/settings.xml"))]
    {
        named.add(file, text.as_deref().map(repositories).unwrap_or_default());
    }
    named
}

/// Every `<url>` of a repository or of a mirror.
fn repositories(text: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for element in ["repository", "pluginRepository", "mirror"] {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        for part in text.split(&open).skip(1) {
            let part = part.split(&close).next().unwrap_or_default();
            let url = part.split_once("<url>").and_then(|(_, rest)| rest.split_once("</url>"));
            places.extend(url.and_then(|(url, _)| Place::parse(url)));
        }
    }
    places
}

fn gradle(project: &Project) -> Named {
    let mut named = Named::default();
    let repository = |line: &str| !line.starts_with("//") && (line.contains("url") || line.contains("uri("));
    for file in ["settings.gradle", "settings.gradle.kts", "build.gradle", "build.gradle.kts"] {
        named.add(file, project.read(file).map(|text| in_lines(&text, repository)).unwrap_or_default());
    }
    let file = "gradle/wrapper/gradle-wrapper.properties";
    let wrapper = project.read(file).map(|text| in_lines(&text, |line| line.starts_with("distributionUrl")));
    named.add(file, wrapper.unwrap_or_default());
    named
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hosts, project};

    #[test]
    fn repositories_are_read_from_scripts_and_settings() {
        let pom = "<project><url>https://no.example.com</url><repositories><repository><id>a</id>\n<url> https://a.example.com/m2 </url></repository></repositories></project>";
        let settings =
            "<settings><mirrors><mirror><url>https://mirror.example.com/m2</url></mirror></mirrors></settings>";
        let gradle = "// url https://no.example.com\nrepositories { maven { url 'https://g.example.com/m2' } }\n";
        let (_directory, project) = project(
            &[
                ("pom.xml", pom),
                ("build.gradle", gradle),
                ("gradle/wrapper/gradle-wrapper.properties", "distributionUrl=https\\://w.example.com/g.zip\n"),
            ],
            &[(".m2/settings.xml", settings)],
            &[],
        );
        assert_eq!(hosts("Maven", &project), ["a.example.com", "mirror.example.com"]);
        assert_eq!(hosts("Gradle", &project), ["g.example.com", "w.example.com"]);
    }
}
