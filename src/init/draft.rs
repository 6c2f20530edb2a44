//! What is going to be written, as it comes together.
//!
//! Enters: what each look found. Leaves: the text of a policy and of credentials.toml. Never: a rule that nobody is told about.

use config::AgentId;
use serde::Serialize;

use super::packages::{KINDS, MOST, Packages};
use super::place::Place;
use super::project::Project;
use super::rule::{Rule, Rules};
use super::stub::Stub;
use super::variable::{KNOWN, Known};
use super::writing::{comment, shown};
use super::{cloud, forge};

const READ: &[&str] = &["GET", "HEAD"];
const PROXIES: [&str; 3] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"];
const UNKNOWN_HOST: &str = "registry.example.com";

/// Something that was found, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub(super) what: String,
    pub(super) becomes: String,
}

/// A configuration.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) rules: Rules,
    pub(super) stubs: Vec<Stub>,
    pub(super) found: Vec<Found>,
    proxy: Option<(Place, &'static str)>,
}

impl Draft {
    /// Everything that is found in a project and around it.
    pub(super) fn of(project: &Project, agent: &AgentId) -> Self {
        let mut draft = Self::default();
        forge::add(project, &mut draft);
        KNOWN.iter().for_each(|known| draft.known(known, project));
        cloud::add(project, &mut draft);
        let names = project.names();
        for kind in &KINDS {
            let marks = kind.marks(&names);
            if !marks.is_empty() {
                draft.packages(kind, &marks, project, agent);
            }
        }
        draft.npm(project);
        draft.proxy = PROXIES.iter().find_map(|name| Some((Place::parse(project.setting(name)?)?, *name)));
        draft
    }

    /// Says that something was found.
    pub(super) fn found(&mut self, what: impl AsRef<str>, becomes: impl AsRef<str>) {
        self.found.push(Found { what: shown(what.as_ref()), becomes: shown(becomes.as_ref()) });
    }

    /// Adds a credential, by the variable that it was found by.
    pub(super) fn credential(&mut self, variable: &str, stub: Stub) {
        let becomes = match stub.draft {
            false => format!("credential {}, for {}", stub.name, stub.to.join(", ")),
            true => format!("credential {}, as a comment to complete", stub.name),
        };
        self.found(variable, becomes);
        self.stubs.push(stub);
    }

    fn known(&mut self, known: &Known, project: &Project) {
        let Some(variable) = known.set(project) else { return };
        let place = known.place(project).filter(|place| !place.is_plain() && !place.is_here());
        let said = known.settings().join(" or ");
        let host = match &place {
            Some(place) => place.to(),
            None if known.settings().iter().any(|setting| project.has(setting)) => {
                let why =
                    format!("no rule: {said} names this machine itself, or no HTTPS, on which no credential ever goes");
                return self.found(variable, why);
            }
            None => UNKNOWN_HOST.to_owned(),
        };
        let mut stub = Stub::of_variable(known.name, variable, vec![host.clone()], format!("{variable}."));
        stub.shape = known.shape(project, variable);
        stub.lines.extend(known.lines.iter().map(|line| (*line).to_owned()));
        stub.why.push(known.instead.to_owned());
        let mut rule =
            Rule::named(&host, known.methods, format!("what {variable} is for")).credential(Some(known.name));
        rule.paths = match place.as_ref().map(|place| place.path.as_str()) {
            Some(path) if is_modest(path) => vec![format!("{path}/**")],
            Some("") => known.paths.iter().map(|path| (*path).to_owned()).collect(),
            _ => Vec::new(),
        };
        if place.is_none() {
            rule.why.push(format!(
                "put in the host that it is for; {said} would have said it, or `exeat run --observe` shows it"
            ));
            (rule.draft, stub.draft) = (true, true);
        }
        self.rules.add(rule);
        self.credential(variable, stub);
    }

