//! A path in its normal form is its own normal form, and has no segment that a server could read as a step.
#![no_main]

use config::NormalPath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(path) = NormalPath::parse(text) else { return };
    assert_eq!(NormalPath::parse(path.as_str()).expect("its own normal form"), path);
    assert!(path.as_str().starts_with('/') && path.as_str().is_ascii());
    assert!(path.as_str()[1..].split('/').all(|segment| segment != "." && segment != ".."));
    assert!(!path.as_str().contains("//") && !path.as_str().bytes().any(|b| b <= b' ' || b"\\?#\x7f".contains(&b)));
});
