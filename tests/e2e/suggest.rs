//! What an agent called becomes the smallest rules that cover it, proven on package installers; what must not become a rule does not, and
//! nothing that a client writes becomes text of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use serde_json::Value;

use crate::credentials::SECRET;
use crate::harness::{Exeat, Forward, Run, Upstream, tools};
use crate::packages;

/// Index, files, a redirect: more hosts than this, and something else is wrong.
const ROUNDS: usize = 5;

fn suggest(exeat: &Exeat, options: &[&str]) -> Run {
    exeat.exeat(&[&["suggest", "--agent", "bot"], options].concat()).finish().ok()
}

fn append(exeat: &Exeat, lines: &str) {
    let before = fs::read_to_string(exeat.policy_file()).unwrap();
    fs::write(exeat.policy_file(), format!("{before}\n{lines}\n")).unwrap();
}

/// Observes, suggests, and runs under what was suggested. Where a registry is a mirror at a reserved address, that is refused until somebody
/// says that it is trusted there; the rule that says so lists a method that no installer uses, and so covers none of its calls.
fn learn_and_enforce(script: &str) {
    let exeat = || Exeat::new().sandbox(&format!("read = [\"{}\"]", tools().display())).limit(Duration::from_secs(240));
    let learning = exeat().option(&["--observe"]);
    let mut hosts = Vec::new();
    for round in 0.. {
        assert!(round < ROUNDS, "still refused: {hosts:?}");
        let run = learning.sh(script);
        if run.code == Some(0) {
            break;
        }
        let found = suggest(&learning, &["--json"]).json();
        let distrusted = found["to_trust_first"].as_array().unwrap();
        assert!(!distrusted.is_empty(), "not installed, and no address to trust: {run:#?}");
        for rule in distrusted {
            let (to, addresses) = (rule["to"].as_str().unwrap(), &rule["addresses"]);
            append(&learning, &format!("[[allow]]\nto = \"{to}\"\nmethods = [\"OPTIONS\"]\naddresses = {addresses}"));
            hosts.push(to.to_owned());
        }
    }
    let log = learning.log();
    let observed = log.calls().iter().filter(|call| call.observed.is_some()).count();
    assert!(observed > 1 && observed == log.calls().len(), "no rule covers anything yet: {log:#?}");
    let written = suggest(&learning, &["--write"]);
    assert!(written.stdout.contains("[[allow]]") && written.stderr.contains("note: added "), "{written:#?}");
    assert!(!written.stdout.contains("/*\"") || written.stdout.contains("from the first segment on"), "{written:#?}");

    // The same installation, with nothing but the file carried over.
    let enforced = exeat();
    fs::copy(learning.policy_file(), enforced.policy_file()).unwrap();
    let run = enforced.sh(script).ok();
    assert!(run.log.refusals().is_empty(), "{:#?}", run.log.refusals());
    assert!(!run.log.start().observe && run.log.calls().iter().all(|call| call.observed.is_none()));
    assert!(suggest(&learning, &[]).stdout.starts_with("# nothing to add"));

    // What was not seen is not let out: another path, another method, another host.
    let to = run.log.calls()[0].to.clone();
    let script = format!(
        "for call in 'https://{to}/exeat/was/not/asked/for' '-X PUT https://{to}/' https://exeat-was-not-here.example.com/; do
            curl -sS -o answer -w '%{{http_code}} ' $call; done"
    );
    let run = enforced.sh(&script).ok();
    assert_eq!(run.stdout, "403 403 403 ", "{run:#?}");
}

#[test]
fn a_run_of_pip_is_learned_and_enforced_without_a_refusal() {
    learn_and_enforce(&packages::pip());
}

#[test]
fn a_run_of_npm_is_learned_and_enforced_without_a_refusal() {
    learn_and_enforce(&packages::npm());
}

