//! A document that is read has no declaration of a type, comment or section in it, and reads alike with blanks around it; what it says is
//! written in it, or is an entity's.
#![no_main]

use broker::xml::Document;
use libfuzzer_sys::fuzz_target;

const PATHS: [&str; 5] = [
    "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/AccessKeyId",
    "ErrorResponse/Error/Code",
    "a",
    "a/b",
    "a/b/c",
];

fuzz_target!(|document: &[u8]| {
    let Ok(read) = Document::read(document) else { return };
    let text = std::str::from_utf8(document).expect("what is read is UTF-8");
    for other in ["<!", "]]>"] {
        assert!(!text.contains(other) || text.contains(['"', '\'']), "{other}");
    }
    let again = Document::read(format!("{text}\n").as_bytes()).unwrap_or_default();
    for path in PATHS {
        assert_eq!(read.only(path), again.only(path));
        if let Some(said) = read.only(path) {
            assert!(text.contains(said) || text.contains('&'), "{path}: {said}");
        }
    }
});
