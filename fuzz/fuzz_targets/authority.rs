//! What is taken for a destination has one spelling, and that spelling is the same destination.
#![no_main]

use config::{Destination, Host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(destination) = Destination::parse_authority(text, 443) else { return };
    let spelt = destination.to_string();
    assert_eq!(spelt.parse::<Destination>().expect("its own spelling"), destination);
    assert!(destination.port() != 0);
    if let Host::Name(name) = destination.host() {
        assert!(name.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b)));
        assert!(!name.as_str().ends_with('.') && name.as_str().parse::<std::net::IpAddr>().is_err());
    }
});
