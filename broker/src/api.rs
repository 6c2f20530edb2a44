//! What crosses the wire between a worker and its broker: HTTP/1.1 with JSON bodies, unknown fields refused.
//!
//! | request | body → answer |
//! |---|---|
//! | `POST /v1/workers` | `{agent}` → 201 [`Registration`]: the connection is now the worker |
//! | `POST /v1/leases` | `{credential, destination}` → 200 [`Lease`]; 202 `NotYet` while the issuer is being asked, or a person: ask again |
//! | | with `refused`, the id of a lease that an upstream answered 401 to: → 200 another [`Lease`], or the same where there is none |
//! | `GET /v1/leases` | → 200 `{leases, up_to, all_up_to}`: what the worker is to use no longer, single leases and all up to one, of a credential or of all |
//! | `DELETE /v1/leases/ID` | → 200 [`Ended`]: that lease is over; for a connection that is no worker |
//! | `DELETE /v1/leases?worker=ID`, `?agent=NAME` | → 200 [`Ended`]: all of these are over; on the control socket only |
//! | `GET /v1/approvals` | → 200 `Approvals`: what waits for a person, or was decided; on the control socket only |
//! | `POST /v1/approvals/ID` | [`Decision`] → 200 [`Approval`]; on the control socket only |
//! | `POST /v1/checkpoints` | `{size, root}` → 200 `SignedCheckpoint`: the broker has signed for a log of the worker's that is so long; also when the worker is over |
//! | `GET /v1/identity?audience=…` | → 200 [`Identity`] |
//! | `DELETE /v1/workers/self` | → 200 [`Ended`]: the worker and its leases are over, and the connection; with `?last-checkpoint`, that goes on until the log's end was signed for |
//! | `GET /v1/health` | → 200 [`Health`] |
//! | `GET /.well-known/jwks.json`, `GET /.well-known/openid-configuration` | → 200 |
//!
//! A request shows who asks (`Authorization: Bearer …`): the key that lies beside a socket, and once the connection is a worker its
//! session. Over a socketpair there is no key. The last two paths are public.
//!
//! What is not answered so is a problem (RFC 9457): 400 what cannot be read, 401 what does not show that, 403 what is not granted, 404 and 405 what
//! there is not, 409 what the connection's state does not allow, 413 what is too long, 429 what comes too often, 503 what is not to be had now.
//!
//! The types that hold a secret implement neither `Serialize` nor `Deserialize`, lest one end up in a log: their wire form
//! is a private twin here, and `secret` below is the one place where a secret is written to the wire.

mod time;

use std::time::SystemTime;

use config::{AgentId, CredentialName, Destination, Grant, Placeholder, WorkerId};
use record::Hash;
use serde::{Deserialize, Serialize};

use crate::approval::{Approval, ApprovalId, Decision};
use crate::identity::Identity;
use crate::lease::{Lease, LeaseId};
use crate::ledger::Entry;
use crate::secret::Secret;
use crate::taken_back::TakenBack;

/// The body of a request: an agent's name, or a credential's name and a destination.
pub(crate) const MAX_REQUEST: usize = 8 * 1024;
/// The head of a request.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// The body of an answer: a registration with all grants of an agent is the longest.
pub(crate) const MAX_ANSWER: usize = 1024 * 1024;
/// The last part of the type of a problem by which a worker is told that a person said no.
pub(crate) const NOT_APPROVED: &str = "not-approved";
/// The query of a worker's end, where one more checkpoint is to come.
pub(crate) const LAST_CHECKPOINT: &str = "last-checkpoint";
/// An audience is a URL.
pub(crate) const MAX_AUDIENCE: usize = 512;

/// `POST /v1/workers`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    pub(crate) agent: AgentId,
}

/// `POST /v1/leases`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    pub(crate) credential: CredentialName,
    /// `host:port`
    pub(crate) destination: Destination,
    /// The lease that an upstream refused, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<LeaseId>,
}

/// 202 of `POST /v1/leases`
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotYet {
    /// Where a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) awaits: Option<Awaits>,
}

