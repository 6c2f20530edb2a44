//! An answer of a Vault server: what is read from it fits a header, a path and the clock; a field is chosen only where serde_json reads the same
//! text by that name, and of what comes twice nothing is chosen.
#![no_main]

use std::time::Duration;

use broker::vault::answer::{found, lease_renewed, login, login_renewed, refusal};
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(value, |value, name| value.get(name))?.as_str()
}

fuzz_target!(|body: &[u8]| {
    let (read, refused) = (found(body), refusal(body));
    assert!(refused.len() < 128);
    // What serde_json refuses, a number beyond all range for one, may stand where nobody looks.
    let Ok(plain) = serde_json::from_slice::<Value>(body) else { return };
    assert!(read.is_err() || plain.is_object());
    if let Ok(login) = login(body) {
        assert_eq!(Some(login.client_token.expose()), text(&plain, &["auth", "client_token"]));
        assert!(HeaderValue::from_str(login.client_token.expose()).is_ok());
        assert!(login.lasts > Duration::ZERO && login.lasts <= YEAR);
        assert_eq!(login_renewed(body).ok(), Some(login.lasts));
    }
    for name in [None, Some("password")] {
        let Ok(found) = found(body) else { break };
        if let Some(lease) = &found.lease {
            assert_eq!(Some(&*lease.id), text(&plain, &["lease_id"]));
            assert!(lease.id.bytes().all(|byte| byte.is_ascii_graphic()) && lease.lasts <= YEAR);
            assert_eq!(lease_renewed(body).ok(), Some(lease.lasts));
        }
        if let Ok(secret) = found.fields.choose(name) {
            let nested = plain["data"]["data"].is_object() && plain["data"]["metadata"].is_object();
            let nested = nested && plain["data"].as_object().is_some_and(|data| data.len() == 2);
            let fields = if nested { &plain["data"]["data"] } else { &plain["data"] };
            let fields = fields.as_object().expect("fields");
            let expected = match name {
                Some(name) => fields.get(name),
                None => fields.values().next().filter(|_| fields.len() == 1),
            };
            assert_eq!(expected.and_then(Value::as_str), Some(secret.expose()));
        }
    }
});
