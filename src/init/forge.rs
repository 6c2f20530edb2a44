//! Where the project's repository is, and what is called there.
//!
//! Enters: git remotes, and which credentials for such hosts are set. Leaves: rules to fetch by, rules for the host's API, credentials for both. Never:
//! leave to push; that is a line to be added by whoever means it.

use super::draft::Draft;
use super::place::Place;
use super::project::Project;
use super::remote::{self, Remote, Remotes};
use super::rule::Rule;
use super::stub::{self, Stub};

const GITHUB: &[&str] = &["GITHUB_TOKEN", "GH_TOKEN"];
const GITLAB: &[&str] = &["GITLAB_TOKEN", "GITLAB_PRIVATE_TOKEN"];
const SSH: &str = "this remote goes over SSH, which does not leave the sandbox: nothing but HTTPS is judged. With a credential that has \
    files = [\"git\"] git goes over HTTPS by itself; without one say: git config url.\"https://HOST/\".insteadOf git@HOST:";

/// Kinds of hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forge {
    GitHub,
    GitLab,
    Other,
}

/// Adds them.
pub(super) fn add(project: &Project, draft: &mut Draft) {
    let Remotes { read: remotes, others, unread } = remote::all(project);
    let no_remote = unread.as_deref().unwrap_or("no remote is there");
    if let Some(why) = &unread {
        draft.found("git remotes", format!("no rule: {why}, so none is known"));
    }
    for name in others {
        draft.found(format!("git remote {name}"), "no rule: its URL is none that goes over HTTPS");
    }
    let github = Place::of(project.setting("GH_HOST").unwrap_or("github.com"));
    let gitlab = project.setting("GITLAB_HOST").and_then(|host| Place::parse(host).or_else(|| Place::of(host)));
    let kind = |at: &Place| match at.to() {
        host if github.as_ref().is_some_and(|github| github.to() == host) => Forge::GitHub,
        host if gitlab.as_ref().is_some_and(|gitlab| gitlab.to() == host)
            || host.split('.').any(|label| label == "gitlab") =>
        {
            Forge::GitLab
        }
        _ => Forge::Other,
    };
    let github_set = GITHUB.iter().copied().find(|variable| project.has(variable));
    let gitlab_set = GITLAB.iter().copied().find(|variable| project.has(variable));
    // Where a secret goes is not for the project to say: whoever wrote that may be a stranger, or the agent.
    let own_gitlab = gitlab.clone().or_else(|| Place::of("gitlab.com"));
    for remote in &remotes {
        let kind = kind(&remote.at);
        let credential = match kind {
            Forge::GitHub => github_set.map(|_| "github"),
            Forge::GitLab if own_gitlab.as_ref().is_some_and(|own| own.to() == remote.at.to()) => {
                gitlab_set.map(|_| "gitlab")
            }
            Forge::GitLab | Forge::Other => None,
        };
        fetch(remote, credential, draft);
    }
    let of = |wanted: Forge| remotes.iter().filter(move |remote| kind(&remote.at) == wanted);
    if let (Some(variable), Some(at)) = (github_set, &github) {
        on_github(project, variable, at, (&of(Forge::GitHub).collect::<Vec<_>>(), no_remote), draft);
    }
    // One that only a remote names is for a person to confirm.
    let named = of(Forge::GitLab).map(|remote| &remote.at);
    let own = |at: &&Place| own_gitlab.as_ref().is_some_and(|own| own.to() == at.to());
    let at = gitlab.as_ref().or_else(|| named.clone().find(own)).or_else(|| named.clone().next());
    let at = at.or(own_gitlab.as_ref()).filter(|at| !at.is_plain());
    if let (Some(variable), Some(at)) = (gitlab_set, at) {
        let here: Vec<&Remote> = of(Forge::GitLab).filter(|remote| remote.at.to() == at.to()).collect();
        on_gitlab(variable, (at, own(&at)), (&here, no_remote), draft);
    }
}

/// What git asks for when it fetches.
pub(super) fn fetched(repository: &str) -> [String; 4] {
    let of = |name: String| [format!("{name}/info/refs"), format!("{name}/git-upload-pack")];
    let [a, b] = of(format!("{repository}.git"));
    let [c, d] = of(repository.to_owned());
    [a, b, c, d]
}

