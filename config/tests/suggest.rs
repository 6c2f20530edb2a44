//! Rules that are suggested cover what was seen, by the policy's own judgement, and nothing that a client writes becomes a rule of its own.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;

use config::{CallFacts, CallPermit, Denial, Method, NormalPath, Policy, Scheme, Sighting, Suggestion, Times, suggest};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

const RULES: [&str; 7] = [
    "[[allow]]\nto = \"a.example\"\nmethods = [\"GET\"]\npaths = [\"/x/**\"]\ncredential = \"c\"\n",
    "[[allow]]\nto = \"b.example.com:8080\"\nmethods = [\"HEAD\"]\naddresses = [\"10.0.0.0/8\"]\n",
    "[[allow]]\nto = \"n1.many.example.com\"\nmethods = [\"HEAD\"]\ndial = \"127.0.0.1:1\"\n",
    "[[allow]]\nto = \"10.0.0.5\"\nmethods = [\"HEAD\"]\n",
    "[[allow]]\nto = \"tcp.example:443\"\ntls = \"tcp\"\n",
    "[[deny]]\nto = \"a.example\"\npaths = [\"/x/1/**\"]\n",
    "[[deny]]\nto = \"*.many.example.com\"\nmethods = [\"DELETE\"]\n",
];
const SEGMENTS: [&str; 31] = [
    "%253Bx",
    "x",
    "y",
    "1",
    "22",
    "333",
    "*",
    "**",
    "%2A",
    "a;v=1",
    "a;1.whl",
    "%3Bx",
    "x%3By",
    "100%25ab",
    "a%253Bx",
    "%2541",
    "%22",
    "'",
    "\"]",
    "#",
    "%5B%5Ballow%5D%5D",
    "a%2Fb",
    "@a%2fb",
    "é",
    "v1.2.3",
    "n-1.0.tgz",
    "9f86d081884c7d65",
    "%61.whl",
    "...",
    "~",
    "",
];
const METHODS: [&str; 6] = ["GET", "POST", "DELETE", "PROPFIND", "X-'`|", "HEAD"];

