//! What the policy says to a call can be asked beforehand, and is what the proxy says then.

use serde_json::Value;

use crate::harness::{Exeat, Run, Upstream};

const RULES: &str = "
[[allow]]
to = \"api.example.com\"
methods = [\"GET\", \"POST\"]
paths = [\"/repos/acme/**\"]
credential = \"github\"
rate = \"5/h\"

[[allow]]
to = \"pinned.example.com\"
tls = \"passthrough\"

[[allow]]
to = \"db.example.com:5432\"
tls = \"tcp\"

[[deny]]
to = \"api.example.com\"
paths = [\"/repos/acme/payroll/**\"]
";

fn explain(exeat: &Exeat, arguments: &[&str]) -> Run {
    exeat.exeat(&[&["explain", "--agent", "bot"], arguments].concat()).finish()
}

fn exeat() -> Exeat {
    Exeat::new().rule(RULES).fixed("github", "gh-real-secret", "to = [\"api.example.com\"]")
}

#[test]
fn an_allowed_call_is_told_with_its_rule_credential_and_rate() {
    let run = explain(&exeat(), &["https://api.example.com/repos/acme/x/../y?page=2"]).ended_with(0);
    for said in [
        "allowed: GET https://api.example.com/repos/acme/y\n",
        "allow #1",
        "bot.toml:",
        "github, for its placeholder",
        "5/h",
    ] {
        assert!(run.stdout.contains(said), "no {said:?} in {run:#?}");
    }
    let unread = explain(&exeat(), &["pinned.example.com"]).ended_with(0);
    assert!(unread.stdout.contains("tls = \"passthrough\""), "{unread:#?}");
    for url in ["https://db.example.com:5432/", "http://db.example.com:5432/"] {
        let raw = explain(&exeat(), &[url]).ended_with(0);
        assert!(raw.stdout.contains("tls = \"tcp\""), "{raw:#?}");
    }
}

#[test]
fn a_refused_one_with_what_stands_in_its_way_and_the_lines_that_would_allow_it() {
    for (arguments, kind, said) in [
        (&["https://other.example.com/"][..], "host-not-listed", "to = \"other.example.com\""),
        (&["-X", "DELETE", "https://api.example.com/repos/acme/x"], "method-not-allowed", "DELETE"),
        (&["https://api.example.com/users"], "path-not-allowed", "\"/users\""),
        (&["https://api.example.com/repos/acme/payroll/1"], "denied-by-rule", "deny #1"),
        (&["http://api.example.com:443/repos/acme/x"], "plain-http-not-allowed", "HTTPS"),
        (&["https://169.254.169.254/"], "address-not-listed", "169.254.169.254"),
    ] {
        let run = explain(&exeat(), arguments).ended_with(1);
        assert!(run.stdout.contains(&format!("refused ({kind})")) && run.stdout.contains(said), "{run:#?}");
        let json = explain(&exeat(), &[arguments, &["--json"]].concat()).ended_with(1);
        let json: Value = json.json();
        assert_eq!((&json["allowed"], &json["kind"]), (&Value::Bool(false), &Value::from(kind)));
    }
}

#[test]
fn what_cannot_be_asked_is_an_error_with_a_remedy() {
    for (url, said) in [
        ("ftp://api.example.com/", "not HTTP"),
        ("https://api.example.com/a%252fb", "twice"),
        ("https://user@api.example.com/", "api.example.com"),
    ] {
        let run = explain(&exeat(), &[url]).ended_with(125);
        assert!(run.stderr.contains(said) && run.stderr.contains("hint:"), "{run:#?}");
    }
}

#[test]
fn a_credential_that_is_not_granted_for_it_is_told() {
    let other = Exeat::new().rule(RULES).fixed("github", "gh-real-secret", "to = [\"git.example.com\"]");
    let run = explain(&other, &["https://api.example.com/repos/acme/x"]).ended_with(0);
    assert!(run.stdout.contains("does not list this destination"), "{run:#?}");
}

#[test]
fn what_is_left_of_a_rate_is_what_the_worker_goes_by() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "rate = \"3/h\"");
    let script = "curl -sS https://api.example.com/; curl -sS https://api.example.com/; echo called; read line";
    let mut live = exeat.start_with_input(&["sh", "-c", script]);
    live.wait_for("called");
    let run = explain(&exeat, &["https://api.example.com/", "--json"]).ended_with(0);
    let json = run.json();
    assert_eq!(json["rate"]["of"], "3/h");
    assert_eq!(json["rate"]["workers"][0]["left"], 1, "{json}");
    live.write("done\n");
    live.finish().ok();
}
