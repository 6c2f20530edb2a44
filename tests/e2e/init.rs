//! `exeat init` writes a configuration that `exeat check` is green on, whatever a project is made of, and no secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{Exeat, GitServer, Live, Run, assert_nowhere_below, output};

/// What no file and no output may have.
const CANARY: &str = "canary-9c56cc51b374c3ba189210d5b6d4bf57790d351c";

/// An installation with nothing in it, and a project of these files. Nothing of the test's own machine is looked at but its programs.
fn project(files: &[(&str, &str)]) -> Exeat {
    let exeat = Exeat::new().bare_environment();
    for (name, text) in files {
        let path = exeat.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::remove_dir(exeat.config("agents")).unwrap();
    fs::create_dir(exeat.path("home")).unwrap();
    let home = exeat.path("home").display().to_string();
    exeat.environment("HOME", &home).environment("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

fn init(exeat: &Exeat, arguments: &[&str]) -> Run {
    Live::finish(exeat.exeat(&[&["init"], arguments].concat()))
}

fn policy(exeat: &Exeat, agent: &str) -> String {
    fs::read_to_string(exeat.config(&format!("agents/{agent}.toml"))).unwrap()
}

fn git(exeat: &Exeat, commands: &[&[&str]]) {
    let work = exeat.work();
    for command in commands {
        output(&[&["git", "-C", work.to_str().unwrap()], *command].concat());
    }
}

#[test]
fn check_is_green_on_what_is_written_for_projects_of_many_kinds() {
    let locked = r#"{"lockfileVersion": 3, "packages": {"node_modules/a": {"resolved": "https://npm.example.com/a/-/a-1.0.0.tgz"}}}"#;
    let uv =
        "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { registry = \"https://pypi.example.com/simple\" }\n";
    for (name, files, hosts) in [
        ("nothing", &[][..], &[][..]),
        ("node", &[("package.json", "{}"), ("package-lock.json", locked)], &["npm.example.com"]),
        ("python", &[("pyproject.toml", "[project]\nname = \"x\"\n"), ("uv.lock", uv)], &["pypi.example.com"]),
        ("requirements", &[("requirements.txt", "-i http://10.1.2.3:8080/simple\nflask\n")], &["10.1.2.3:8080"]),
        (
            "rust",
            &[
                ("Cargo.toml", "[package]\n"),
                ("Cargo.lock", "[[package]]\nname = \"a\"\nsource = \"sparse+https://crates.example.com/\"\n"),
            ],
            &["crates.example.com"],
        ),
        ("ruby", &[("Gemfile", "source 'https://gems.example.com'\n")], &["gems.example.com"]),
        (
            "maven",
            &[("pom.xml", "<repositories><repository><url>https://m2.example.com/x</url></repository></repositories>")],
            &["m2.example.com"],
        ),
        (
            "php",
            &[(
                "composer.json",
                "{\"repositories\": [{\"type\": \"composer\", \"url\": \"https://php.example.com\"}]}",
            )],
            &["php.example.com"],
        ),
        ("go", &[("go.mod", "module example.com/x\n"), ("broken.lock", "\u{0}")], &[]),
        (
            "broken",
            &[
                ("package.json", "{"),
                ("package-lock.json", "{{{"),
                ("uv.lock", "= ="),
                ("Cargo.lock", "["),
                ("pom.xml", "<<"),
            ],
            &[],
        ),
    ] {
        let exeat = project(files);
        let run = init(&exeat, &["--agent", name]).ok();
        let text = policy(&exeat, name);
        for host in hosts {
            assert!(text.contains(&format!("\nto = \"{host}\"\n")), "{name}: {text}");
        }
        // What nothing names is a rule to complete, one for each client, and says how.
        if hosts.is_empty() && !files.is_empty() {
            let drafts = text.matches("# to = \"registry.example.com\"").count();
            let explained = text.replace("\n# ", " ").matches("put the host in here:").count();
            assert!(drafts > 0 && drafts == explained, "{name}: {text}");
            assert!(text.contains("--observe"), "{name}: {text}");
        }
        let check = exeat.exeat(&["check"]).finish().ok();
        assert!(check.stdout.contains("1 agents, 0 credentials, no mistakes"), "{name}: {check:#?}");
        assert!(run.stdout.contains(&format!("exeat run --agent {name} ")), "{name}: {run:#?}");
    }
}

#[test]
fn variables_become_credentials_and_no_secret_is_written_or_said() {
    let url = format!("https://bot:{CANARY}@github.com/acme/site.git");
    let npmrc = format!("registry=https://bot:{CANARY}@npm.example.com/\n//npm.example.com/:_authToken={CANARY}\n");
    let mut exeat = project(&[("package.json", "{}"), (".npmrc", &npmrc), (".env", &format!("X={CANARY}\n"))]);
    git(&exeat, &[&["init", "-q"], &["remote", "add", "origin", &url]]);
    let secrets = [
        "GITHUB_TOKEN",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "HF_TOKEN",
        "NPM_TOKEN",
        "SLACK_BOT_TOKEN",
        "STRIPE_API_KEY",
        "VAULT_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_CLIENT_SECRET",
        "GITLAB_TOKEN",
    ];
    for variable in secrets {
        exeat = exeat.environment(variable, CANARY);
    }
    let vault = format!("https://x:{CANARY}@vault.example.com:8200/?x={CANARY}");
    // Where the project alone says it, no secret goes.
    let exeat = exeat.environment("NPM_CONFIG_REGISTRY", &format!("https://x:{CANARY}@npm.example.com/"));
    let exeat =
        exeat.environment("VAULT_ADDR", &vault).environment("GOPROXY", &format!("https://x:{CANARY}@go.example.com"));
    for arguments in
        [&["--agent", "bot", "--dry-run"][..], &["--agent", "bot", "--dry-run", "--json"], &["--agent", "bot"]]
    {
        let run = init(&exeat, arguments).ok();
        assert!(!run.stdout.contains(CANARY) && !run.stderr.contains(CANARY), "{run:#?}");
    }
    assert_nowhere_below(&exeat.config(""), &[CANARY]);
    let credentials = fs::read_to_string(exeat.config("credentials.toml")).unwrap();
    for (section, variable) in
        [("github", "GITHUB_TOKEN"), ("openai", "OPENAI_API_KEY"), ("npm", "NPM_TOKEN"), ("vault", "VAULT_TOKEN")]
    {
        assert!(credentials.contains(&format!("\n[{section}]\n")), "{credentials}");
        assert!(credentials.contains(&format!("value = {{ env = \"{variable}\" }}")), "{credentials}");
    }
    assert!(
        credentials.contains("# issuer = \"github-app\"") && credentials.contains("# issuer = \"aws-sts\""),
        "{credentials}"
    );
    let policy = policy(&exeat, "bot");
    for line in [
        "to = \"api.github.com\"",
        "\"/repos/acme/site/**\"",
        "\"/acme/site.git/git-upload-pack\"",
        "to = \"vault.example.com:8200\"",
        "to = \"npm.example.com\"",
    ] {
        assert!(policy.contains(line), "no {line}: {policy}");
    }
    assert!(!policy.contains("git-receive-pack\"]"), "to push is for a person to add: {policy}");
    let check = exeat.exeat(&["check", "--json"]).finish().ok().json();
    assert_eq!(
        (&check["mistakes"], check["credentials"].as_u64().unwrap() > 8),
        (&serde_json::json!([]), true),
        "{check}"
    );
    let mode = fs::metadata(exeat.config("credentials.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_there_is_never_written_over() {
    let exeat = project(&[]).environment("OPENAI_API_KEY", "sk-x");
    init(&exeat, &["--agent", "bot"]).ok();
    let before = |name: &str| fs::read_to_string(exeat.config(name)).unwrap();
    fs::write(exeat.config("agents/bot.toml"), "# mine\n").unwrap();
    fs::write(exeat.config("credentials.toml"), "# mine too\n").unwrap();
    let again = init(&exeat, &["--agent", "bot"]).ended_with(125);
    assert!(again.stderr.contains("agents/bot.toml") && again.stderr.contains("--agent bot-2"), "{again:#?}");
    // Another agent's file is new; the credentials are for somebody to add.
    let other = init(&exeat, &["--agent", "other"]).ok();
    assert!(other.stdout.contains("is there already") && other.stdout.contains("agents = [\"other\"]"), "{other:#?}");
    assert_eq!((before("agents/bot.toml").as_str(), before("credentials.toml").as_str()), ("# mine\n", "# mine too\n"));
    assert!(policy(&exeat, "other").contains("once credentials.toml grants it"));
    exeat.exeat(&["check"]).finish().ok();
    // A link leads to a file that is somebody's, too.
    std::os::unix::fs::symlink(exeat.path("elsewhere"), exeat.config("agents/linked.toml")).unwrap();
    init(&exeat, &["--agent", "linked"]).ended_with(125);
    assert!(!exeat.path("elsewhere").exists());
}

#[test]
fn a_dry_run_writes_nothing_and_a_program_reads_one_document() {
    let exeat = project(&[("Gemfile", "source 'https://gems.example.com'\n")]);
    let shown = init(&exeat, &["--agent", "bot", "--dry-run"]).ok();
    assert!(shown.stdout.contains("to = \"gems.example.com\"") && shown.stdout.contains("(not written)"), "{shown:#?}");
    assert!(!exeat.config("agents").exists());
    let told = init(&exeat, &["--json"]).ok().json();
    assert_eq!((&told["schema"], &told["agent"]), (&"exeat-init/1".into(), &"work".into()));
    assert_eq!(told["files"][0]["text"], policy(&exeat, "work").as_str());
    assert!(told["found"][0]["what"].as_str().unwrap().starts_with("Ruby"), "{told}");
    let nowhere = init(&exeat, &["nowhere"]).ended_with(125);
    assert!(nowhere.stderr.contains("nowhere") && nowhere.stderr.contains("hint:"), "{nowhere:#?}");
}

#[test]
fn what_a_project_calls_things_is_neither_run_nor_read_as_more_than_a_name() {
    let odd = "x\"\n[[allow]]\nto = \"evil.example.com\"\n\u{1b}[2J#";
    let exeat = project(&[("package.json", "{}")]);
    let lock = serde_json::json!({ "packages": { odd: { "resolved": format!("https://{odd}/x") }, "y": { "resolved": format!("https://npm.example.com/{odd}") } } });
    fs::write(exeat.work().join("package-lock.json"), lock.to_string()).unwrap();
    git(&exeat, &[&["init", "-q"], &["remote", "add", "a.b'$(touch-pwned)", "https://git.example.com/acme/site.git"]]);
    // What git would run for whoever asks it more than what a file has.
    let hostile = "\n[core]\n\tfsmonitor = touch pwned\n\tpager = touch pwned\n\tsshCommand = touch pwned\n[alias]\n\tconfig = !touch pwned\n[include]\n\tpath = evil\n";
    let config = exeat.work().join(".git/config");
    fs::write(&config, fs::read_to_string(&config).unwrap() + hostile).unwrap();
    fs::write(exeat.work().join(".git/evil"), "[remote \"evil\"]\n\turl = https://evil.example.com/x/y\n").unwrap();
    let sub = exeat.work().join(odd);
    fs::create_dir(&sub).unwrap();
    let run = init(&exeat, &["--agent", "bot"]).ok();
    init(&exeat, &[sub.to_str().unwrap()]).ok();
    let text = policy(&exeat, "bot");
    assert!(!text.contains("\nto = \"evil.example.com\"") && text.contains("to = \"npm.example.com\""), "{text}");
    assert_eq!(text.matches("\n[[allow]]\n").count(), 2, "{text}");
    assert!(!run.stdout.contains('\u{1b}') && !text.contains('\u{1b}'));
    assert!(!exeat.work().join("pwned").exists() && !Path::new("pwned").exists());
    exeat.exeat(&["check"]).finish().ok();
}

#[test]
fn a_pipe_in_the_place_of_the_repositorys_configuration_is_not_waited_for() {
    let exeat = project(&[("package.json", "{}")]);
    fs::create_dir(exeat.work().join(".git")).unwrap();
    assert!(Command::new("mkfifo").arg(exeat.work().join(".git/config")).status().unwrap().success());
    let run = init(&exeat, &["--agent", "bot", "--dry-run", "--json"]).ok();
    assert!(run.stdout.contains("the repository's configuration is no file"), "{run:#?}");
}

#[test]
fn git_works_with_what_was_written_for_a_remote_that_went_over_ssh() {
    let server = GitServer::start();
    let exeat =
        project(&[]).environment("GITLAB_HOST", "git.example.com").environment("GITLAB_TOKEN", GitServer::PASSWORD);
    git(&exeat, &[&["init", "-q"], &["remote", "add", "origin", "git@git.example.com:acme/site.git"]]);
    let said = init(&exeat, &["--agent", "bot"]).ok();
    assert!(said.stdout.contains("by SSH") && said.stdout.contains("run --agent bot -- git ls-remote"), "{said:#?}");
    // Where the test's server is, whom it is known by, and what it calls its user.
    let text = policy(&exeat, "bot");
    assert!(text.contains("does not leave the sandbox"), "{text}");
    let dial = format!("to = \"git.example.com\"\ndial = \"{}\"\n", server.dial());
    let text = text.replace("to = \"git.example.com\"\n", &dial) + "\n[upstream]\nroots = [\"../ca.pem\"]\n";
    fs::write(exeat.config("agents/bot.toml"), text).unwrap();
    let credentials = fs::read_to_string(exeat.config("credentials.toml")).unwrap();
    let user = "files = [{ template = \"git\", user = \"bot\" }]";
    fs::write(exeat.config("credentials.toml"), credentials.replace("files = [\"git\"]", user)).unwrap();
    let run = exeat.run(&["git", "ls-remote", "origin"]).ok();
    assert!(run.stdout.contains("refs/heads/main") && run.log.refusals().is_empty(), "{run:#?}");
    let push = exeat.run(&["git", "push", "origin", "HEAD:refs/heads/x"]);
    assert_ne!(push.code, Some(0), "{push:#?}");
}
