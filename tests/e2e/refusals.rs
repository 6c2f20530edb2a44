//! What the policy does not allow is refused with an answer that says what, why and what to ask for; nothing reaches upstream.

use crate::harness::{Exeat, Run, Upstream};

/// Runs one curl and checks that it was refused: status, problem, `Proxy-Status`, log; upstream heard nothing.
#[track_caller]
fn assert_refused(exeat: &Exeat, upstream: &Upstream, curl: &str, kind: &str) -> (Run, serde_json::Value) {
    let script = format!("curl -sS -o problem.json -D head.txt {curl} && cat head.txt && cat problem.json >&2");
    let run = exeat.sh(&script).ok();
    let head = run.stdout.to_ascii_lowercase();
    assert!(head.contains("content-type: application/problem+json"), "{run:#?}");
    assert!(head.contains(&format!("proxy-status: exeat; error=http_request_denied; details=\"{kind}\"")), "{run:#?}");
    let problem: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(problem["type"], format!("urn:exeat:refusal:{kind}"));
    let refused = run.log.refusals();
    let last = refused.last().unwrap();
    assert_eq!((last.kind.as_str(), last.status.map(u64::from)), (kind, problem["status"].as_u64()));
    assert!(!last.alert);
    upstream.assert_untouched();
    (run, problem)
}

#[test]
fn an_empty_policy_allows_nothing() {
    let upstream = Upstream::start();
    let (_, problem) = assert_refused(&Exeat::new(), &upstream, "https://api.example.com/v1/things", "host-not-listed");
    assert_eq!(problem["status"], 403);
    let ask_for = problem["ask_for"].as_str().unwrap();
    // What it tells the agent to ask for is a rule that would do.
    let rule = &ask_for[ask_for.find("[[allow]]").unwrap()..];
    let rule = format!("{}dial = \"{}\"\n", rule.trim_end().to_owned() + "\n", upstream.dial());
    Exeat::new().rule(&rule).run(&["curl", "-sSf", "https://api.example.com/v1/things"]).ok();
    assert_eq!(upstream.only().target, "/v1/things");
}

#[test]
fn a_host_that_no_rule_lists() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream).allow("*.example.org", &upstream);
    for host in ["www.example.com", "example.com", "xapi.example.com", "api.example.com.example.net", "example.org"] {
        assert_refused(&exeat, &upstream, &format!("https://{host}/"), "host-not-listed");
    }
    exeat.run(&["curl", "-sSf", "https://deep.below.example.org/echo"]).ended_with(22);
    exeat.run(&["curl", "-sSf", "https://below.example.org/echo"]).ok();
}

#[test]
fn a_question_for_the_head_is_answered_with_a_head_alone() {
    for version in ["--http1.1", "--http2"] {
        let run = Exeat::new().run(&["curl", "-sSI", version, "https://denied.example.com/"]).ok();
        assert!(run.stdout.contains(" 403") && run.stdout.contains("proxy-status:"), "{version}: {run:#?}");
    }
}

#[test]
fn a_port_that_no_rule_lists() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream).allow("api.example.com:8443", &upstream);
    let (_, problem) = assert_refused(&exeat, &upstream, "https://api.example.com:9443/", "port-not-listed");
    assert!(problem["detail"].as_str().unwrap().contains("8443"), "{problem}");
    exeat.run(&["curl", "-sSf", "https://api.example.com:8443/echo"]).ok();
}

#[test]
fn a_method_that_no_rule_lists() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "methods = [\"GET\", \"HEAD\"]");
    let (_, problem) = assert_refused(&exeat, &upstream, "-d x=1 https://api.example.com/", "method-not-allowed");
    assert!(problem["detail"].as_str().unwrap().contains("GET"), "{problem}");
    assert!(problem["ask_for"].as_str().unwrap().contains("methods = [\"POST\"]"), "{problem}");
}

