//! What a call that is not let out is told, and that no spelling of a path is a way around a rule.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{CallFacts, CallPermit, Denial, DenialKind, Destination, NormalPath, Policy, Scheme, TlsMode};

fn parse(text: &str) -> Result<Policy, config::LoadError> {
    Policy::parse("bot".parse().unwrap(), "bot.toml", text)
}

/// What the policy says to `METHOD URL`.
fn judge(rules: &str, method: &str, url: &str) -> Result<CallPermit, Denial> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    let port = if scheme == Scheme::Https { 443 } else { 80 };
    let destination = Destination::parse_authority(authority, port).unwrap();
    let (method, path) = (method.parse().unwrap(), NormalPath::parse(path).unwrap());
    parse(rules).unwrap().call(&CallFacts { destination: &destination, scheme, method: &method, path: &path })
}

/// The kind, reason and remedy of a denial.
fn refusal(rules: &str, method: &str, url: &str) -> (DenialKind, String, String) {
    let denial = judge(rules, method, url).unwrap_err();
    (denial.kind().clone(), denial.reason(), denial.remedy())
}

#[test]
fn a_denial_says_what_was_refused_why_and_what_to_ask_for() {
    let rules = r#"
[[allow]]
to = "api.github.com"
methods = ["GET"]
paths = ["/repos/acme/**"]
credential = "github"
[[deny]]
to = "api.github.com"
paths = ["/repos/acme/payroll/**"]
"#;
    let (kind, reason, remedy) = refusal(rules, "POST", "https://api.github.com/repos/acme/x");
    assert!(matches!(kind, DenialKind::MethodNotAllowed { methods } if methods.len() == 1));
    assert_eq!(
        reason,
        "POST https://api.github.com/repos/acme/x is not allowed: the methods listed for it are `GET` (nearest: allow #1 (line 2))"
    );
    assert_eq!(
        remedy,
        "ask the operator to add this to the policy of agent `bot`:\n\n[[allow]]\nto = \"api.github.com\"\n\
         methods = [\"POST\"]\npaths = [\"/repos/acme/x\"]\ncredential = \"github\"\n\
         # exeat explain --agent bot -X POST https://api.github.com/repos/acme/x\n"
    );

    let (kind, reason, _) = refusal(rules, "GET", "https://api.github.com/user");
    assert!(matches!(kind, DenialKind::PathNotAllowed { paths, .. } if paths[0].as_str() == "/repos/acme/**"));
    assert!(reason.contains("the paths listed for it are `/repos/acme/**`"), "{reason}");

    let (kind, reason, remedy) = refusal(rules, "GET", "https://api.github.com/repos/acme/payroll/x");
    assert_eq!(kind, DenialKind::DeniedByRule);
    assert!(reason.ends_with("is denied by rule deny #1 (line 7)"), "{reason}");
    assert!(remedy.contains("narrow or remove deny #1 (line 7)"), "{remedy}");

    let (kind, reason, _) = refusal(rules, "GET", "https://evil.example/");
    assert_eq!(kind, DenialKind::HostNotListed);
    assert_eq!(reason, "GET https://evil.example/ is not allowed: no rule lists this host");

    assert_eq!(refusal(rules, "GET", "https://10.0.0.1/").0, DenialKind::AddressNotListed);
    let (kind, _, remedy) = refusal(rules, "GET", "http://api.github.com:443/");
    assert_eq!(kind, DenialKind::PlainNotAllowed);
    assert!(remedy.starts_with("use HTTPS, or ask the operator") && !remedy.contains("credential"), "{remedy}");
    let (kind, reason, _) = refusal(rules, "GET", "https://api.github.com:8443/");
    assert!(matches!(kind, DenialKind::PortNotListed { ports } if ports.contains(&443)));
    assert!(reason.ends_with("with other ports only: `443`"), "{reason}");
}

#[test]
fn a_client_cannot_smuggle_a_wildcard_into_the_lines_its_operator_copies() {
    let (_, _, remedy) = refusal("", "GET", "https://a.example/x/**");
    assert!(remedy.contains("paths = [\"/x/%2A%2A\"]"), "{remedy}");
    let (_, reason, remedy) = refusal("", "GET", &format!("https://a.example/{}", "x".repeat(9000)));
    assert!(reason.len() < 700 && remedy.len() < 700, "{remedy}");
}

#[test]
fn parameters_open_no_way_around_a_rule() {
    let rules = "[[allow]]\nto = \"a.example\"\npaths = [\"/open/**\", \"/*-pub\"]\n[[deny]]\nto = \"a.example\"\npaths = [\"/open/pay/**\"]\n";
    assert_eq!(refusal(rules, "GET", "https://a.example/open/pay;x/1").0, DenialKind::DeniedByRule);
    assert_eq!(refusal(rules, "GET", "https://a.example/open/pay%3Bx/1").0, DenialKind::DeniedByRule);
    assert!(matches!(refusal(rules, "GET", "https://a.example/secret;-pub").0, DenialKind::PathNotAllowed { .. }));
    assert!(matches!(refusal(rules, "GET", "https://a.example/secret;/x").0, DenialKind::PathNotAllowed { .. }));
}

