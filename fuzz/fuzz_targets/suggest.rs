//! Rules that are suggested for calls parse as a policy together with those that are there, are as many as were suggested, and cover each
//! call that is not denied; nothing of a call becomes anything else.
#![no_main]

use config::{CallFacts, DenialKind, NormalPath, Policy, Scheme, Sighting, Times, suggest};
use libfuzzer_sys::fuzz_target;

const POLICY: &str = "[[allow]]\nto = \"a.example\"\nmethods = [\"GET\"]\npaths = [\"/x/**\"]\ncredential = \"c\"\n
[[allow]]\nto = \"n1.many.example.com\"\nmethods = [\"HEAD\"]\naddresses = [\"10.0.0.0/8\"]\n
[[deny]]\nto = \"*.example\"\npaths = [\"/x/secret/**\"]\n";
const HOSTS: [&str; 4] = ["a.example:443", "b.example.com:8443", "10.0.0.5:80", "[2001:db8::1]:443"];

fn policy(text: &str) -> Policy {
    Policy::parse("fuzz".parse().expect("a name"), "agents/fuzz.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

// A line for each call: a letter for its host, one for its method, its path.
fuzz_target!(|text: &str| {
    let seen: Vec<Sighting> = text
        .lines()
        .take(200)
        .filter_map(|line| {
            let (host, rest) = line.split_at_checked(1)?;
            let (method, path) = rest.split_at_checked(1)?;
            let (host, method) = (usize::from(host.as_bytes()[0]), usize::from(method.as_bytes()[0]));
            let many = format!("n{}.many.example.com:443", host % 16);
            Some(Sighting {
                destination: HOSTS.get(host % 6).copied().unwrap_or(&many).parse().expect("a destination"),
                scheme: if method % 2 == 0 { Scheme::Https } else { Scheme::Http },
                method: ["GET", "POST", "X-'`|"][method % 3].parse().expect("a method"),
                path: NormalPath::parse(path).ok()?,
                forbidden: (method % 7 == 0).then(|| "10.1.2.3".parse().expect("an address")),
                times: Times::once("2026-01-31T12:00:00Z".parse().expect("a time")),
            })
        })
        .collect();
    let before = policy(POLICY);
    let suggestion = suggest(&before, &seen);
    let lines: String = suggestion.rules.iter().map(ToString::to_string).collect();
    assert!(lines.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
    let after = policy(&format!("{POLICY}\n{lines}"));
    assert_eq!(after.rules().len(), before.rules().len() + suggestion.rules.len());
    for Sighting { destination, scheme, method, path, .. } in &seen {
        let call = CallFacts { destination, scheme: *scheme, method, path };
        match (before.call(&call), after.call(&call)) {
            (Ok(before), Ok(after)) => assert_eq!(before.rule(), after.rule()),
            (_, Ok(after)) => assert!(after.credential().is_none()),
            (_, Err(denial)) => assert_eq!(denial.kind(), &DenialKind::DeniedByRule),
        }
    }
});