#[test]
fn a_path_that_no_rule_lists_however_it_is_spelt() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "paths = [\"/repos/acme/**\"]");
    for path in ["/", "/repos", "/repos/acmex", "/repos/acme/../other", "/repos/acme/%2e%2e/other", "/REPOS/acme/x"] {
        let (_, problem) = assert_refused(
            &exeat,
            &upstream,
            &format!("--path-as-is 'https://api.example.com{path}'"),
            "path-not-allowed",
        );
        assert!(problem["detail"].as_str().unwrap().contains("/repos/acme/**"), "{problem}");
    }
    exeat.run(&["curl", "-sSf", "--path-as-is", "https://api.example.com/repos/x/../%61cme/./y"]).ok();
    assert_eq!(upstream.only().target, "/repos/acme/y", "what was judged is what is sent");
}

#[test]
fn a_path_with_more_than_one_reading() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let paths = [
        "/a%2f../b",
        "/a%2f",
        "/a%5cb",
        "/a\\b",
        "/a%00",
        "//a",
        "/a//b",
        "/%252e%252e/x",
        "/../x",
        "/a%zz",
        "/a/..;x=1/b",
    ];
    for path in paths {
        let script = format!("curl -sS --path-as-is -w '%{{http_code}}' 'https://api.example.com{path}'");
        let run = exeat.sh(&script).ok();
        assert!(run.stdout.ends_with("400"), "{path}: {run:#?}");
        assert_eq!(run.log.refused_kinds().last(), Some(&"malformed"));
    }
    upstream.assert_untouched();
}

#[test]
fn an_escaped_slash_passes_as_it_is_where_a_rule_says_so_and_nowhere_else() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let (_, problem) = assert_refused(&exeat, &upstream, "https://api.example.com/@scope%2fname", "encoded-slash");
    assert!(problem["ask_for"].as_str().unwrap().contains("encoded_slash = true"), "{problem}");

    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "paths = [\"/@*\"]\nencoded_slash = true");
    let run = exeat.run(&["curl", "-sSf", "https://api.example.com/@scope%2fname"]).ok();
    assert_eq!(upstream.only().target, "/@scope%2Fname");
    assert_eq!(run.log.calls()[0].path, "/@scope%2Fname");
    let (_, problem) =
        assert_refused(&exeat, &Upstream::start(), "https://api.example.com/@a%2fb/c", "path-not-allowed");
    assert!(problem["detail"].as_str().unwrap().contains("/@*"), "{problem}");
}

#[test]
fn a_deny_rule_wins_over_every_allow_rule() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .allow("api.example.com", &upstream)
        .rule("[[deny]]\nto = \"api.example.com\"\npaths = [\"/repos/acme/payroll/**\"]");
    let (run, problem) = assert_refused(
        &exeat,
        &upstream,
        "--path-as-is https://api.example.com/repos/acme/x/../payroll/2026",
        "denied-by-rule",
    );
    assert!(problem["rule"].as_str().unwrap().starts_with("deny #1 (line "), "{problem}");
    assert_eq!(run.log.refusals()[0].rule, problem["rule"].as_str().map(str::to_owned));
}

#[test]
fn a_rate_that_is_used_up() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "rate = \"3/h\"");
    let run = exeat
        .sh("for n in 1 2 3 4 5; do curl -sS -D - -o problem https://api.example.com/echo; done; cat problem")
        .ok();
    assert_eq!(run.stdout.matches("HTTP/2 200").count(), 3, "{run:#?}");
    assert_eq!(run.stdout.matches("HTTP/2 429").count(), 2, "{run:#?}");
    assert!(run.stdout.contains("retry-after: 1200") || run.stdout.contains("retry-after: 1199"), "{run:#?}");
    assert!(run.stdout.contains("urn:exeat:refusal:rate-limited"), "{run:#?}");
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn plain_http_where_no_rule_lists_it() {
    let upstream = Upstream::plain();
    let exeat = Exeat::new().allow("api.example.com:8080", &upstream);
    assert_refused(&exeat, &upstream, "http://api.example.com:8080/", "plain-http-not-allowed");
    assert_refused(&exeat, &upstream, "http://api.example.com/", "port-not-listed");
}