/// Names that no rule lists resolve to an address of the world, and are reached by way of the house's proxy: the tests have no world.
fn observing(proxy: &Forward) -> Exeat {
    Exeat::new()
        .hosts(
            "11.0.0.1 new.example.com other.example.com\n10.0.0.5 inside.example.com\n127.0.0.1 metadata.example.com\n",
        )
        .upstream(&format!("proxy = \"http://{}\"", proxy.address()))
        .option(&["--observe"])
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

#[test]
fn rules_are_by_method_and_path_each_with_how_often_and_when() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = observing(&proxy);
    let script = "for path in repos/acme/widgets/pulls/12 repos/acme/widgets/pulls/7 users/123e4567-e89b-42d3-a456-426614174000; do
            curl -sSf https://new.example.com/$path -o /dev/null; done
        curl -sSf -d x https://new.example.com/repos/acme/widgets/pulls -o /dev/null
        curl -sSf --http1.1 'https://other.example.com/@scope%2fname?q=1' -o /dev/null";
    exeat.sh(script).ok();
    let run = suggest(&exeat, &[]);
    let expected = r#"[[allow]]
to = "new.example.com"
methods = ["GET"]
paths = [
    "/repos/acme/widgets/pulls/*",
    "/users/*",
]

[[allow]]
to = "new.example.com"
methods = ["POST"]
paths = ["/repos/acme/widgets/pulls"]

[[allow]]
to = "other.example.com"
methods = ["GET"]
paths = ["/@scope%2Fname"]
encoded_slash = true"#;
    assert_eq!(without_comments(&run.stdout), expected, "{run:#?}");
    let comments: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with('#')).collect();
    assert!(comments[0].starts_with("# exeat suggest: seen 3 times, 20"), "{comments:?}");
    assert_eq!(comments.len(), 3);
    // What is told to a program is the same; from a time on at which nothing was called, there is nothing.
    let told: Value = suggest(&exeat, &["--json"]).json();
    assert_eq!(told["schema"], "exeat-suggest/1");
    assert_eq!((told["rules"].as_array().unwrap().len(), &told["rules"][0]["calls"]), (3, &Value::from(3)));
    let later = suggest(&exeat, &["--since", "2199-01-01T00:00:00Z"]);
    assert!(later.stdout.starts_with("# nothing to add"), "{later:#?}");
}

#[test]
fn what_must_not_become_a_rule_is_named_in_a_comment_instead() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = observing(&proxy)
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n")
        .rule("[[deny]]\nto = \"new.example.com\"\npaths = [\"/secret/**\"]");
    let script = "curl -sS https://new.example.com/secret/1
        curl -sS https://inside.example.com/build
        curl -sS http://169.254.169.254/latest/meta-data/
        curl -sS -H \"Authorization: Bearer $API_KEY\" https://new.example.com/x
        curl -sS https://nowhere.example.com/x";
    exeat.sh(script).ok();
    let run = suggest(&exeat, &["--write"]);
    assert!(run.stdout.lines().all(|line| line.is_empty() || line.starts_with('#')), "{run:#?}");
    for told in [
        "# not suggested: GET https://new.example.com/secret/1 is denied by rule deny #1",
        "# inside.example.com:443 leads to 10.0.0.5 (private, RFC 1918); only if you trust it there, add this by hand",
        "# addresses = [\"10.0.0.5\"]",
        "# not suggested: 169.254.169.254:80 leads to 169.254.169.254 (link-local or a cloud's metadata service",
        "# not suggested: a placeholder was on its way to new.example.com:443; `credential` is written by hand",
        "# not suggested: no answer from nowhere.example.com:443",
    ] {
        assert!(run.stdout.contains(told), "{told}: {run:#?}");
    }
    assert!(!run.stdout.contains("to = \"169"), "{run:#?}");
    assert!(!fs::read_to_string(exeat.policy_file()).unwrap().contains("suggest"), "nothing was to be added");
}

const WRITTEN: &str = r#"# The policy of bot. It has a comment at its head,

[sandbox]   # and one behind a section
write = ["."]

[[deny]]
to = "never.example.com" # odd order: a deny rule first

# widgets only
[[allow]]
to = "new.example.com"
paths = [
    # what we need
    "/repos/acme/widgets",   # (really)
]
methods=["GET"]

[[allow]] # with a credential: left alone
to      = "other.example.com"
methods = ["GET"]
paths   = ["/api/x"]
credential = "api"
# the end"#;

