//! What a Vault server answers, read as if somebody hostile wrote it.
//!
//! Enters: the bytes of an answer. Leaves: a login, a secret's fields, a lease's new end; of a refusal, what is known by its words.
//! A key that comes twice is an error, and so is what cannot be a header's text, a path or a number of seconds. Never: a text of
//! the server's in an error.

use std::time::Duration;

use serde::Deserialize;

pub use super::fields::Fields;
use crate::issuer::MAX_LIFETIME;
use crate::secret::Secret;

/// A batch token has some hundred bytes, one of a server of many namespaces more.
const MAX_CLIENT_TOKEN: usize = 8 * 1024;
/// The path that was read, and an id behind it.
const MAX_LEASE_ID: usize = 1024;

/// What is said of the errors that an operator can do something about, each known by a part of its words.
const KNOWN: [(&str, &str); 9] = [
    ("permission denied", "(permission denied: see the policies of the role)"),
    ("is sealed", "(it is sealed)"),
    ("could not be found", "(it has no such role)"),
    ("audience", "(the role takes no identity for this audience: see `identity_audience`)"),
    ("claim", "(the claims of the identity are not those that the role is bound to)"),
    ("signature", "(it does not know the key that signed the identity)"),
    ("no handler for route", "(nothing is mounted on that path)"),
    ("lease not found", "(it knows no such lease)"),
    ("unsupported path", "(there is nothing to read on that path)"),
];

/// Who the broker is at the server.
#[derive(Debug)]
pub struct Login {
    /// What shows it.
    pub client_token: Secret,
    /// For how long, from the moment of asking.
    pub lasts: Duration,
    /// Whether that can be made longer.
    pub renewable: bool,
}

/// What was read on a path.
#[derive(Debug)]
pub struct Found {
    /// The server made it for this reading, and takes it back.
    pub lease: Option<Leased>,
    /// What is in it.
    pub fields: Fields,
}

/// How long something lasts that the server made.
#[derive(Debug)]
pub struct Leased {
    /// Its name there.
    pub id: String,
    /// For how long, from the moment of asking.
    pub lasts: Duration,
    /// Whether that can be made longer.
    pub renewable: bool,
}

/// Reads the answer to a login.
pub fn login(body: &[u8]) -> Result<Login, &'static str> {
    let auth = authorized(body)?;
    if auth.token_type.as_deref() == Some("batch") {
        return Err(
            "its login gives a batch token, which cannot be taken back: give the role `token_type = \"service\"`",
        );
    }
    let client_token = auth.client_token.map(Secret::new).filter(|text| fits(text.expose(), MAX_CLIENT_TOKEN));
    Ok(Login {
        client_token: client_token.ok_or("it has no `client_token`, or one that fits no header")?,
        lasts: lifetime(auth.lease_duration)?,
        renewable: auth.renewable,
    })
}

/// Reads the answer to the renewal of a login: how long it lasts from the moment of asking.
pub fn login_renewed(body: &[u8]) -> Result<Duration, &'static str> {
    lifetime(authorized(body)?.lease_duration)
}

/// Reads what was found on a path.
pub fn found(body: &[u8]) -> Result<Found, &'static str> {
    let answer: Answer = parsed(body).ok_or(NOT_READABLE)?;
    let lease = match answer.lease_id {
        Some(id) if !id.is_empty() => Some(leased(id, answer.lease_duration, answer.renewable)?),
        _ => None,
    };
    let fields = answer.data.ok_or("there is nothing in it")?.flattened();
    Ok(Found { lease, fields })
}

/// Reads the answer to the renewal of a lease: how long it lasts from the moment of asking.
pub fn lease_renewed(body: &[u8]) -> Result<Duration, &'static str> {
    let answer: Answer = parsed(body).ok_or(NOT_READABLE)?;
    lifetime(answer.lease_duration)
}

/// What is said of a refusal, where it is known.
pub fn refusal(body: &[u8]) -> &'static str {
    let errors = errors(body);
    let known = KNOWN.into_iter().find(|(words, _)| errors.iter().any(|error| error.contains(words)));
    known.map(|(_, said)| said).unwrap_or_default()
}

/// Whether the server says this, and nothing else, is wrong: it knows no such client. One whose policies do not allow what it asks
/// is told so in other words.
pub fn knows_no_such_client(body: &[u8]) -> bool {
    errors(body) == ["permission denied"]
}

const NOT_READABLE: &str = "it is not the JSON of the Vault API";

#[derive(Deserialize)]
struct Authorized {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: Option<String>,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    token_type: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    lease_id: Option<String>,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    data: Option<Fields>,
}

/// JSON is UTF-8 throughout, also where nobody looks.
fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_str(std::str::from_utf8(body).ok()?).ok()
}

fn authorized(body: &[u8]) -> Result<Auth, &'static str> {
    let answer: Authorized = parsed(body).ok_or(NOT_READABLE)?;
    answer.auth.ok_or("it has no `auth`")
}

fn leased(id: String, seconds: u64, renewable: bool) -> Result<Leased, &'static str> {
    match fits(&id, MAX_LEASE_ID) {
        true => Ok(Leased { id, lasts: lifetime(seconds)?, renewable }),
        false => Err("its `lease_id` is too long, or has other characters than visible ASCII"),
    }
}

fn lifetime(seconds: u64) -> Result<Duration, &'static str> {
    match seconds {
        0 => Err("its `lease_duration` is 0: what never ends by itself is not lent"),
        seconds => Ok(Duration::from_secs(seconds).min(MAX_LIFETIME)),
    }
}