    fn packages(&mut self, kind: &Packages, marks: &[&str], project: &Project, agent: &AgentId) {
        let mut named = (kind.named)(project);
        let what = format!("{} ({})", kind.kind, marks.join(", "));
        named.hosts.retain(|(place, _)| !place.is_here());
        let more = named.hosts.len().saturating_sub(MOST);
        named.hosts.truncate(MOST);
        for (place, file) in &named.hosts {
            let mut rule = Rule::to(place, READ, format!("{}: {file} names this host", kind.client));
            rule.encoded_slash = kind.encoded_slash;
            self.rules.add(rule);
        }
        for (at, repository) in named.repositories.iter().take(MOST) {
            let why = format!("{}: one of them is this repository", kind.client);
            self.rules.add(Rule::to(at, &["GET", "POST"], why).paths(forge::fetched(repository)));
        }
        if named.hosts.is_empty() {
            let why = format!(
                "{}, and no file here says from where. `exeat run --agent {agent} --observe -- COMMAND` lets it through, and `exeat suggest --agent \
                 {agent}` then writes the rule; or put the host in here:",
                kind.client
            );
            let mut rule = Rule::draft(UNKNOWN_HOST, READ, why);
            rule.encoded_slash = kind.encoded_slash;
            self.rules.add(rule);
            return self.found(what, "a rule to complete: no file here names where they come from");
        }
        let hosts: Vec<String> = named.hosts.iter().map(|(place, _)| place.to()).collect();
        let rest = if more > 0 { format!(", and {more} more without a rule") } else { String::new() };
        self.found(what, format!("rules to fetch from {}{rest}", hosts.join(", ")));
    }

    /// npm's own, which goes to whatever registry the project has.
    fn npm(&mut self, project: &Project) {
        let Some(variable) = ["NPM_TOKEN", "NODE_AUTH_TOKEN"].into_iter().find(|variable| project.has(variable)) else {
            return;
        };
        let npm = KINDS.iter().find(|kind| kind.encoded_slash).map(|kind| (kind.named)(project)).unwrap_or_default();
        let fit = |(place, _): &&(Place, String)| !place.is_here() && !place.is_plain();
        // Where a secret goes is not for the project to say: whoever wrote that may be a stranger, or the agent.
        let own = |(_, by): &&(Place, String)| by.starts_with('~') || project.setting(by).is_some();
        let said = npm.hosts.iter().filter(fit).find(own).or_else(|| npm.hosts.iter().find(fit));
        let place = said.filter(own).map(|(place, _)| place);
        let host = said.map_or(UNKNOWN_HOST.to_owned(), |(place, _)| place.to());
        let mut stub = Stub::of_variable(
            "npm",
            variable,
            vec![host],
            format!("{variable}, for packages that not everybody may read."),
        );
        stub.shape = Some("npm").filter(|_| project.begins(variable, "npm_"));
        stub.lines.push("files = [\"npmrc\"]".to_owned());
        stub.why.push("Better: one that may only read, for these packages, with an end.".to_owned());
        stub.draft = place.is_none();
        if let (None, Some((_, by))) = (place, said) {
            stub.why.push(super::stub::only_by_the_project(by));
        }
        if let Some(place) = place {
            let mut rule = Rule::to(place, READ, format!("what {variable} is for")).credential(Some("npm"));
            rule.encoded_slash = true;
            self.rules.add(rule);
        }
        self.credential(variable, stub);
    }

    /// The agent's file.
    pub(super) fn policy(&self, agent: &AgentId, project: &str) -> String {
        let mut text = comment(&format!(
            "What the agent {agent} may do. `exeat init` wrote it for what it found in {project}: read it before you rely on it."
        ));
        text += "# `exeat check` says what is wrong with it; an edit is in force from the next call on, also in workers that run.\n\n";
        text += "[sandbox]\nwrite = [\".\"]                    # the directory of the start; without the line it is read-only\n";
        text += "# write = \"overlay\"              # or: writable inside, and outside as it was; `exeat diff` shows what changed\n";
        text += "# read = [\"~/.cargo/registry\"]   # more of this machine that can be seen, read-only\n";
        text += "# wall_clock = \"30m\"\n# memory = \"2GiB\"\n";
        if let Some((proxy, name)) = &self.proxy {
            text += "\n";
            text += &comment(&format!(
                "{name} is set here. If upstreams are reached by way of it only, take the # away; its login, if it wants one, goes into a file:"
            ));
            text += &format!(
                "# [upstream]\n# proxy = \"{proxy}\"\n# proxy_login = {{ file = \"../secrets/proxy\" }}   # user:password in one line\n"
            );
        }
        text += "\n# Nothing is allowed but what an [[allow]] says; a [[deny]] wins over all of them.\n";
        if self.rules.in_force() == 0 {
            text += "# Nothing was found that names a host. `exeat run --observe` and `exeat suggest` write rules for what is called.\n";
        }
        text + &self.rules.text()
    }

