//! A policy is valid or every mistake of it is printable with its place; a valid one answers every call as if every rule had been asked,
//! and one without an allow rule allows none.
#![no_main]

use config::{CallFacts, Effect, Policy, Scheme};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let policy = match Policy::parse("fuzz".parse().expect("a name"), "agents/fuzz.toml", text) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(!error.mistakes().is_empty());
            return assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'));
        }
    };
    let none_allowed = policy.rules().iter().all(|rule| rule.effect() != Effect::Allow);
    for expectation in policy.expectations() {
        let unmet = expectation.unmet_by(&policy).map(|unmet| unmet.to_string());
        assert!(!unmet.is_some_and(|told| told.chars().any(|c| c.is_control() && c != '\n')));
    }
    for (authority, scheme) in
        [("api.example.com", Scheme::Https), ("10.0.0.1:80", Scheme::Http), ("[::1]:8443", Scheme::Https)]
    {
        let destination = config::Destination::parse_authority(authority, 443).expect("a destination");
        for (method, path) in [("GET", "/"), ("POST", "/repos/acme/x"), ("GET", "/repos;a/%78%2Facme/100%2561")] {
            let (method, path) = (method.parse().expect("a method"), config::NormalPath::parse(path).expect("a path"));
            let call = CallFacts { destination: &destination, scheme, method: &method, path: &path };
            let differs = policy.differs(&call);
            assert!(differs.is_none(), "{differs:?}");
            let judged = policy.call(&call);
            match judged {
                Ok(_) => assert!(!none_allowed && policy.connect(&destination).is_ok()),
                Err(denial) => assert!(!denial.reason().is_empty() && !denial.remedy().is_empty()),
            }
        }
    }
});