#[test]
fn plain_http_where_a_rule_lists_it() {
    let upstream = Upstream::plain();
    let exeat = Exeat::new().allow("api.example.com:80", &upstream).allow_with(
        "api.example.com:8080",
        &upstream,
        "plain = true",
    );
    let run = exeat.sh("curl -sSf http://api.example.com/echo && curl -sSf http://api.example.com:8080/echo").ok();
    assert_eq!(upstream.seen().len(), 2);
    assert_eq!(run.log.calls()[1].scheme, "http");
    assert!(run.log.calls()[1].client_tls.is_none());
}

#[test]
fn a_tunnel_by_connect() {
    let upstream = Upstream::start();
    let exeat =
        Exeat::new().allow("api.example.com", &upstream).allow_with("api.example.com:3128", &upstream, "plain = true");
    let run = exeat.sh("curl -sS -x http://api.example.com:3128 https://evil.example.com/; curl -sS -X CONNECT --http1.1 -o /dev/null -w '%{http_code}' https://api.example.com/").ok();
    assert!(run.stdout.ends_with("501"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["method-not-offered", "method-not-offered"], "{run:#?}");
    upstream.assert_untouched();
}

#[test]
fn an_upstream_that_cannot_prove_who_it_is() {
    let upstream = Upstream::untrusted();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let run = exeat.run(&["curl", "-sS", "-w", "%{http_code}", "https://api.example.com/echo"]).ok();
    assert!(run.stdout.contains("urn:exeat:refusal:upstream-tls") && run.stdout.ends_with("502"), "{run:#?}");
    upstream.assert_no_request();
}

#[test]
fn a_field_that_asks_for_another_method_or_path_passes_only_where_all_are_allowed() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let exeat = Exeat::new()
            .allow_with("api.example.com", &upstream, "methods = [\"GET\"]")
            .allow_with("paths.example.com", &upstream, "paths = [\"/echo\"]")
            .allow("denied.example.com", &upstream)
            .rule("[[deny]]\nto = \"denied.example.com\"\npaths = [\"/admin/**\"]")
            .allow("open.example.com", &upstream);
        for field in ["X-HTTP-Method-Override: DELETE", "X_HTTP_Method: DELETE", "X-Original-URL: /admin/x"] {
            for host in ["api", "paths", "denied"] {
                let curl =
                    format!("curl -sS {version} -w '%{{http_code}}' -H '{field}' https://{host}.example.com/echo");
                let run = exeat.sh(&curl).ok();
                assert!(run.stdout.ends_with("400") && run.stdout.contains("without that field"), "{field}: {run:#?}");
                assert_eq!(run.log.refused_kinds().last(), Some(&"malformed"), "{field}: {run:#?}");
            }
        }
        upstream.assert_no_request();
        exeat.sh(&format!("curl -sSf {version} -H 'X-HTTP-Method-Override: PUT' https://open.example.com/echo")).ok();
        assert_eq!(upstream.only().header("x-http-method-override"), Some("PUT"));
    }
}