/// A person's permission that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Awaits {
    /// By what it is approved.
    pub(crate) approval: ApprovalId,
    /// How long a call waits for that.
    pub(crate) wait_seconds: u64,
}

/// `GET /v1/approvals`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approvals {
    pub(crate) approvals: Vec<Approval>,
}

/// Leases that an operator takes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// One.
    Lease(LeaseId),
    /// All of a worker.
    Worker(WorkerId),
    /// All of an agent's workers.
    Agent(AgentId),
}

impl Which {
    /// Whether this lease is among them.
    pub fn wants(&self, entry: &Entry) -> bool {
        match self {
            Which::Lease(lease) => entry.lease == *lease,
            Which::Worker(worker) => entry.worker == *worker,
            Which::Agent(agent) => entry.agent == *agent,
        }
    }

    /// The target of the request.
    pub(crate) fn target(&self) -> String {
        match self {
            Which::Lease(lease) => format!("/v1/leases/{lease}"),
            Which::Worker(worker) => format!("/v1/leases?worker={worker}"),
            Which::Agent(agent) => format!("/v1/leases?agent={agent}"),
        }
    }

    /// Reads the query of such a target. The names have no character that would have to be escaped.
    pub(crate) fn of_query(query: &str) -> Option<Which> {
        match query.split_once('=')? {
            ("worker", id) => id.parse().ok().map(Which::Worker),
            ("agent", name) => name.parse().ok().map(Which::Agent),
            _ => None,
        }
    }
}

/// What a worker is told when it registers.
#[derive(Debug)]
pub struct Registration {
    /// Its name.
    pub worker: WorkerId,
    /// Who it is, for the broker's own audience.
    pub identity: Identity,
    /// What its agent may use, and the placeholder that stands for each in the sandbox. Drawn for this worker.
    pub grants: Vec<(Grant, Placeholder)>,
    /// What shows that the worker asks.
    pub(crate) session: Secret,
}

/// What became of an ended worker's leases, or of those that an operator took back. One that ran out by itself is in neither list.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Their issuers take these no longer.
    pub revoked: Vec<LeaseId>,
    /// These still stand.
    pub kept: Vec<Kept>,
    /// The workers that were told, where an operator took something back: what they had open is cut off, also with a lease that stands no longer.
    #[serde(default)]
    pub told: Vec<WorkerId>,
}

/// A lease that outlives its worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The lease.
    pub lease: LeaseId,
    /// What it is a loan of.
    pub credential: CredentialName,
    /// When it ends by itself, if it does.
    #[serde(with = "time::option")]
    pub expires: Option<SystemTime>,
    /// Why it could not be revoked.
    pub reason: String,
    /// Whether the broker tries again.
    pub again: bool,
}

/// `POST /v1/checkpoints`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskCheckpoint {
    /// Records.
    pub(crate) size: u64,
    /// The root of the tree over them.
    pub(crate) root: Hash,
}

/// What a broker signed for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedCheckpoint {
    /// The signed note.
    pub(crate) note: String,
}

/// How a broker fares.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Workers that are connected and registered.
    pub workers: usize,
    /// Leases that stand, those of ended workers included.
    pub leases: usize,
    /// Leases of ended workers that still stand.
    pub kept: usize,
}

