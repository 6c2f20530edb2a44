//! A credential is put into calls of its own rule to its own destinations only, and only where the field is free.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{Credential, CredentialName, Credentials, Destination, Placeholder};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use proptest::prelude::*;
use proxy::swap::{Head, Swap};

const FILE: &str = "
[api]
issuer = \"fixed\"
value = { env = \"S\" }
agents = [\"bot\"]
to = [\"api.example.com\", \"*.api.example.com:8443\"]
inject = true
[other]
issuer = \"fixed\"
value = { env = \"S\" }
agents = [\"bot\"]
to = [\"api.example.com\", \"www.example.com\"]";
const PLACEHOLDER: &str = "exeat_of-the-credential-api";

fn swap() -> Swap {
    let credentials = Credentials::parse("credentials.toml", FILE).unwrap();
    let placeholder = |name: &CredentialName| match name.as_str() {
        "api" => Placeholder::from_value(PLACEHOLDER.into()),
        name => Placeholder::from_value(format!("exeat_of-the-credential-{name}")),
    };
    let parts = credentials.iter().flat_map(Credential::placeholders);
    Swap::new(parts.map(|(grant, _)| (grant.clone(), placeholder(grant.credential()))).collect())
}

proptest! {
    #[test]
    fn only_its_own_calls_with_a_free_field(
        to in prop::sample::select(vec!["api.example.com:443", "x.api.example.com:8443", "x.api.example.com:443", "api.example.com:8443", "www.example.com:443", "evil.example:443"]),
        permitted in prop::sample::select(vec![None, Some("api"), Some("other")]),
        said in prop::collection::vec(prop::sample::select(vec!["Bearer own", PLACEHOLDER, "Bearer exeat_of-the-credential-api", "Basic b3duOm93bg=="]), 0..3),
        elsewhere in any::<bool>(),
    ) {
        let destination: Destination = to.parse().unwrap();
        let name: Option<CredentialName> = permitted.map(|name| name.parse().unwrap());
        let mut headers = HeaderMap::new();
        for value in &said {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        if elsewhere {
            headers.insert("x-key", HeaderValue::from_static(PLACEHOLDER));
        }
        let head = Head { destination: &destination, permitted: name.as_ref(), path: "/", query: None, headers: &headers };
        let granted = permitted == Some("api") && ["api.example.com:443", "x.api.example.com:8443"].contains(&to);
        let own = said.iter().any(|value| !value.contains(PLACEHOLDER));
        match swap().inject(&head) {
            Ok(Some((field, value))) => {
                prop_assert!(granted && said.is_empty() && !elsewhere);
                prop_assert_eq!((field, value.to_str().unwrap()), (AUTHORIZATION, "Bearer exeat_of-the-credential-api"));
            }
            Ok(None) => prop_assert!(!granted || (!own && (elsewhere || !said.is_empty()))),
            Err(_) => prop_assert!(granted && own),
        }
    }
}