#[test]
fn a_field_that_names_another_resource_is_a_call_of_its_own() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let exeat = Exeat::new()
            .allow_with("api.example.com", &upstream, "paths = [\"/echo/**\"]\nmethods = [\"GET\", \"PUT\", \"COPY\"]")
            .allow_with("open.example.com", &upstream, "paths = [\"/shared/**\"]")
            .fixed("key", "the-real-secret-4711", "to = [\"keyed.example.com\"]\nin = [\"header\"]\nenv = \"KEY\"\n")
            .allow_with("keyed.example.com", &upstream, "paths = [\"/echo/**\"]\ncredential = \"key\"")
            .allow("all.example.com", &upstream);
        let send = |host: &str, method: &str, field: &str| {
            let url = format!("https://{host}.example.com/echo/new");
            exeat.sh(&format!("curl -sS {version} -w '%{{http_code}}' -X {method} -H '{field}' {url}")).ok()
        };
        for (method, field, why) in [
            ("PUT", "x-amz-copy-source: /secret/key", "GET https://api.example.com/secret/key is not allowed"),
            ("PUT", "x-goog-copy-source: secret/key", "GET https://api.example.com/secret/key is not allowed"),
            ("PUT", "x-ms-copy-source: https://evil.example.com/x", "no rule lists this host"),
            ("PUT", "x-ms-rename-source: /echo/old", "DELETE https://api.example.com/echo/old is not allowed"),
            ("PUT", "x-ms-copy-source: https://keyed.example.com/echo/x", "names another credential, or none"),
            ("PUT", "x-amz-copy-source: /echo/../secret/key", "servers read in different ways"),
            (
                "COPY",
                "Destination: https://api.example.com/secret/key",
                "PUT https://api.example.com/secret/key is not",
            ),
        ] {
            let run = send("api", method, field);
            assert!(run.stdout.ends_with("400") && run.stdout.contains(why), "{field}: {run:#?}");
            assert_eq!(run.log.refused_kinds().last(), Some(&"malformed"), "{field}: {run:#?}");
        }
        upstream.assert_no_request();
        for (host, method, field) in [
            ("api", "PUT", "x-amz-copy-source: /echo/old?versionId=1"),
            ("api", "PUT", "x-ms-copy-source: https://open.example.com/shared/x?sig=a%2Fb"),
            ("api", "COPY", "Destination: /echo/other"),
            ("api", "PUT", "Destination: Berlin"),
            ("all", "PUT", "x-amz-copy-source: /secret/key"),
        ] {
            let run = send(host, method, field);
            assert!(run.stdout.ends_with("200"), "{field}: {run:#?}");
        }
        assert_eq!(upstream.seen().len(), 5);
    }
}

#[test]
fn a_parameter_that_asks_for_another_method_passes_only_where_all_are_allowed() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let exeat = Exeat::new()
            .allow_with("api.example.com", &upstream, "methods = [\"GET\", \"POST\"]")
            .allow("open.example.com", &upstream);
        let send = |host: &str, options: &str| {
            exeat.sh(&format!("curl -sS {version} -w '%{{http_code}}' 'https://{host}.example.com/echo{options}")).ok()
        };
        for (options, place) in [
            ("?_method=DELETE'", "in the query"),
            ("?a=1&%5FMethod%5B%5D=DELETE' -d a=1", "in the query"),
            ("?_HttpMethod=PATCH' -d a=1", "in the query"),
            ("' -d 'a=1&_method=DELETE'", "in the form"),
            ("' -d '.method=DELETE' -H 'Content-Type:'", "in the form"),
        ] {
            let run = send("api", options);
            assert!(run.stdout.ends_with("400") && run.stdout.contains(place), "{options}: {run:#?}");
            assert!(run.stdout.contains("without that parameter"), "{options}: {run:#?}");
            assert_eq!(run.log.refused_kinds().last(), Some(&"malformed"), "{options}: {run:#?}");
        }
        upstream.assert_no_request();
        for (host, options) in [
            ("open", "?_method=DELETE' -d '_method=DELETE'"),
            ("api", "?method=DELETE&a=_method' -d 'a=_method&b[_method]=x'"),
            ("api", "' -d '{\"a\":\"&_method=\"}' -H 'Content-Type: application/json'"),
        ] {
            let run = send(host, options);
            assert!(run.stdout.ends_with("200"), "{options}: {run:#?}");
        }
        assert_eq!(upstream.seen().len(), 3);
    }
}