/// An error's body (RFC 9457).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Identity", deny_unknown_fields)]
struct IdentityTwin {
    subject: String,
    #[serde(with = "secret")]
    jwt: Secret,
    #[serde(with = "time")]
    expires: SystemTime,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Registration", deny_unknown_fields)]
struct RegistrationTwin {
    worker: WorkerId,
    #[serde(with = "IdentityTwin")]
    identity: Identity,
    grants: Vec<(Grant, Placeholder)>,
    #[serde(with = "secret")]
    session: Secret,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Lease", deny_unknown_fields)]
struct LeaseTwin {
    id: LeaseId,
    credential: CredentialName,
    #[serde(with = "secret")]
    secret: Secret,
    #[serde(with = "time::option")]
    expires: Option<SystemTime>,
    #[serde(with = "time")]
    refresh: SystemTime,
}

/// What is written to and read from the wire, in plain or through its twin.
pub(crate) trait Wire: Sized {
    fn to_json(&self) -> serde_json::Result<Vec<u8>>;
    fn from_json(json: &[u8]) -> serde_json::Result<Self>;
}

macro_rules! wire {
    ($($type:ty as $twin:ty),+ $(,)?) => {$(
        impl Wire for $type {
            fn to_json(&self) -> serde_json::Result<Vec<u8>> {
                // Room enough for most, so that growing leaves no copy of a secret behind.
                let mut json = Vec::with_capacity(8 * 1024);
                <$twin>::serialize(self, &mut serde_json::Serializer::new(&mut json))?;
                Ok(json)
            }

            fn from_json(json: &[u8]) -> serde_json::Result<Self> {
                let mut json = serde_json::Deserializer::from_slice(json);
                let value = <$twin>::deserialize(&mut json)?;
                json.end().map(|()| value)
            }
        }
    )+};
}

wire!(
    Register as Register,
    Ask as Ask,
    NotYet as NotYet,
    Approvals as Approvals,
    Approval as Approval,
    Decision as Decision,
    Ended as Ended,
    TakenBack as TakenBack,
    AskCheckpoint as AskCheckpoint,
    SignedCheckpoint as SignedCheckpoint,
    Health as Health,
    Problem as Problem,
    Identity as IdentityTwin,
    Registration as RegistrationTwin,
    Lease as LeaseTwin,
);

/// The one way of a secret onto the wire, which is a socket between a worker and its broker.
mod secret {
    use super::{Deserialize, Secret};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_has_its_fields_once_and_no_others() {
        let ask = |json: &str| Ask::from_json(json.as_bytes());
        assert!(ask(r#"{"credential":"api","destination":"api.example:443"}"#).is_ok());
        for bad in [
            r#"{"credential":"api"}"#,
            r#"{"credential":"api","destination":"api.example:443","worker":"x"}"#,
            r#"{"credential":"api","credential":"other","destination":"api.example:443"}"#,
            r#"{"credential":"api","destination":"api.example:443"} {}"#,
            r#"{"credential":"A P I","destination":"api.example:443"}"#,
            r#"{"credential":"api","destination":"https://api.example/"}"#,
            r#"[]"#,
        ] {
            assert!(ask(bad).is_err(), "{bad}");
        }
        assert!(Register::from_json(br#"{"agent":"bot"}"#).is_ok());
        assert!(Register::from_json(br#"{"agent":"bot","worker":"x"}"#).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_read_of_a_request_reads_the_same_again(body in proptest::collection::vec(any::<u8>(), 0..80), of in 0..3) {
            // Most bytes are no JSON; these mostly are.
            let inner = String::from_utf8_lossy(&body).into_owned();
            let json = match of {
                0 => inner.clone(),
                1 => format!("{{\"credential\":\"{inner}\",\"destination\":\"api.example:443\"}}"),
                _ => format!("{{\"credential\":\"api\",\"destination\":\"{inner}\"}}"),
            };
            if let Ok(ask) = Ask::from_json(json.as_bytes()) {
                let again = Ask::from_json(&ask.to_json().unwrap()).unwrap();
                prop_assert_eq!((&ask.credential, &ask.destination), (&again.credential, &again.destination));
            }
            let _ = Register::from_json(json.as_bytes());
        }

        #[test]
        fn a_query_names_what_it_was_made_of_or_nothing(query in "(worker|agent|lease|)=?[a-z0-9=&%-]{0,40}|.{0,40}", agent in "[a-z][a-z0-9-]{0,20}[a-z0-9]") {
            if let Some(which) = Which::of_query(&query) {
                let target = which.target();
                let again = Which::of_query(target.split_once('?').unwrap().1);
                prop_assert_eq!(again, Some(which));
            }
            if let Ok(agent) = agent.parse() {
                let which = Which::Agent(agent);
                let target = which.target();
                prop_assert_eq!(Which::of_query(target.split_once('?').unwrap().1), Some(which));
            }
        }
    }
}
