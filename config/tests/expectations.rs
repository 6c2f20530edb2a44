//! `[[expect]]`: what is read from it, what is said about each mistake, and that it is judged as the policy judges.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{Asked, LoadError, Policy, Unmet};
use proptest::prelude::*;
use proptest::sample::select;

const RULES: &str = "\
[[allow]]
to = \"api.example.com\"
methods = [\"GET\", \"POST\"]
paths = [\"/repos/acme/**\"]
credential = \"github\"

[[allow]]
to = \"tools.example.com\"
mcp = { tools = [\"search\", \"read_*\"] }

[[allow]]
to = \"graph.example.com\"
graphql = { operations = [\"query\"] }

[[allow]]
to = \"pinned.example.com\"
tls = \"passthrough\"

[[deny]]
to = \"api.example.com\"
paths = [\"/repos/acme/payroll/**\"]
";

fn parse(expectations: &str) -> Result<Policy, LoadError> {
    Policy::parse("bot".parse().unwrap(), "agents/bot.toml", &format!("{RULES}{expectations}"))
}

/// What one expectation comes to.
fn unmet(lines: &str) -> Option<Unmet> {
    let policy = parse(&format!("\n[[expect]]\n{lines}\n")).unwrap();
    assert_eq!(policy.expectations().len(), 1);
    policy.expectations()[0].unmet_by(&policy)
}

#[test]
fn what_is_so_is_met() {
    for lines in [
        "call = \"GET https://api.example.com/repos/acme/x\"\nresult = \"allow\"",
        "call = \"GET api.example.com/repos/acme/x/../y?page=2\"\nresult = \"allow\"\ncredential = \"github\"",
        "call = \"DELETE https://api.example.com/repos/acme/x\"\nresult = \"refuse\"\nkind = \"method-not-allowed\"",
        "call = \"GET https://api.example.com/repos/acme/payroll/1\"\nresult = \"refuse\"\nkind = \"denied-by-rule\"",
        "call = \"GET https://other.example.com/\"\nresult = \"refuse\"",
        "call = \"GET https://pinned.example.com/\"\nresult = \"allow\"\ncredential = false",
        "call = \"GET http://pinned.example.com:443/\"\nresult = \"refuse\"\nkind = \"passes-unread\"",
        "call = \"POST https://tools.example.com/mcp\"\nresult = \"allow\"\ntool = \"read_file\"",
        "call = \"POST https://tools.example.com/mcp\"\nresult = \"refuse\"\ntool = \"write\"\nkind = \"tool-not-allowed\"",
    ] {
        let found = unmet(lines);
        assert!(found.is_none(), "{lines}: {}", found.unwrap());
    }
}

#[test]
fn what_is_not_so_is_told_with_its_place_the_rule_and_what_to_change() {
    for (lines, decided, kind, said) in [
        (
            "call = \"DELETE https://api.example.com/repos/acme/x\"\nresult = \"allow\"",
            "refuse",
            Some("method-not-allowed"),
            &[
                "expected to be allowed, and refused (method-not-allowed)",
                "allow #1 (line 1)",
                "methods = [\"DELETE\"]",
            ][..],
        ),
        (
            "call = \"GET https://api.example.com/repos/acme/payroll/1\"\nresult = \"allow\"",
            "refuse",
            Some("denied-by-rule"),
            &["narrow or remove deny #1 (line 19)"],
        ),
        (
            "call = \"GET https://api.example.com/repos/acme/x\"\nresult = \"refuse\"",
            "allow",
            None,
            &["expected to be refused, and allowed by allow #1 (line 1)", "`[[deny]]`"],
        ),
        (
            "call = \"GET https://other.example.com/\"\nresult = \"refuse\"\nkind = \"path-not-allowed\"",
            "refuse",
            Some("host-not-listed"),
            &["expected to be refused as `path-not-allowed`", "kind = \"host-not-listed\""],
        ),
        (
            "call = \"GET https://api.example.com/repos/acme/x\"\nresult = \"allow\"\ncredential = \"gitlab\"",
            "allow",
            None,
            &["with credential `gitlab`, and allowed by allow #1 (line 1) with credential `github`"],
        ),
        (
            "call = \"GET https://api.example.com/repos/acme/x\"\nresult = \"allow\"\ncredential = false",
            "allow",
            None,
            &["with no credential", "take `credential` out of allow #1 (line 1)"],
        ),
        (
            "call = \"POST https://tools.example.com/mcp\"\nresult = \"allow\"\ntool = \"write\"",
            "refuse",
            Some("tool-not-allowed"),
            &["(tool `write`)", "allow #2 (line 7) does not list this tool"],
        ),
        (
            "call = \"POST https://tools.example.com/mcp\"\nresult = \"refuse\"\ntool = \"search\"",
            "allow",
            None,
            &["narrow allow #2 (line 7) with `mcp`"],
        ),
        (
            "call = \"POST https://graph.example.com/\"\nresult = \"allow\"\ntool = \"search\"",
            "refuse",
            Some("body-not-judged"),
            &["looks into bodies for `graphql`, not for tools"],
        ),
    ] {
        let found = unmet(lines).unwrap_or_else(|| panic!("{lines}"));
        let text = found.to_string();
        assert!(text.starts_with("agents/bot.toml:23: expect[1]: ") && text.contains("\n  hint: "), "{text}");
        assert_eq!((found.decided, found.kind), (decided, kind), "{text}");
        for said in said {
            assert!(text.contains(said), "{said} in {text}");
        }
    }
}

#[test]
fn each_mistake_is_named_with_its_line() {
    let text = "
[[expect]]
call = \"https://api.example.com/\"
result = \"allow\"

[[expect]]
call = \"GET https://api.example.com/\"
result = \"denied\"

[[expect]]
result = \"refuse\"
credential = \"github\"

[[expect]]
call = \"GET https://api.example.com/\"
result = \"allow\"
kind = \"path-not-allowed\"
tool = \"search\"

[[expect]]
call = \"GET https://api.example.com/a%252fb\"
result = \"refuse\"
kind = \"rate-limited\"
rule = \"allow #1\"

[[expect]]
call = \"POST https://api.example.com/\"
result = \"allow\"
credential = true
tool = \"read_*\"

[[expects]]
";
    let error = parse(text).expect_err("the file was taken");
    let mistakes: Vec<String> =
        error.mistakes().iter().map(|m| format!("{} {}: {} | {}", m.line, m.key, m.reason, m.remedy)).collect();
    for expected in [
        "24 expect[1].call: `https://api.example.com/` is not a method and a URL | write a method and a URL",
        "29 expect[2].result: `denied` is no result | write \"allow\" or \"refuse\"",
        "31 expect[3]: `call` is missing",
        "33 expect[3].credential: a refused call has no credential",
        "38 expect[4].kind: an allowed call has no kind of refusal",
        "39 expect[4].tool: a tool is called with a POST request",
        "42 expect[5].call: `https://api.example.com/a%252fb` is not a call: the path is escaped twice",
        "44 expect[5].kind: `rate-limited` is no kind of refusal by a policy | the policy's kinds of refusal are `host-not-listed`",
        "45 expect[5].rule: the key `rule` is not known",
        "50 expect[6].credential: `true` names no credential",
        "51 expect[6].tool: `read_*` is not the name of a tool",
        "53 expects: the key `expects` is not known | did you mean `expect`?",
    ] {
        assert!(mistakes.iter().any(|mistake| mistake.starts_with(expected)), "{expected}\nin {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), 12, "{mistakes:#?}");
}

#[test]
fn there_is_an_end_to_expectations() {
    let one = "[[expect]]\ncall = \"GET https://a.example/\"\nresult = \"refuse\"\n";
    assert!(parse(&one.repeat(1000)).is_ok());
    let error = parse(&one.repeat(1001)).unwrap_err();
    assert!(error.to_string().contains("more than 1000 expectations"), "{error}");
}

proptest! {
    /// An expectation holds exactly where the policy says so, and says nothing to the decision.
    #[test]
    fn an_expectation_is_met_where_the_policy_decides_so(
        method in select(&["GET", "POST", "DELETE"]),
        host in select(&["api.example.com", "pinned.example.com", "other.example.com", "api.example.com:8443"]),
        path in select(&["/", "/repos/acme/x", "/repos/acme/payroll/x", "/repos/acme/%2e%2e/x"]),
        scheme in select(&["https", "http"]),
        expected in select(&["allow", "refuse"]),
    ) {
        let call = format!("{method} {scheme}://{host}{path}");
        let policy = parse(&format!("\n[[expect]]\ncall = \"{call}\"\nresult = \"{expected}\"\n")).unwrap();
        let asked: Asked = call.parse().unwrap();
        let allowed = asked.judged(&policy).is_ok();
        prop_assert_eq!(policy.expectations()[0].unmet_by(&policy).is_none(), allowed == (expected == "allow"));
        prop_assert_eq!(asked.judged(&parse("").unwrap()).is_ok(), allowed);
    }
}