#[test]
fn an_escape_within_an_escape_opens_no_way_around_a_rule() {
    let rules = "[[allow]]\nto = \"a.example\"\npaths = [\"/open/**\", \"/*-pub\"]\n[[deny]]\nto = \"a.example\"\npaths = [\"/open/pay/**\"]\n";
    assert_eq!(refusal(rules, "GET", "https://a.example/open/%2570ay/1").0, DenialKind::DeniedByRule);
    assert_eq!(refusal(rules, "GET", "https://a.example/open/pay%253Bx/1").0, DenialKind::DeniedByRule);
    assert!(matches!(refusal(rules, "GET", "https://a.example/%256fpen/x").0, DenialKind::PathNotAllowed { .. }));
    assert!(matches!(refusal(rules, "GET", "https://a.example/x%252Dpub").0, DenialKind::PathNotAllowed { .. }));
}

#[test]
fn an_escaped_slash_passes_only_where_a_rule_says_so_and_opens_no_way_around_a_deny_rule() {
    let open = "[[allow]]\nto = \"a.example\"\npaths = [\"/@*\", \"/projects/*/issues\"]\n";
    let (kind, reason, remedy) = refusal(open, "GET", "https://a.example/@scope%2fname");
    assert_eq!(kind, DenialKind::EncodedSlash);
    assert!(reason.contains("`encoded_slash = true`") && reason.contains("allow #1"), "{reason}");
    assert!(remedy.contains("paths = [\"/@scope%2Fname\"]\nencoded_slash = true\n"), "{remedy}");
    assert_eq!(
        refusal("[[allow]]\nto = \"a.example\"\n", "GET", "https://a.example/a%2Fb").0,
        DenialKind::EncodedSlash
    );

    let rules = format!(
        "{open}encoded_slash = true\n[[deny]]\nto = \"a.example\"\npaths = [\"/projects/secret/**\", \"/@x%2Fy\"]\n"
    );
    let allowed = |path: &str| judge(&rules, "GET", &format!("https://a.example{path}")).is_ok();
    assert!(allowed("/@scope%2fname") && allowed("/projects/group%2Fname/issues"));
    // The escaped slash is no separator for the allow rule, and both for the deny rule.
    assert!(!allowed("/projects%2Fgroup/issues") && !allowed("/projects/a%2Fissues"));
    for path in ["/projects/secret%2Fname/issues", "/projects/secret;x%2Fname/issues", "/@x%2Fy"] {
        assert_eq!(refusal(&rules, "GET", &format!("https://a.example{path}")).0, DenialKind::DeniedByRule, "{path}");
    }
}

#[test]
fn a_deny_rule_holds_over_plain_http_too() {
    let rules = "[[allow]]\nto = \"a.example:80\"\n[[deny]]\nto = \"a.example\"\npaths = [\"/x\"]\n";
    assert_eq!(refusal(rules, "GET", "http://a.example/x").0, DenialKind::DeniedByRule);
}

#[test]
fn what_passes_unread_is_a_connection_and_never_a_call() {
    let rules = "[[allow]]\nto = \"p.example\"\ntls = \"passthrough\"\n[[allow]]\nto = \"a.example\"\npaths = [\"/x\"]\n\
                 [[allow]]\nto = \"*.example\"\ntls = \"passthrough\"\n[[allow]]\nto = \"10.0.0.0/8:5432\"\ntls = \"tcp\"\n\
                 [[deny]]\nto = \"10.9.0.0/16\"\n";
    let policy = parse(rules).unwrap();
    let tunnel = |text| {
        let permit = policy.connect(&Destination::parse_authority(text, 443).unwrap()).ok()?;
        permit.tunnel().map(|tunnel| (tunnel.mode(), tunnel.rule().to_string()))
    };
    assert_eq!(tunnel("p.example"), Some((TlsMode::Passthrough, "allow #1 (line 1)".to_owned())));
    assert_eq!(tunnel("10.1.2.3:5432").map(|(mode, _)| mode), Some(TlsMode::Tcp));
    assert_eq!((tunnel("a.example"), tunnel("10.1.2.3"), tunnel("10.9.0.1:5432")), (None, None, None));
    assert_eq!(refusal(rules, "GET", "https://p.example/").0, DenialKind::PassesUnread);
    // A rule that lets a host's connections pass unread does not widen what its requests may be where they are read.
    assert_eq!(
        refusal(rules, "GET", "https://a.example/y").0,
        DenialKind::PathNotAllowed { paths: vec!["/x".parse().unwrap()], more: 0 }
    );
}

#[test]
fn a_denial_shows_some_of_many_paths_and_counts_the_others() {
    let rules: String = (0..500).map(|i| format!("[[allow]]\nto = \"a.example\"\npaths = [\"/r{i}/**\"]\n")).collect();
    let (kind, reason, _) = refusal(&rules, "GET", "https://a.example/x");
    assert!(matches!(kind, DenialKind::PathNotAllowed { paths, more: 436 } if paths.len() == 64));
    assert!(reason.contains("`/r11/**`, and 488 more (nearest: allow #1 (line 1))"), "{reason}");
}