fn fits(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn errors(body: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Failed {
        errors: Vec<String>,
    }
    parsed::<Failed>(body).map(|failed| failed.errors).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(answer: &Value) -> Result<Found, &'static str> {
        found(answer.to_string().as_bytes())
    }

    fn chosen(data: &Value, field: Option<&str>) -> Result<String, &'static str> {
        Ok(read(&json!({ "data": data }))?.fields.choose(field)?.expose().to_owned())
    }

    #[test]
    fn a_login_is_who_for_how_long() {
        let with = |field: &str, value: Value| {
            let mut auth =
                json!({"client_token": "s.abc", "lease_duration": 60, "renewable": true, "token_type": "service"});
            auth[field] = value;
            login(json!({"auth": auth, "lease_id": "", "warnings": null}).to_string().as_bytes())
        };
        let good = with("policies", json!(["default"])).unwrap();
        assert_eq!((good.client_token.expose(), good.lasts, good.renewable), ("s.abc", Duration::from_secs(60), true));
        for bad in [json!(""), json!(null), json!("a b"), json!("a\r\nb"), json!("x".repeat(8 * 1024 + 1)), json!(1)] {
            assert!(with("client_token", bad.clone()).is_err(), "{bad}");
        }
        for bad in [json!(0), json!(-1), json!("60"), json!(1e300), json!(0.5)] {
            assert!(with("lease_duration", bad.clone()).is_err(), "{bad}");
        }
        assert_eq!(with("lease_duration", json!(u64::MAX)).unwrap().lasts, MAX_LIFETIME);
        assert!(with("token_type", json!("batch")).unwrap_err().contains("token_type"));
        let twice = br#"{"auth": {"client_token": "a", "client_token": "b", "lease_duration": 1}}"#;
        let no_text = b"{\"x\": \"\xff\", \"auth\": {\"client_token\": \"a\", \"lease_duration\": 1}}";
        for bad in [&twice[..], no_text, b"{}", br#"{"auth": null}"#, b"", b"<html>"] {
            assert!(login(bad).is_err());
        }
    }

    #[test]
    fn the_fields_of_either_version_of_kv_and_of_a_lease() {
        let kv2 = json!({"data": {"password": "p", "port": 1}, "metadata": {"version": 3, "custom_metadata": null}});
        assert_eq!(chosen(&kv2, Some("password")).unwrap(), "p");
        assert_eq!(chosen(&json!({"data": {"key": "k"}, "metadata": {}}), None).unwrap(), "k");
        assert_eq!(chosen(&json!({"data": "k", "metadata": "x"}), Some("data")).unwrap(), "k");
        assert_eq!(chosen(&json!({"key": "k"}), None).unwrap(), "k");
        for (data, field) in [
            (json!({"a": "1", "b": "2"}), None),
            (json!({"a": "1"}), Some("b")),
            (json!({"a": 1}), None),
            (json!({"a": ["x"]}), Some("a")),
            (json!({"a": ""}), None),
            (json!({}), None),
            (json!({"data": null, "metadata": {}}), None), // deleted
            (json!(null), None),
            (json!("a"), None),
        ] {
            assert!(chosen(&data, field).is_err(), "{data}");
        }
        assert!(found(br#"{"data": {"a": "1", "a": "2"}}"#).is_err());
        let lease =
            json!({"lease_id": "database/creds/r/x", "lease_duration": 5, "renewable": true, "data": {"a": "b"}});
        let lease = read(&lease).unwrap().lease.unwrap();
        assert_eq!((&*lease.id, lease.lasts, lease.renewable), ("database/creds/r/x", Duration::from_secs(5), true));
        for bad in [json!("a b"), json!("x".repeat(1025)), json!(7)] {
            assert!(read(&json!({"lease_id": bad, "lease_duration": 5, "data": {"a": "b"}})).is_err());
        }
        assert!(read(&json!({"lease_id": "x/y", "data": {"a": "b"}})).is_err(), "it never ends");
    }

    #[test]
    fn of_a_refusal_only_what_is_known_is_said() {
        let says = |error: &str| refusal(json!({"errors": [error]}).to_string().as_bytes());
        assert!(says("1 error occurred:\n\t* permission denied\n\n").contains("policies"));
        assert_eq!(says("your secret is hunter2"), "");
        assert_eq!(refusal(b"<html>"), "");
        assert!(knows_no_such_client(br#"{"errors":["permission denied"]}"#));
        for other in
            [&br#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#[..], br#"{"errors":[]}"#, b"{}"]
        {
            assert!(!knows_no_such_client(other));
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (login(&body), login_renewed(&body), found(&body), lease_renewed(&body), refusal(&body));
        }

        #[test]
        fn what_is_accepted_fits_where_it_goes(
            client in ".{0,40}", id in ".{0,40}", seconds in any::<i64>(), value in ".{0,20}", name in ".{0,6}",
        ) {
            let auth = json!({"auth": {"client_token": client, "lease_duration": seconds}});
            if let Ok(login) = login(auth.to_string().as_bytes()) {
                prop_assert!(http::HeaderValue::from_str(login.client_token.expose()).is_ok());
                prop_assert!(login.lasts > Duration::ZERO && login.lasts <= MAX_LIFETIME);
            }
            if let Ok(found) = read(&json!({"lease_id": id, "lease_duration": seconds, "data": {&name: &value}})) {
                prop_assert_eq!(found.lease.is_some(), !id.is_empty());
                if let Ok(secret) = found.fields.choose(Some(&name)) {
                    prop_assert_eq!(secret.expose(), &*value);
                }
            }
        }
    }
}
