//! A credentials file is valid or every mistake of it is printable with its place; what is valid can make placeholders that
//! nobody guesses. The same holds for the text as broker.toml, and what that says to sign has a key to sign it.
#![no_main]

use config::{Credential, Credentials, IdentitySettings, LoadError, Placeholder, home_files};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Credentials::parse("credentials.toml", text) {
        Ok(credentials) => {
            let mut grants = Vec::new();
            for (grant, shape) in credentials.iter().flat_map(Credential::placeholders) {
                assert!(shape.entropy_bits() >= 128.0);
                let placeholder = Placeholder::generate(shape).expect("random bytes");
                assert_ne!(placeholder, Placeholder::generate(shape).expect("random bytes"));
                assert!(placeholder.value().bytes().all(|b| (0x21..0x7f).contains(&b)));
                grants.push((grant, placeholder));
            }
            for file in home_files(&grants, "/roots.pem").expect("random bytes") {
                let parts = file.path.split('/');
                assert!(parts.into_iter().all(|part| !matches!(part, "" | "." | "..")), "{}", file.path);
            }
        }
        Err(error) => readable(&error),
    }
    match IdentitySettings::parse("broker.toml", text) {
        Ok(settings) => {
            assert!(settings.algorithms().into_iter().all(|algorithm| settings.keys.sign(algorithm)));
            assert!(settings.issuer.starts_with("https://") && !settings.issuer.ends_with('/'));
        }
        Err(error) => readable(&error),
    }
});

fn readable(error: &LoadError) {
    assert!(!error.mistakes().is_empty());
    assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'));
}
