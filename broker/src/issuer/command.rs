//! A program of the operator's that issues a credential, and perhaps another one that takes it back.
//!
//! Enters: the worker, in variables; its identity on standard input, where the settings want that. Leaves: what the program prints, read
//! strictly. Secrets come and go by standard input and output only: arguments and variables can be read by others.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::CommandSettings;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{IssueError, Issued, MAX_LIFETIME, Revocation, is_fit};
use crate::holder::Holder;
use crate::ledger::Entry;
use crate::program::{MAX_OUTPUT, Program};
use crate::secret::Secret;
use crate::source::Environment;

/// Below the 20 s that a call waits for its lease.
const ISSUE: Duration = Duration::from_secs(18);
/// At a worker's end, and each time that it is tried again.
const REVOKE: Duration = Duration::from_secs(20);

pub(crate) struct CommandIssuer {
    pub(crate) settings: CommandSettings,
    pub(crate) environment: Arc<Environment>,
}

/// What a program reads. `{}`: nothing.
#[derive(Default, Serialize)]
struct Input<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a str>,
}

/// What `issue` prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    credential: String,
    expires_in: Option<u64>,
    expires_at: Option<Timestamp>,
    receipt: Option<String>,
}

/// What is kept for the revocation: which of the two it is has to be known then.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Receipt {
    Credential(String),
    Receipt(String),
}

impl CommandIssuer {
    pub(crate) async fn issue(&self, holder: &Holder, entry: &Entry) -> Result<Issued, IssueError> {
        let asked = SystemTime::now();
        let audience = self.settings.audience.as_ref();
        let identity = audience.map(|audience| holder.identity_for(audience, asked)).transpose();
        let identity = identity.map_err(IssueError::Identity)?;
        let input = Input { identity: identity.as_ref().map(|identity| identity.jwt.expose()), ..Input::default() };
        let output = self.run(&self.settings.issue, entry, &input, ISSUE).await?;
        let endpoint = || format!("`{}`", self.settings.issue.first().map_or("", String::as_str));
        issued(&output, asked).map_err(|reason| IssueError::Answer { endpoint: endpoint(), reason })
    }

    pub(crate) async fn revoke(&self, entry: &Entry, receipt: &Secret) -> Result<Revocation, IssueError> {
        let Some(revoke) = &self.settings.revoke else {
            return Ok(Revocation::Impossible("its issuer has no `revoke`"));
        };
        let receipt: Receipt = serde_json::from_str(receipt.expose())
            .map_err(|_| IssueError::Unfit("its receipt is not one of this issuer"))?;
        let (credential, receipt) = match receipt {
            Receipt::Credential(text) => (Some(Zeroizing::new(text)), None),
            Receipt::Receipt(text) => (None, Some(Zeroizing::new(text))),
        };
        let input = Input {
            credential: credential.as_ref().map(|text| text.as_str()),
            receipt: receipt.as_ref().map(|text| text.as_str()),
            identity: None,
        };
        self.run(revoke, entry, &input, REVOKE).await.map(|_| Revocation::Revoked)
    }

    pub(crate) fn revocation(&self) -> Option<String> {
        self.settings.revoke.as_ref().map(|argv| format!("command {argv:?}"))
    }

    async fn run(
        &self,
        argv: &[String],
        entry: &Entry,
        input: &Input<'_>,
        bound: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, IssueError> {
        let (worker, lease) = (entry.worker.to_string(), entry.lease.to_string());
        let mut environment: Vec<_> =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        // Behind the given ones, whose places they take.
        environment.extend([
            ("EXEAT_AGENT", entry.agent.as_str()),
            ("EXEAT_WORKER", &worker),
            ("EXEAT_CREDENTIAL", entry.credential.as_str()),
            ("EXEAT_LEASE", &lease),
            ("EXEAT_DESTINATIONS", &entry.scope),
        ]);
        let input = written(input).ok_or(IssueError::Unfit("its input cannot be written as JSON"))?;
        Program { argv, environment, input: &input, bound }.run().await.map_err(IssueError::Program)
    }
}

/// Reads what a program printed that was started at that time. Total: whatever the bytes are.
fn issued(output: &[u8], asked: SystemTime) -> Result<Issued, &'static str> {
    let Output { credential, expires_in, expires_at, receipt } = serde_json::from_slice(output).map_err(
        |_| "it is not one JSON object with `credential`, and `expires_in` or `expires_at`, and nothing unknown",
    )?;
    let (secret, receipt) = (Secret::new(credential), receipt.map(Secret::new));
    if !is_fit(&secret) {
        return Err("its `credential` is empty, longer than 16 KiB, or has a line break or another control character");
    }
    if receipt.as_ref().is_some_and(|receipt| receipt.expose().is_empty()) {
        return Err("its `receipt` is empty");
    }
    let lifetime = match (expires_in, expires_at) {
        (Some(seconds), None) => Duration::from_secs(seconds),
        (None, Some(at)) => {
            SystemTime::try_from(at).ok().and_then(|at| at.duration_since(asked).ok()).unwrap_or_default()
        }
        (Some(_), Some(_)) => return Err("it has `expires_in` and `expires_at`: one of them says it"),
        (None, None) => return Err("it has neither `expires_in` nor `expires_at`"),
    };
    if lifetime.is_zero() {
        return Err("its end is not in the future");
    }
    let lifetime = lifetime.min(MAX_LIFETIME);
    let kept = match receipt {
        Some(receipt) => Receipt::Receipt(receipt.expose().to_owned()),
        None => Receipt::Credential(secret.expose().to_owned()),
    };
    let receipt = Some(kept.sealed().ok_or("its receipt cannot be kept")?);
    Ok(Issued { secret, receipt, expires: Some(asked + lifetime), refresh: asked + lifetime * 4 / 5 })
}