    /// credentials.toml, where there is anything to be in it.
    pub(super) fn credentials(&self, agent: &AgentId) -> Option<String> {
        let head = "# Where credentials come from, and who gets them. Only the broker reads this file; no secret stands in it.\n\
            # An agent finds a placeholder under `env`; the real one is put in on its way out, towards the hosts under `to` alone.\n\
            # `env` under `value` is a variable of whoever starts `exeat run`, or of the broker where that is a service.\n";
        (!self.stubs.is_empty()).then(|| format!("{head}{}", self.sections(agent)))
    }

    /// Its sections.
    pub(super) fn sections(&self, agent: &AgentId) -> String {
        self.stubs.iter().map(|stub| stub.text(agent.as_str())).collect()
    }
}

/// A path that is surely a path: nothing in it is as long as a secret.
fn is_modest(path: &str) -> bool {
    super::remote::plain(path) && path.split('/').all(|segment| segment.len() <= 24)
}

#[cfg(test)]
mod tests {
    use config::{Credentials, Policy, cross_check};
    use proptest::prelude::*;

    use super::super::packages::tests::project;
    use super::*;

    /// Both files, read as exeat reads them: no mistake, and no rule but those that were meant.
    fn read(draft: &Draft) -> (Policy, Credentials) {
        let agent: AgentId = "bot".parse().unwrap();
        let text = draft.policy(&agent, "site");
        let policy = Policy::parse(agent.clone(), "bot.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(policy.rules().len(), draft.rules.in_force(), "{text}");
        let text = draft.credentials(&agent).unwrap_or_default();
        let credentials =
            Credentials::parse("credentials.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(credentials.iter().count(), draft.stubs.iter().filter(|stub| !stub.draft).count(), "{text}");
        (policy, credentials)
    }

    fn of(project: &Project) -> Draft {
        Draft::of(project, &"bot".parse().unwrap())
    }

    #[test]
    fn every_variable_that_is_known_becomes_a_credential_without_a_mistake() {
        let mut variables: Vec<(&str, &str)> =
            KNOWN.iter().flat_map(|known| known.variables).map(|variable| (*variable, "CANARY-s3cret")).collect();
        variables.extend([
            ("GITHUB_TOKEN", "ghp_CANARY-s3cret"),
            ("GITLAB_TOKEN", "CANARY-s3cret"),
            ("NPM_TOKEN", "npm_CANARY-s3cret"),
            ("AWS_ACCESS_KEY_ID", "CANARY-s3cret"),
            ("AWS_SECRET_ACCESS_KEY", "CANARY-s3cret"),
            ("AWS_SESSION_TOKEN", "CANARY-s3cret"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/CANARY-s3cret.json"),
            ("AZURE_CLIENT_SECRET", "CANARY-s3cret"),
            ("AZURE_CLIENT_ID", "11111111-1111-1111-1111-111111111111"),
            ("AZURE_TENANT_ID", "22222222-2222-2222-2222-222222222222"),
            ("VAULT_ADDR", "https://x:CANARY-s3cret@vault.example.com:8200"),
            ("HTTPS_PROXY", "http://x:CANARY-s3cret@proxy.example.com:3128"),
            ("OPENAI_BASE_URL", "https://gateway.example.com/CANARY-s3cret-that-is-long-enough/v1?k=CANARY-s3cret"),
        ]);
        let (_directory, project) = project(&[], &[], &variables);
        let draft = of(&project);
        let (policy, credentials) = read(&draft);
        assert_eq!(cross_check(&[policy], &credentials), []);
        assert!(credentials.iter().count() > 15);
        let agent = "bot".parse().unwrap();
        let all = format!("{}{}{draft:?}", draft.policy(&agent, "site"), draft.credentials(&agent).unwrap());
        assert!(!all.contains("CANARY"), "{all}");
        assert!(all.contains("to = \"vault.example.com:8200\"") && all.contains("shape = \"github-pat\""), "{all}");
    }

    #[test]
    fn where_a_secret_goes_is_not_for_the_project_to_say() {
        let config = "[remote \"origin\"]\n\turl = https://gitlab.evil.example/acme/site.git\n";
        let files = [
            ("package.json", "{}"),
            (".npmrc", "registry=https://npm.evil.example/\n"),
            (".git/config", config),
            (".git/HEAD", "ref: refs/heads/main\n"),
        ];
        let secrets = [("NPM_TOKEN", "x"), ("GITLAB_TOKEN", "x")];
        let own = [("NPM_CONFIG_REGISTRY", "https://npm.example.com/"), ("GITLAB_HOST", "git.example.com")];
        let told = |home: &[(&str, &str)], variables: &[(&str, &str)]| {
            let (_directory, project) = project(&files, home, variables);
            let draft = of(&project);
            let (policy, credentials) = read(&draft);
            assert_eq!(cross_check(&[policy], &credentials), []);
            let agent = "bot".parse().unwrap();
            let to = credentials.iter().map(|credential| format!("{:?}", credential.grant.to()));
            (to.collect::<Vec<_>>().join(" "), draft.credentials(&agent).unwrap(), draft.policy(&agent, "site"))
        };
        let (to, credentials, policy) = told(&[], &secrets);
        assert_eq!(to, "", "{credentials}");
        for name in ["npm", "gitlab"] {
            assert!(
                credentials.contains(&format!("# [{name}]")) && credentials.contains(".evil.example"),
                "{credentials}"
            );
        }
        assert!(credentials.contains("Only the project names this host"), "{credentials}");
        assert!(!policy.lines().any(|line| line.starts_with("credential")), "{policy}");
        for (home, variables) in [
            (&[][..], [secrets, own].concat()),
            (&[(".npmrc", "registry=https://npm.example.com/\n")], [&secrets[..], &own[1..]].concat()),
        ] {
            let (to, credentials, policy) = told(home, &variables);
            assert!(to.contains("npm.example.com") && to.contains("git.example.com"), "{to}: {credentials}");
            assert!(!to.contains("evil"), "{to}");
            let lines = policy.lines().filter(|line| line.starts_with("credential"));
            assert_eq!(lines.collect::<Vec<_>>(), ["credential = \"gitlab\"", "credential = \"npm\""], "{policy}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn nothing_that_stands_in_a_projects_files_becomes_more_than_a_string_or_a_comment(
            odd in "[ -~\\n\\t\u{80}-\u{ff}]{0,40}",
            host in "api.example.com|git.example.com:8443|[a-z0-9.\\-\"'\\]\\[#\\n*:@/%]{0,30}",
        ) {
            let lock = serde_json::json!({"packages": {&odd: {"resolved": format!("https://{host}/{odd}")}, "x": {"resolved": format!("git+https://{host}/{odd}.git")}}});
            let npmrc = format!("registry=https://{host}/{odd}\n@{odd}:registry=https://{odd}/\n");
            let gemfile = format!("source \"https://{host}\"\nsource '{odd}'\n");
            let (_directory, project) = project(
                &[("package-lock.json", &lock.to_string()), (".npmrc", &npmrc), ("Gemfile", &gemfile), ("requirements.txt", &format!("-i https://{host}/{odd}\n"))],
                &[],
                &[("OPENAI_BASE_URL", format!("https://{host}/{odd}").as_str()), ("OPENAI_API_KEY", "x"), ("AWS_REGION", &odd), ("AWS_ROLE_ARN", &odd),
                  ("AZURE_TENANT_ID", &odd), ("HTTPS_PROXY", &format!("http://{host}")), ("NPM_TOKEN", &odd), ("VAULT_TOKEN", "x"), ("VAULT_ADDR", &host)],
            );
            let mut draft = of(&project);
            for url in [format!("https://{host}/{odd}"), format!("git@{host}:{odd}"), odd.clone()] {
                if let Some(remote) = super::super::remote::Remote::read(&odd, &url) {
                    let rule = Rule::to(&remote.at, &["GET"], format!("remote {odd}")).paths(forge::fetched(&remote.repository));
                    draft.rules.add(rule);
                }
            }
            let (policy, credentials) = read(&draft);
            prop_assert_eq!(cross_check(&[policy], &credentials), []);
            draft.rules.without_credentials();
            read(&draft);
        }
    }
}
