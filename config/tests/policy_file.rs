//! An agent's file: what is read from it, and what is said about each mistake.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use config::{CallFacts, Effect, LimitsMode, LoadError, NameGlob, NormalPath, Operation, Policy, Protocol, Scheme};

fn parse(text: &str) -> Result<Policy, LoadError> {
    Policy::parse("release-bot".parse().unwrap(), "/etc/exeat/agents/release-bot.toml", text)
}

/// The mistakes of a file as `line key: reason | remedy`.
fn mistakes(text: &str) -> Vec<String> {
    let error = parse(text).expect_err("the file was taken");
    error.mistakes().iter().map(|m| format!("{} {}: {} | {}", m.line, m.key, m.reason, m.remedy)).collect()
}

#[test]
fn everything_a_file_can_say_is_read() {
    let policy = parse(
        r#"
[sandbox]
read       = ["/opt/tools"]
write      = ["."]
memory     = "2GiB"
processes  = 64
files      = 2048
cpus       = 1.5
wall_clock = "30m"
nested     = true
pass_env   = ["EDITOR"]

[upstream]
roots = ["ca.pem", "/srv/ca.pem"]

[[allow]]
to         = "api.github.com"
methods    = ["GET", "POST"]
paths      = ["/repos/acme/**"]
credential = "github"
rate       = "10/s"

[[deny]]
to    = "api.github.com"
paths = ["/repos/acme/payroll/**"]

[[allow]]
to        = "*.internal.example:8443"
addresses = ["10.0.0.0/8", "fd00::/8"]

[[allow]]
to   = "demo.example"
dial = "127.0.0.1:8443"

[[allow]]
to    = "10.1.2.3:8080"
plain = true
"#,
    )
    .unwrap();

    assert_eq!(policy.agent().as_str(), "release-bot");
    assert!(policy.digest().starts_with("sha256:") && policy.digest().len() == 71);
    assert_eq!(policy.extra_roots(), [Path::new("/etc/exeat/agents/ca.pem"), Path::new("/srv/ca.pem")]);
    assert_eq!(policy.ports().into_iter().collect::<Vec<_>>(), [443, 8080, 8443]);
    assert_eq!(policy.credentials().iter().map(config::CredentialName::as_str).collect::<Vec<_>>(), ["github"]);

    let sandbox = policy.sandbox();
    assert_eq!((written(&sandbox.read), written(&sandbox.write)), (vec!["/opt/tools"], vec!["."]));
    assert!(sandbox.overlay.is_empty() && sandbox.hide.is_empty() && sandbox.find_secrets);
    assert_eq!((sandbox.memory, sandbox.processes, sandbox.files), (Some(2 << 30), Some(64), 2048));
    assert_eq!((sandbox.cpus, sandbox.wall_clock), (Some(1.5), Some(Duration::from_secs(1800))));
    assert_eq!(sandbox.pass_env, ["EDITOR"]);
    assert!(sandbox.nested && !parse("").unwrap().sandbox().nested);

    let ids: Vec<String> = policy.rules().iter().map(|rule| rule.id().to_string()).collect();
    assert_eq!(
        ids,
        ["allow #1 (line 16)", "deny #1 (line 23)", "allow #2 (line 27)", "allow #3 (line 31)", "allow #4 (line 35)"]
    );
    let ranges = |i: usize| policy.rules()[i].addresses().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(policy.rules()[1].effect(), Effect::Deny);
    assert_eq!(ranges(2), ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(ranges(3), ["127.0.0.1/32"]);
    assert_eq!(ranges(4), ["10.1.2.3/32"]);
    assert!(policy.rules()[4].plain() && !policy.rules()[3].plain());
}

fn written(globs: &[config::FileGlob]) -> Vec<&str> {
    globs.iter().map(config::FileGlob::as_str).collect()
}

#[test]
fn an_empty_file_is_a_policy_that_allows_nothing() {
    let policy = parse("").unwrap();
    assert!(policy.rules().is_empty() && policy.ports().is_empty());
    assert_eq!((policy.sandbox().processes, policy.sandbox().grace), (None, Duration::from_secs(5)));
    assert_eq!(policy.sandbox().limits, LimitsMode::Best);
    assert_eq!(policy.digest(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn every_mistake_is_shown_where_it_is() {
    let text = r#"
sandbx = 1
[sandbox]
memory = "2GB"
cpus = 0
processes = "many"
pass_env = ["LD_PRELOAD"]
[upstream]
roots = "ca.pem"
[[allow]]
to = "api.github.com/"
methods = ["get", "GET", "GET"]
paths = []
[[allow]]
method = ["GET"]
[[deny]]
to = "*"
rate = "1/s"
"#;
    assert_eq!(
        mistakes(text),
        [
            "2 sandbx: the key `sandbx` is not known | did you mean `sandbox`?",
            "4 sandbox.memory: `2GB` is not a size | write a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`: `512MiB`",
            "5 sandbox.cpus: a number above 0 is expected here, not this number | write `cpus = 1.5`",
            "6 sandbox.processes: a whole number from 1 is expected here, not a string | write `processes = 256`",
            "7 sandbox.pass_env[1]: `LD_PRELOAD` is not for a file to set in the sandbox | exeat sets it itself, or the loader acts on it; choose another name",
            "9 upstream.roots: a list is expected here, not a string | write `roots = [\"…\"]`",
            "11 allow[1].to: `api.github.com/` is not a host name | write the host alone; paths go under `paths`",
            "12 allow[1].methods[1]: `get` is not a method | methods are written in capitals: `GET`, `POST`; leave `methods` out to mean all of them",
            "13 allow[1].paths: the list is empty, which would mean none at all | leave the key out",
            "14 allow[2]: `to` is missing | add `to = \"api.example.com\"`",
            "15 allow[2].method: the key `method` is not known | did you mean `methods`?",
            "17 deny[1].to: `*` would match every host | there is no rule for every host; list the hosts that are needed",
            "18 deny[1].rate: it means nothing in a deny rule | a deny rule has `to`, `methods` and `paths`",
        ]
    );
}

#[test]
fn nonsense_is_refused() {
    let allow = |body: &str| format!("[[allow]]\nto = \"a.example\"\n{body}\n");
    for (text, line, key) in [
        (allow("rate = \"0/s\""), 3, "allow[1].rate"),
        (allow("methods = []"), 3, "allow[1].methods"),
        (allow("methods = [\"GET\", \"GET\"]"), 3, "allow[1].methods[2]"),
        (allow("addresses = []"), 3, "allow[1].addresses"),
        (allow("addresses = [\"10.0.0.1/8\"]"), 3, "allow[1].addresses[1]"),
        (allow("dial = \"localhost:80\""), 3, "allow[1].dial"),
        (allow("dial = \"127.0.0.1:0\""), 3, "allow[1].dial"),
        (allow("plain = \"yes\""), 3, "allow[1].plain"),
        (allow("encoded_slash = 1"), 3, "allow[1].encoded_slash"),
        (allow("paths = [\"/@scope%2fname\"]"), 3, "allow[1].paths"),
        (allow("paths = [\"/x\"]\n[[deny]]\nto = \"b.example\"\nencoded_slash = true"), 6, "deny[1].encoded_slash"),
        (allow("encoded_slash = true\n[[allow]]\nto = \"a.example\""), 4, "allow[2]"),
        (allow("tls = \"mitm\""), 3, "allow[1].tls"),
        (allow("tls = \"passthrough\"\nmethods = [\"GET\"]"), 4, "allow[1].methods"),
        (allow("paths = [\"/x\"]\ntls = \"passthrough\""), 3, "allow[1].paths"),
        (allow("tls = \"passthrough\"\ncredential = \"x\""), 4, "allow[1].credential"),
        (allow("tls = \"passthrough\"\nencoded_slash = true"), 4, "allow[1].encoded_slash"),
        (allow("tls = \"passthrough\"\nplain = false"), 4, "allow[1].plain"),
        (allow("client_certificate = \"c.pem\""), 3, "allow[1].client_certificate"),
        (allow("client_certificate = { certificate = \"c.pem\" }"), 3, "allow[1].client_certificate"),
        (
            allow("client_certificate = { certificate = \"/none.pem\", key = \"k.pem\" }"),
            3,
            "allow[1].client_certificate.certificate",
        ),
        (allow("tls = \"tcp\""), 2, "allow[1].to"),
        (allow("[[deny]]\nto = \"a.example\"\npaths = [\"/x\"]\ntls = \"tcp\""), 6, "deny[1].tls"),
        (allow("tls = \"passthrough\"\n[[deny]]\nto = \"*.example\"\nmethods = [\"GET\"]"), 4, "deny[1]"),
        (
            "[[allow]]\nto = \"*.a.example:1\"\ntls = \"tcp\"\n[[deny]]\nto = \"b.a.example\"\npaths = [\"/\"]".into(),
            4,
            "deny[1]",
        ),
        (allow("plain = true\ncredential = \"x\""), 4, "allow[1].credential"),
        (allow("credential = \"\""), 3, "allow[1].credential"),
        (allow("[[allow]]\nto = \"A.example.\""), 3, "allow[2]"),
        (allow("[[deny]]\nto = \"a.example\""), 1, "allow[1]"),
        (allow("[[deny]]\nto = \"*.example\""), 1, "allow[1]"),
        ("[[allow]]\nto = \"a.example:80\"\ncredential = \"x\"".into(), 3, "allow[1].credential"),
        ("[[allow]]\nto = \"10.0.0.0/8\"\ndial = \"127.0.0.1:1\"".into(), 3, "allow[1].dial"),
        ("[allow]\nto = \"a.example\"".into(), 1, "allow"),
        ("allow = \"a.example\"".into(), 1, "allow"),
        ("allow = [\"a.example\"]".into(), 1, "allow[1]"),
        ("[sandbox]\nwrite = [\"\"]".into(), 2, "sandbox.write[1]"),
        ("[sandbox]\nwrite = [\"a\\u0000\"]".into(), 2, "sandbox.write[1]"),
        ("[sandbox]\ncpus = nan".into(), 2, "sandbox.cpus"),
        ("[sandbox]\nprocesses = 0".into(), 2, "sandbox.processes"),
        ("[sandbox]\nfiles = 4294967296".into(), 2, "sandbox.files"),
        ("[sandbox]\nfile_size = 5".into(), 2, "sandbox.file_size"),
        ("[sandbox]\ndisk = \"0B\"".into(), 2, "sandbox.disk"),
        ("[sandbox]\nlimits = \"strict\"".into(), 2, "sandbox.limits"),
        ("[sandbox]\ngrace = \"0s\"".into(), 2, "sandbox.grace"),
        ("[sandbox]\ngrace = \"11m\"".into(), 2, "sandbox.grace"),
        ("[upstream]\nproxy = \"https://proxy.example:1\"".into(), 2, "upstream.proxy"),
        ("[upstream]\nproxy = \"http://proxy.example\"".into(), 2, "upstream.proxy"),
        ("[upstream]\nproxy = \"http://u:p@proxy.example:1\"".into(), 2, "upstream.proxy"),
        ("[upstream]\nproxy = \"http://proxy.example:1/x\"".into(), 2, "upstream.proxy"),
        ("[upstream]\nno_proxy = [\"a.example\"]".into(), 2, "upstream.no_proxy"),
        ("[upstream]\nproxy_resolves = true".into(), 2, "upstream.proxy_resolves"),
        ("[upstream]\nproxy = \"http://proxy.example:1\"\nno_proxy = [\"*\"]".into(), 3, "upstream.no_proxy[1]"),
        ("[upstream]\nproxy = \"http://proxy.example:1\"\nproxy_login = \"u:p\"".into(), 3, "upstream.proxy_login"),
        ("[upstream]\nproxy = \"http://p.example:1\"\n[[allow]]\nto = \"*.example:1\"".into(), 3, "allow[1]"),
        ("\"a\\u001bb\" = 1".into(), 1, "`a\\u{1b}b`"),
    ] {
        let error = parse(&text).expect_err(&text);
        let [mistake] = error.mistakes() else { panic!("{text}: {error}") };
        assert_eq!((mistake.line, &*mistake.key), (line, key), "{text}: {error}");
        assert!(!mistake.remedy.is_empty(), "{text}: {error}");
    }
}

#[test]
fn a_rule_that_can_never_come_to_pass_is_named_with_the_one_in_its_way() {
    let text = "[[allow]]\nto = \"*.a.example\"\n[[allow]]\nto = \"b.a.example\"\nmethods = [\"GET\"]\n";
    assert_eq!(
        mistakes(text),
        [
            "3 allow[2]: it is never reached: allow #1 (line 1) comes first and has all of it | put the narrower rule first, or take one of the two out"
        ]
    );
    // A rule that lets escaped slashes through has something that one before it has not.
    assert!(parse("[[allow]]\nto = \"a.example\"\n[[allow]]\nto = \"a.example\"\nencoded_slash = true\n").is_ok());
    // What becomes of a connection is decided before any request is read, by the first rule that has its destination.
    for (first, second) in
        [("methods = [\"GET\"]", "tls = \"passthrough\""), ("tls = \"passthrough\"", "methods = [\"GET\"]")]
    {
        let text = format!("[[allow]]\nto = \"*.a.example\"\n{first}\n[[allow]]\nto = \"b.a.example\"\n{second}\n");
        assert!(mistakes(&text)[0].contains("never reached"), "{text}");
    }
    assert!(parse("[[allow]]\nto = \"b.a.example\"\ntls = \"passthrough\"\n[[allow]]\nto = \"*.a.example\"\n").is_ok());
    // The narrower first is how it is meant to be written.
    assert!(parse("[[allow]]\nto = \"b.a.example\"\nmethods = [\"GET\"]\n[[allow]]\nto = \"*.a.example\"\n").is_ok());
    let text = "[[allow]]\nto = \"a.example\"\npaths = [\"/x\"]\n[[deny]]\nto = \"a.example\"\npaths = [\"/**\"]\n";
    assert!(mistakes(text)[0].contains("deny #1 (line 4)"));
}

#[test]
fn what_a_rule_says_about_bodies_is_read() {
    let policy = parse(
        r#"
[[allow]]
to      = "mcp.example.com"
methods = ["POST", "GET", "DELETE"]
mcp     = { tools = ["search", "read_*"], resources = ["file:///docs/*"], prompts = ["greet"], answers = true }
[[allow]]
to      = "api.example.com"
methods = ["GET"]
graphql = { operations = ["query", "subscription"] }
[[allow]]
to  = "other.example.com"
mcp = {}
"#,
    )
    .unwrap();
    let Some(Protocol::Mcp(mcp)) = policy.rules()[0].protocol() else { panic!("no mcp") };
    let globs = |globs: &[NameGlob]| globs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(globs(mcp.tools()), ["search", "read_*"]);
    assert_eq!(globs(mcp.resources()), ["file:///docs/*"]);
    assert_eq!(globs(mcp.prompts()), ["greet"]);
    assert!(mcp.answers());
    let Some(Protocol::GraphQl(graphql)) = policy.rules()[1].protocol() else { panic!("no graphql") };
    assert_eq!(graphql.operations(), [Operation::Query, Operation::Subscription]);
    let Some(Protocol::Mcp(nothing)) = policy.rules()[2].protocol() else { panic!("no mcp") };
    assert!(nothing.tools().is_empty() && nothing.resources().is_empty() && nothing.prompts().is_empty());
    assert!(!nothing.answers());
}

#[test]
fn a_mistake_about_bodies_is_shown_with_its_remedy() {
    let mcp = "mcp = { tools = [\"search\"] }";
    let text = format!(
        r#"
[[allow]]
to = "a.example"
mcp = {{ tools = [], resource = ["x"], prompts = ["a b"], answers = "yes" }}
[[allow]]
to = "b.example"
methods = ["GET", "DELETE"]
{mcp}
[[allow]]
to = "c.example"
graphql = {{ operations = ["queries"] }}
{mcp}
[[allow]]
to = "d.example"
graphql = {{}}
[[allow]]
to = "e.example"
mcp = ["search"]
[[deny]]
to = "f.example"
{mcp}
[[allow]]
to = "g.example"
{mcp}
[[allow]]
to = "g.example"
credential = "other"
mcp = {{ tools = ["write"] }}
"#
    );
    assert_eq!(
        mistakes(&text),
        [
            "4 allow[1].mcp.tools: the list is empty, which would mean none at all | leave the key out",
            "4 allow[1].mcp.resource: the key `resource` is not known | did you mean `resources`?",
            "4 allow[1].mcp.prompts[1]: `a b` is not a pattern for names | names have no spaces and no control characters; `*` stands for any characters",
            "4 allow[1].mcp.answers: `true` or `false` is expected here, not a string | write `answers = true`",
            "8 allow[2].mcp: its calls are POST requests, which `methods` leaves out | add \"POST\" to `methods`",
            "11 allow[3].graphql: a request speaks one protocol, and the rule has `mcp` as well | write two rules",
            "15 allow[4].graphql: `operations` is missing | add `operations = [\"query\"]`",
            "18 allow[5].mcp: a table is expected here, not a list | write `mcp = { … }`",
            "21 deny[1].mcp: it means nothing in a deny rule | a deny rule has `to`, `methods` and `paths`",
            "25 allow[7]: it is never reached: allow #6 (line 22) comes first and has all of it | list in one rule what either allows, or tell the two apart by `paths` or `methods`",
        ]
    );
    assert!(
        parse(&format!("[[allow]]\nto = \"a.example\"\npaths = [\"/mcp\"]\n{mcp}\n[[allow]]\nto = \"a.example\"\n"))
            .is_ok()
    );
}

#[test]
fn toml_that_does_not_parse_is_shown_where_it_is() {
    let error = parse("[sandbox]\nmemory = \n").unwrap_err();
    assert_eq!(error.mistakes()[0].line, 2);
    assert!(error.to_string().starts_with("/etc/exeat/agents/release-bot.toml:2: "), "{error}");
    assert!(parse("[sandbox]\n[sandbox]\n").is_err());
    assert!(parse(&"# a long file\n".repeat(200_000)).unwrap_err().to_string().contains("larger than 2048 KiB"));
    assert!(parse(&"x = 1\n".repeat(1000)).unwrap_err().mistakes().len() <= 1000);
    let many: String = (0..1000).map(|i| format!("x{i} = 1\n")).collect();
    assert_eq!(parse(&many).unwrap_err().mistakes().len(), 100);
}

#[test]
fn a_file_that_cannot_be_read_or_is_named_for_nobody_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("bot.toml");
    assert!(Policy::load(&missing).unwrap_err().to_string().contains("cannot be read"));
    let strange = directory.path().join("My Bot.toml");
    std::fs::write(&strange, "").unwrap();
    assert!(Policy::load(&strange).unwrap_err().to_string().contains("is not a name for an agent"));
    std::fs::write(&missing, b"\xff").unwrap();
    assert!(Policy::load(&missing).unwrap_err().to_string().contains("UTF-8"));
    std::fs::write(&missing, "[upstream]\nroots = [\"ca.pem\"]\n").unwrap();
    assert_eq!(Policy::load(&missing).unwrap().extra_roots(), [directory.path().join("ca.pem")]);
}

#[test]
fn the_login_of_a_proxy_is_read_from_its_file_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bot.toml");
    let lines = "[upstream]\nproxy = \"http://Proxy.example:3128/\"\nproxy_login = { file = \"login\" }\n\
                 no_proxy = [\"*.in.example\"]\nproxy_resolves = true\n\
                 [[allow]]\nto = \"*.example\"\n[[allow]]\nto = \"d.example:8443\"\ndial = \"127.0.0.1:1\"\n";
    std::fs::write(&file, lines).unwrap();
    let login = directory.path().join("login");
    for wrong in ["", "\n", "user", ":password", "a:b\nc:d", "a:b\u{7}"] {
        std::fs::write(&login, wrong).unwrap();
        let error = Policy::load(&file).unwrap_err().to_string();
        assert!(error.contains("is not a login") && error.contains("bot.toml:3"), "{wrong:?}: {error}");
    }
    std::fs::write(&login, "user:s3cret\r\n").unwrap();
    let policy = Policy::load(&file).unwrap();
    assert!(!format!("{policy:?}").contains("s3cret"), "{policy:?}");
    assert_eq!(policy.secret_files().collect::<Vec<_>>(), [login]);
    let by = |to: &str| {
        let (destination, method) = (to.parse().unwrap(), "GET".parse().unwrap());
        let path = NormalPath::parse("/").unwrap();
        let facts = CallFacts { destination: &destination, scheme: Scheme::Https, method: &method, path: &path };
        let permit = policy.call(&facts).unwrap();
        let proxy = permit.route().proxy();
        proxy.map(|proxy| (proxy.place().to_string(), proxy.login().unwrap().expose().to_owned()))
    };
    let proxy = Some(("proxy.example:3128".to_owned(), "user:s3cret".to_owned()));
    assert_eq!((by("a.example:443"), by("a.in.example:443"), by("d.example:8443")), (proxy, None, None));
}