impl Receipt {
    fn sealed(self) -> Option<Secret> {
        let mut json = written(&self)?;
        let (Receipt::Credential(text) | Receipt::Receipt(text)) = self;
        drop(Zeroizing::new(text));
        String::from_utf8(std::mem::take(&mut *json)).ok().map(Secret::new)
    }
}

/// JSON, with room for all of it, so that growing leaves no copy behind.
fn written(value: &impl Serialize) -> Option<Zeroizing<Vec<u8>>> {
    let mut json = Zeroizing::new(Vec::with_capacity(2 * MAX_OUTPUT));
    serde_json::to_writer(&mut *json, value).ok().map(|()| json)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(output: &Value) -> Result<Issued, &'static str> {
        issued(output.to_string().as_bytes(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn either_end_is_taken_and_what_is_kept_is_the_receipt_or_the_credential() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let relative = read(&json!({"credential": "c", "expires_in": 100})).unwrap();
        assert_eq!((relative.secret.expose(), relative.expires, Some(relative.refresh)), ("c", at(100), at(80)));
        assert_eq!(relative.receipt.unwrap().expose(), r#"{"credential":"c"}"#);
        let absolute = json!({"credential": "c", "expires_at": "1970-01-01T01:00:50+01:00", "receipt": "r"});
        let absolute = read(&absolute).unwrap();
        assert_eq!((absolute.expires, Some(absolute.refresh)), (at(50), at(40)));
        assert_eq!(absolute.receipt.unwrap().expose(), r#"{"receipt":"r"}"#);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let with = |field: &str, value: Value| {
            let mut output = json!({"credential": "c", "expires_in": 100});
            output[field] = value;
            read(&output)
        };
        for bad in [json!(""), json!(null), json!("a\nb"), json!("x".repeat(16 * 1024 + 1)), json!(1), json!(["c"])] {
            assert!(with("credential", bad.clone()).is_err(), "{bad}");
        }
        for bad in [json!(0), json!(-1), json!("100"), json!(1.5), json!(null)] {
            assert!(with("expires_in", bad.clone()).is_err(), "{bad}");
        }
        assert!(with("expires_at", json!("2030-01-01T00:00:00Z")).is_err(), "both");
        assert!(with("token", json!("c")).is_err(), "unknown");
        assert!(with("receipt", json!("")).is_err());
        assert!(with("expires_in", json!(u64::MAX)).unwrap().expires.unwrap() <= SystemTime::UNIX_EPOCH + MAX_LIFETIME);
        for bad in ["1969-12-31T23:59:59Z", "soon", "2030-01-01", "2030-01-01T00:00:00"] {
            assert!(read(&json!({"credential": "c", "expires_at": bad})).is_err(), "{bad}");
        }
        for bad in [
            "",
            "c",
            "{}",
            "{\"credential\":\"a\",\"credential\":\"b\",\"expires_in\":1}",
            "{\"credential\":\"c\",\"expires_in\":1} x",
        ] {
            assert!(issued(bad.as_bytes(), SystemTime::UNIX_EPOCH).is_err(), "{bad}");
        }
        assert!(issued(b"{\"credential\":\"c\",\"expires_in\":1}\n", SystemTime::UNIX_EPOCH).is_ok());
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(output in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = issued(&output, SystemTime::now());
        }

        #[test]
        fn what_is_accepted_is_due_before_it_ends(credential in ".{0,40}", seconds in any::<u64>(), receipt in ".{0,9}") {
            let output = json!({"credential": credential, "expires_in": seconds, "receipt": receipt});
            if let Ok(issued) = issued(output.to_string().as_bytes(), SystemTime::now()) {
                prop_assert_eq!(issued.secret.expose(), &*credential);
                prop_assert!(!credential.contains(char::is_control));
                prop_assert!(issued.expires.is_some_and(|expires| issued.refresh <= expires));
            }
        }
    }
}