fn parse(text: &str) -> Policy {
    Policy::parse("bot".parse().unwrap(), "bot.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn some_path() -> impl Strategy<Value = NormalPath> {
    let segment = prop_oneof![
        6 => select(&SEGMENTS).prop_map(str::to_owned),
        2 => "[a-z]{1,3}",
        1 => "\\PC{0,8}",
        1 => Just("l".repeat(400)),
        1 => "[a-z0-9]{20}",
    ];
    let paths =
        prop_oneof![8 => prop::collection::vec(segment.clone(), 0..5), 1 => prop::collection::vec(segment, 30..40)];
    paths.prop_filter_map("no path", |segments| NormalPath::parse(&format!("/{}", segments.join("/"))).ok())
}

fn some_sighting() -> impl Strategy<Value = Sighting> {
    let hosts = prop_oneof![
        select(&["a.example", "b.example.com", "tcp.example", "10.0.0.5", "203.0.113.9", "[2001:db8::1]"])
            .prop_map(str::to_owned),
        (0..20).prop_map(|n| format!("n{n}.many.example.com")),
    ];
    let forbidden = prop::option::weighted(0.1, select(&["10.1.2.3", "fd00::1"]));
    let scheme = prop_oneof![3 => Just(Scheme::Https), 1 => Just(Scheme::Http)];
    (hosts, select(&[443, 443, 80, 8080]), scheme, select(&METHODS), some_path(), forbidden, 0..9_i64).prop_map(
        |(host, port, scheme, method, path, forbidden, at)| Sighting {
            destination: format!("{host}:{port}").parse().unwrap(),
            scheme,
            method: method.parse().unwrap(),
            path,
            forbidden: forbidden.map(|address| address.parse().unwrap()),
            times: Times::once(Timestamp::from_second(at).unwrap()),
        },
    )
}

fn judge(policy: &Policy, sighting: &Sighting) -> Result<CallPermit, Denial> {
    ask(policy, sighting, &sighting.method)
}

fn ask(
    policy: &Policy,
    Sighting { destination, scheme, path, .. }: &Sighting,
    method: &Method,
) -> Result<CallPermit, Denial> {
    let permit = policy.call(&CallFacts { destination, scheme: *scheme, method, path })?;
    assert!(policy.connect(destination).is_ok(), "{destination} is called and not connected to");
    Ok(permit)
}

fn lines(suggestion: &Suggestion) -> String {
    suggestion.rules.iter().map(|rule| format!("\n{rule}")).collect()
}

proptest! {
    #[test]
    fn every_call_that_was_seen_is_covered_or_denied_and_nothing_else_gets_in(
        rules in prop::sample::subsequence(RULES.to_vec(), 0..=RULES.len()),
        seen in prop::collection::vec(some_sighting(), 0..60),
        cut in any::<prop::sample::Index>(),
    ) {
        // A rule after one that leaves connections unread would never be reached, and is not what this is about.
        let rules = rules.concat();
        let before = parse(&rules);
        let suggestion = suggest(&before, &seen);
        let text = format!("{rules}{}", lines(&suggestion));
        let after = parse(&text);
        prop_assert_eq!(after.rules().len(), before.rules().len() + suggestion.rules.len());
        for sighting in &seen {
            match (judge(&before, sighting), judge(&after, sighting)) {
                (Ok(before), Ok(after)) => prop_assert_eq!(before.rule().to_string(), after.rule().to_string()),
                (Err(_), Ok(after)) => prop_assert!(after.credential().is_none()),
                (_, Err(denial)) => {
                    let kinds = ["denied-by-rule", "passes-unread"];
                    prop_assert!(kinds.contains(&denial.kind().as_str()), "{denial}\n{text}");
                    prop_assert!(!suggestion.denied.is_empty());
                }
            }
            // A method that was not seen at a host is still no way in.
            let others = seen.iter().filter(|other| other.destination == sighting.destination);
            let methods: BTreeSet<&Method> = others.map(|other| &other.method).collect();
            let wild = suggestion.rules.iter().any(|rule| rule.is_for_a_domain() && rule.to.matches(&sighting.destination));
            for method in METHODS.map(|method| method.parse::<Method>().unwrap()).iter().filter(|it| !methods.contains(it)) {
                prop_assert!(wild || ask(&after, sighting, method).is_ok() == ask(&before, sighting, method).is_ok(), "{text}");
            }
        }
        // In whatever order they came, and in however many pieces.
        let mut turned = seen.clone();
        turned.rotate_left(cut.index(seen.len().max(1)).min(seen.len()));
        turned.reverse();
        let again = suggest(&before, &turned);
        prop_assert_eq!(lines(&again), lines(&suggestion));
        let denied = |suggestion: &Suggestion| suggestion.denied.iter().map(|(denial, times)| (denial.reason(), *times)).collect::<Vec<_>>();
        prop_assert_eq!(denied(&again), denied(&suggestion));
    }
}

fn seen(calls: &[(&str, &str, &str)]) -> Vec<Sighting> {
    let one = |(method, to, path): &(&str, &str, &str)| Sighting {
        destination: to.parse().unwrap(),
        scheme: Scheme::Https,
        method: method.parse().unwrap(),
        path: NormalPath::parse(path).unwrap(),
        forbidden: None,
        times: Times::once(Timestamp::UNIX_EPOCH),
    };
    calls.iter().map(one).collect()
}

#[test]
fn the_smallest_rules_are_by_host_method_and_generalised_path() {
    let calls = seen(&[
        ("GET", "api.example.com:443", "/repos/acme/widgets/pulls/12"),
        ("GET", "api.example.com:443", "/repos/acme/widgets/pulls/9"),
        ("POST", "api.example.com:443", "/repos/acme/widgets/pulls/12"),
        ("POST", "api.example.com:443", "/graphql"),
        ("GET", "b.example.com:8443", "/@scope%2Fname"),
    ]);
    let suggestion = suggest(&parse(""), &calls);
    let expected = "
[[allow]]
to = \"api.example.com\"
methods = [\"GET\", \"POST\"]
paths = [\"/repos/acme/widgets/pulls/*\"]

[[allow]]
to = \"api.example.com\"
methods = [\"POST\"]
paths = [\"/graphql\"]

[[allow]]
to = \"b.example.com:8443\"
methods = [\"GET\"]
paths = [\"/@scope%2Fname\"]
encoded_slash = true
";
    assert_eq!(lines(&suggestion), expected);
    assert_eq!(suggestion.rules[0].times.calls, 3);
    let after = suggest(&parse(expected), &calls);
    assert!(after.rules.is_empty() && after.allowed == 5);
}

#[test]
fn a_wildcard_over_hosts_takes_many_of_one_house() {
    let hosts = |below: &str, many: usize| -> Vec<String> { (0..many).map(|n| format!("n{n}.{below}:443")).collect() };
    let to = |hosts: &[String]| -> BTreeSet<String> {
        let calls: Vec<_> = hosts.iter().map(|host| ("GET", host.as_str(), "/")).collect();
        suggest(&parse(""), &seen(&calls)).rules.iter().map(|rule| rule.to.to_string()).collect()
    };
    assert_eq!(to(&hosts("cdn.example.com", 9)), BTreeSet::from(["*.cdn.example.com".to_owned()]));
    assert_eq!(to(&hosts("cdn.example.com", 8)).len(), 8);
    assert_eq!(to(&hosts("github.io", 30)).len(), 30, "strangers have names there");
}

#[test]
fn a_wildcard_comes_behind_the_hosts_that_are_named() {
    let mut calls: Vec<Sighting> =
        (0..9).flat_map(|n| seen(&[("GET", format!("n{n}.many.example.com:443").as_str(), "/")])).collect();
    calls.extend(
        seen(&[("GET", "inside.many.example.com:443", "/")])
            .into_iter()
            .map(|call| Sighting { forbidden: Some("10.0.0.5".parse().unwrap()), ..call }),
    );
    let suggestion = suggest(&parse(""), &calls);
    assert_eq!(suggestion.rules.len(), 2);
    parse(&lines(&suggestion));
}

/// `*.whl` is right for each of them but the last: a server that takes parameters off sees another ending.
#[test]
fn a_path_that_what_it_became_one_with_does_not_have_gets_a_pattern_of_its_own() {
    let mut paths: Vec<String> = ('a'..='j').map(|name| format!("/f/{name}.whl")).collect();
    paths.push("/f/x;v=1.whl".to_owned());
    let covered = |paths: &[String]| -> Vec<String> {
        let calls = seen(&paths.iter().map(|path| ("GET", "a.example:443", path.as_str())).collect::<Vec<_>>());
        let suggestion = suggest(&parse(""), &calls);
        let after = parse(&lines(&suggestion));
        calls.iter().for_each(|call| drop(judge(&after, call).unwrap()));
        suggestion.rules[0].paths.iter().map(|path| path.as_str().to_owned()).collect()
    };
    assert_eq!(covered(&paths), ["/f/*.whl", "/f/x;v=1.whl"]);
    paths.push("/f/%253Bx/y".to_owned());
    assert_eq!(covered(&paths), ["/f/**"], "and no more are kept than are needed");
    assert_eq!(covered(&["/%253Bx/y".to_owned()]), ["/**"], "nothing narrower has it");
}

#[test]
fn a_rule_for_a_listed_host_takes_its_way_along_and_not_its_credential() {
    let before = parse(
        "[[allow]]\nto = \"a.example\"\nmethods = [\"HEAD\"]\naddresses = [\"10.0.0.0/8\", \"192.168.1.1\"]\ncredential = \"c\"",
    );
    let suggestion = suggest(&before, &seen(&[("GET", "a.example:443", "/x")]));
    let expected = "\n[[allow]]\nto = \"a.example\"\nmethods = [\"GET\"]\npaths = [\"/x\"]\naddresses = [\"10.0.0.0/8\", \"192.168.1.1\"]\n";
    assert_eq!(lines(&suggestion), expected);
}

#[test]
fn a_flood_of_paths_becomes_few_patterns_in_little_time() {
    let paths: Vec<String> = (0..20_000).map(|n| format!("/f/{:x}/{}/x{}", n % 251, n % 17, n)).collect();
    let calls: Vec<_> = paths.iter().map(|path| ("GET", "a.example:443", path.as_str())).collect();
    let deep = format!("/{}", "d/".repeat(8000));
    let calls = seen(&[calls, vec![("GET", "a.example:443", deep.as_str())]].concat());
    let started = std::time::Instant::now();
    let suggestion = suggest(&parse(""), &calls);
    assert!(suggestion.rules.iter().map(|rule| rule.paths.len()).sum::<usize>() < 10, "{}", lines(&suggestion));
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
