//! The decision about a connection, before anything is asked on it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{DenialKind, Destination, Policy, Scheme};

#[test]
fn a_connection_is_open_to_what_its_rules_speak_of() {
    let policy = Policy::parse(
        "bot".parse().unwrap(),
        "bot.toml",
        "[[allow]]\nto = \"a.example:80\"\n[[allow]]\nto = \"b.example\"\n[[deny]]\nto = \"b.example\"\npaths = [\"/x\"]\n\
         [[allow]]\nto = \"*.c.example\"\n[[deny]]\nto = \"d.c.example\"\n",
    )
    .unwrap();
    let connect = |text| policy.connect(&Destination::parse_authority(text, 443).unwrap());
    assert!(connect("a.example:80").unwrap().allows(Scheme::Http));
    assert!(!connect("b.example").unwrap().allows(Scheme::Http));
    assert!(connect("x.c.example").is_ok());
    assert_eq!(connect("d.c.example").unwrap_err().kind(), &DenialKind::DeniedByRule);
    assert_eq!(connect("d.c.example:99").unwrap_err().kind(), &DenialKind::DeniedByRule);
    let denial = connect("e.example").unwrap_err();
    assert_eq!(denial.reason(), "a connection to e.example:443 is not allowed: no rule lists this host");
    let lines = "[[allow]]\nto = \"e.example\"\n# exeat explain --agent bot https://e.example\n";
    assert!(denial.remedy().ends_with(lines), "{}", denial.remedy());
}