#[test]
fn writing_keeps_comments_order_mode_and_link_and_extends_only_what_has_no_credential() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = observing(&proxy).fixed("api", SECRET, "to = [\"other.example.com\"]\nenv = \"API_KEY\"\n").rule("");
    let head = fs::read_to_string(exeat.policy_file()).unwrap();
    let upstream_section = head.split("[sandbox]").next().unwrap().to_owned();
    let before = format!("{WRITTEN}\n\n{upstream_section}# after all\n");
    // The file is a link into a directory that is kept elsewhere, and only its owner reads it.
    let elsewhere = exeat.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("real.toml"), &before).unwrap();
    fs::set_permissions(elsewhere.join("real.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(exeat.policy_file()).unwrap();
    symlink(elsewhere.join("real.toml"), exeat.policy_file()).unwrap();

    let script = "for call in https://new.example.com/repos/acme/gadgets https://other.example.com/api/y; do
        curl -sS $call -o answer; done";
    exeat.sh(script).ok();
    let written = suggest(&exeat, &["--write"]);
    assert!(written.stderr.contains("added 1 rule, and to paths of allow #1 (line 10), in"), "{written:#?}");
    let after = fs::read_to_string(elsewhere.join("real.toml")).unwrap();
    assert!(fs::symlink_metadata(exeat.policy_file()).unwrap().is_symlink());
    assert_eq!(fs::metadata(elsewhere.join("real.toml")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1, "no draft is left");
    // Each line that was there is there, in its order.
    let mut rest = after.lines();
    for line in before.lines().filter(|line| !line.is_empty()) {
        assert!(rest.any(|other| other == line), "{line:?} is gone or moved:\n{after}");
    }
    assert!(after.contains("    \"/repos/acme/gadgets\"") && after.contains(": \"/repos/acme/gadgets\""), "{after}");
    assert_eq!(after.matches("to = \"new.example.com\"").count(), 1, "{after}");
    assert_eq!(after.matches("credential = ").count(), 1, "{after}");
    assert!(
        after.contains("[[allow]]\nto = \"other.example.com\"\nmethods = [\"GET\"]\npaths = [\"/api/y\"]\n"),
        "{after}"
    );
    // Twice is once.
    suggest(&exeat, &["--write"]);
    assert_eq!(fs::read_to_string(exeat.policy_file()).unwrap(), after);
}

#[test]
fn a_file_that_would_not_load_or_that_is_written_otherwise_is_left_as_it_is() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "methods = [\"HEAD\"]").option(&["--observe"]);
    exeat.sh("curl -sSf https://api.example.com/x -o answer").ok();
    let dial = upstream.dial();
    let inline = format!("allow = [{{ to = \"api.example.com\", methods = [\"HEAD\"], dial = \"{dial}\" }}]\n");
    fs::write(exeat.policy_file(), &inline).unwrap();
    let run = exeat.exeat(&["suggest", "--agent", "bot", "--write"]).finish().ended_with(125);
    assert!(run.stderr.contains("in a form that is not added to") && run.stderr.contains("hint:"), "{run:#?}");
    assert_eq!(fs::read_to_string(exeat.policy_file()).unwrap(), inline);
    // Behind a rule that has connections to all of a domain pass unread, no other is reached.
    let unread = "[[allow]]\nto = \"*.example.com\"\ntls = \"passthrough\"\n";
    let before = format!(
        "[[allow]]\nto = \"api.example.com\"\nmethods = [\"HEAD\"]\ndial = \"{dial}\"\nrate = \"9/s\"\n\n{unread}"
    );
    fs::write(exeat.policy_file(), &before).unwrap();
    let run = exeat.exeat(&["suggest", "--agent", "bot", "--write"]).finish().ended_with(125);
    assert!(run.stderr.contains("it is never reached") && run.stderr.contains("was not changed"), "{run:#?}");
    assert_eq!(fs::read_to_string(exeat.policy_file()).unwrap(), before);
    fs::write(exeat.policy_file(), "[[allow]]\nto = \"not a host\"\n").unwrap();
    exeat.exeat(&["suggest", "--agent", "bot"]).finish().ended_with(125);
    let nobody = exeat.exeat(&["suggest", "--agent", "nobody"]).finish().ended_with(125);
    assert!(nobody.stderr.contains("nobody.toml"), "{nobody:#?}");
}

#[test]
fn a_hostile_path_is_a_path_and_nothing_else() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "methods = [\"HEAD\"]").option(&["--observe"]);
    let program = "
import http.client
paths = ['/a\"]%0a[[allow]]', '/\"]\\x5b\\x5ballow\\x5d\\x5d', '/**', '/x/*/y', '/%1b[31m', '/\\'\\'\\'', '/%22%22%22', '/a%09b', '/e%E2%80%AEx/', '/#[[allow]]',
         '/h/' + 'a' * 3000, '/' + 'd/' * 200, '/100%25ab/x', '/p;v=\"1\"/q', '/%5C', '/%7F']
for path in paths:
    connection = http.client.HTTPSConnection('api.example.com', timeout=10)
    connection.putrequest('GET', path, skip_accept_encoding=True)
    try:
        connection.endheaders()
        print(connection.getresponse().status)
    except OSError as error:
        print(error)";
    // Python itself refuses to send what is no URL.
    let program =
        format!("import http.client\nhttp.client.HTTPConnection._validate_path = lambda self, path: None\n{program}");
    let run = exeat.run(&["/usr/bin/python3", "-c", &program]).ok();
    let allowed = run.log.calls().len();
    assert!(allowed >= 8, "{run:#?}");
    for options in [&[][..], &["--json"], &["--write"]] {
        let run = suggest(&exeat, options);
        assert!(run.stdout.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{:?}", run.stdout);
        assert!(options == ["--json"] || run.stdout.matches("\n[[allow]]").count() <= 2, "{}", run.stdout);
    }
    // Each call that passed is covered now, by the rules alone.
    let text = fs::read_to_string(exeat.policy_file()).unwrap();
    let enforced = Exeat::new();
    fs::write(enforced.policy_file(), text).unwrap();
    let run = enforced.run(&["/usr/bin/python3", "-c", &program]).ok();
    assert_eq!((run.log.calls().len(), run.stdout.matches("403").count()), (allowed, 0), "{run:#?}");
}
