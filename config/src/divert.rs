//! A policy whose calls all end at one place (`exeat probe`).
//!
//! Enters: a policy, and a place of this machine. Leaves: the same decisions; whatever is let out is dialled there. Never: another decision, or a
//! call that goes where its rule says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::policy::Policy;
use crate::rule::Rule;

/// Where everything ends that is let out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diversion {
    /// The address that is dialled, whatever a rule says of addresses; so no proxy of the house's is in between.
    pub to: SocketAddr,
    /// A file with the root of what is served there, to be trusted beside the others.
    pub root: PathBuf,
}

impl Policy {
    /// The same policy, of which every call ends there.
    #[must_use]
    pub fn diverted(mut self, end: &Diversion) -> Self {
        for rule in &mut self.rules {
            let diverted = Rule { dial: Some(end.to), ..Rule::clone(rule) };
            *rule = Arc::new(diverted);
        }
        self.extra_roots.push(end.root.clone());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{CallFacts, Scheme};
    use crate::path::NormalPath;

    const RULES: &str = "[upstream]\nproxy = \"http://proxy.example.com:3128\"\n\
        [[deny]]\nto = \"api.example.com\"\npaths = [\"/private/**\"]\n\
        [[allow]]\nto = \"api.example.com\"\nmethods = [\"GET\"]\n\
        [[allow]]\nto = \"db.example.com:5432\"\ntls = \"tcp\"\n\
        [[allow]]\nto = \"own.example.com\"\ndial = \"192.0.2.1:8443\"\n";

    #[test]
    fn every_permit_leads_there_and_every_decision_is_the_same() {
        let parse = || Policy::parse("bot".parse().unwrap(), "agents/bot.toml", RULES).unwrap();
        let end = Diversion { to: "127.0.0.1:4711".parse().unwrap(), root: "/run/root.pem".into() };
        let (plain, diverted) = (parse(), parse().diverted(&end));
        assert_eq!((plain.digest(), plain.rules().len()), (diverted.digest(), diverted.rules().len()));
        assert_eq!(diverted.extra_roots(), std::slice::from_ref(&end.root));
        for (to, method, path) in [
            ("api.example.com:443", "GET", "/"),
            ("api.example.com:443", "PUT", "/"),
            ("api.example.com:443", "GET", "/private/x"),
            ("own.example.com:443", "GET", "/"),
            ("other.example.com:443", "GET", "/"),
        ] {
            let (destination, method, path) =
                (to.parse().unwrap(), method.parse().unwrap(), NormalPath::parse(path).unwrap());
            let facts = CallFacts { destination: &destination, scheme: Scheme::Https, method: &method, path: &path };
            match (plain.call(&facts), diverted.call(&facts)) {
                (Ok(one), Ok(other)) => {
                    assert_eq!(one.rule(), other.rule(), "{to}");
                    assert_eq!(other.route().dial(), Some(end.to), "{to}");
                    assert!(other.route().proxy().is_none(), "{to}");
                }
                (Err(one), Err(other)) => assert_eq!(one.reason(), other.reason(), "{to}"),
                (one, other) => panic!("{to}: {one:?} {other:?}"),
            }
        }
        let tunnel = diverted.connect(&"db.example.com:5432".parse().unwrap()).unwrap().tunnel().unwrap();
        assert_eq!(tunnel.route().dial(), Some(end.to));
    }
}