fn fetch(remote: &Remote, credential: Option<&'static str>, draft: &mut Draft) {
    let Remote { name, by, at, repository } = remote;
    let what = format!("git remote {name}: {at}{repository}{}", if *by == "ssh" { ", by SSH" } else { "" });
    let why =
        format!("git remote {name}: to fetch. To push as well, add \"{repository}.git/git-receive-pack\" to the paths");
    let mut rule = Rule::to(at, &["GET", "POST"], why).paths(fetched(repository)).credential(credential);
    if *by == "ssh" {
        rule.why.push(SSH.replace("HOST", &at.to()));
    }
    draft.found(what, "a rule to fetch");
    draft.rules.add(rule);
}

/// Why there are none is beside the remotes.
fn on_github(
    project: &Project,
    variable: &'static str,
    at: &Place,
    (remotes, no_remote): (&[&Remote], &str),
    draft: &mut Draft,
) {
    let host = at.to();
    let (api, below) = match host.as_str() {
        "github.com" => (Place::of("api.github.com"), ""),
        _ => (Some(at.clone()), "/api/v3"),
    };
    let Some(api) = api else { return };
    let mut paths: Vec<String> = Vec::new();
    for Remote { repository, .. } in remotes {
        paths.extend([format!("{below}/repos{repository}"), format!("{below}/repos{repository}/**")]);
    }
    let mut rule = Rule::to(
        &api,
        &["GET"],
        "GitHub's API, to read. Add \"POST\" and the like to the methods where the agent is to write",
    );
    if paths.is_empty() {
        rule.why.push(format!(
            "{no_remote}, so it is for what the credential may read: narrow it, as in \"/repos/OWNER/NAME/**\""
        ));
        paths.extend([format!("{below}/user"), format!("{below}/repos/**")]);
    }
    rule = rule.paths(paths);
    draft.rules.add(rule.credential(Some("github")));
    let mut to = vec![api.to()];
    if api.to() != host && !remotes.is_empty() {
        to.push(host);
    }
    let mut stub = Stub::of_variable("github", variable, to, format!("{variable}, for git, gh and GitHub's API."));
    let looks = [
        ("ghp_", "github-pat"),
        ("github_pat_", "github-fine-grained"),
        ("gho_", "github-oauth"),
        ("ghs_", "github-app"),
    ];
    stub.shape = looks.iter().find(|(start, _)| project.begins(variable, start)).map(|(_, shape)| *shape);
    let files = if remotes.is_empty() { "files = [\"gh\"]" } else { "files = [\"gh\", \"git\"]" };
    stub.lines.push(files.to_owned());
    let repository = remotes.first().and_then(|remote| remote.repository.rsplit('/').next()).unwrap_or("NAME");
    stub.instead = Some(format!(
        "issuer = \"github-app\"            # an access of its own for each worker, for an hour, revoked at its end\n\
         client_id = \"Iv23li\"\ninstallation_id = 67890\nkey = {{ file = \"secrets/github-app.pem\" }}\n\
         repositories = [\"{repository}\"]\npermissions = {{ contents = \"read\" }}\n"
    ));
    draft.credential(variable, stub);
}

fn on_gitlab(
    variable: &'static str,
    (at, own): (&Place, bool),
    (remotes, no_remote): (&[&Remote], &str),
    draft: &mut Draft,
) {
    let mut paths = Vec::new();
    for Remote { repository, .. } in remotes {
        let id = repository.trim_start_matches('/').replace('/', "%2F");
        paths.extend([format!("/api/v4/projects/{id}"), format!("/api/v4/projects/{id}/**")]);
    }
    let mut rule = Rule::to(
        at,
        &["GET"],
        "GitLab's API, to read. Add \"POST\" and the like to the methods where the agent is to write",
    );
    if paths.is_empty() {
        rule.why.push(format!(
            "{no_remote}, so it is for what the credential may read: narrow it, as in \"/api/v4/projects/OWNER%2FNAME/**\""
        ));
        paths.extend(["/api/v4/user".to_owned(), "/api/v4/projects/**".to_owned()]);
    }
    (rule.encoded_slash, rule.draft) = (true, !own);
    let unsure = || stub::only_by_the_project("a git remote; GITLAB_HOST would have said it");
    rule.why.extend((!own).then(unsure));
    draft.rules.add(rule.paths(paths).credential(Some("gitlab")));
    let mut stub =
        Stub::of_variable("gitlab", variable, vec![at.to()], format!("{variable}, for git and GitLab's API."));
    stub.shape = Some("gitlab");
    stub.lines.push("files = [\"git\"]".to_owned());
    stub.draft = !own;
    stub.why.extend((!own).then(unsure));
    stub.why.push("A project's own access with an expiry, made for this agent, is better than a person's.".to_owned());
    draft.credential(variable, stub);
}
