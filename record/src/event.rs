//! What a line of the call log says: the schema, as serde writes and reads it.
//!
//! Enters: nothing. Leaves: plain structures, the same for the worker that writes and for whoever reads. What all calls of a connection or policy
//! have alike is shared among them, what is one of a few words is no copy of it. Never: a field that could hold a credential or a placeholder's
//! value.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

mod worker;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::worker::{SegmentKept, SegmentStart, WorkerEnd, WorkerStart};
use crate::cut::Cuts;
use crate::hash::Hash;

/// The version of the records that are written here, in the first record of each log. What reads them knows fields by name: a field that is
/// added changes nothing, one that goes or says something else makes a new version.
pub const FORMAT: u32 = 2;

/// One line of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Line {
    /// Position in the log, from 1, without gaps.
    pub seq: u64,
    /// When it was written, UTC.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// The hash of the line before without its newline, as a leaf of RFC 6962 (section 2.1): SHA-256 of a zero byte and the line.
    pub prev: Hash,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// Which of its texts are not whole, by the names of their fields (`observed` is the reason in that), and what they were; absent: all are. Such a text
    /// ends in `…`, which is not of it.
    #[serde(default, skip_serializing_if = "Cuts::is_empty")]
    pub cut: Cuts,
}

/// What can happen in a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first line.
    WorkerStart(WorkerStart),
    /// The first line of every later file of the same log, so that it can be read without those before it.
    SegmentStart(SegmentStart),
    /// There is no next file yet, though it is time for one: the log goes on in the one that it has.
    SegmentKept(SegmentKept),
    /// A call has its permit and is about to go upstream, or to be answered by exeat itself, as its end then says.
    CallStart(CallStart),
    /// A connection that is carried unread has its permit and is about to be opened.
    TunnelStart(TunnelStart),
    /// The upstream of a call answered 401 to its credential, and the call is about to be sent once more, with another lease.
    CallRetried(CallRetried),
    /// A call or tunnel ended, however it did.
    CallEnd(CallEnd),
    /// A call or a connection went no further.
    Refused(Refused),
    /// A name was looked up.
    NameAsked(NameAsked),
    /// The policy in force changed.
    PolicyReloaded {
        /// Digest (SHA-256) of the new one's file.
        policy: String,
    },
    /// A new policy was not taken, the last good one stays in force.
    PolicyRejected {
        /// Every mistake found.
        reason: String,
    },
    /// The last line.
    WorkerEnd(WorkerEnd),
}

/// A call that was allowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallStart {
    /// Number of the call in this worker, from 1.
    pub call: u64,
    /// Number of the connection that it came on, in this worker, from 1.
    pub connection: u64,
    /// `https` or `http`.
    pub scheme: Cow<'static, str>,
    /// Host and port; a literal IPv6 address is in brackets.
    pub to: String,
    /// The request's method.
    pub method: Cow<'static, str>,
    /// The normalised path.
    pub path: String,
    /// The query with the values of credential-like names left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The MCP tools or GraphQL operations that its body asks for, where the rule looks into bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The HTTP version that the client speaks; the upstream may be spoken to in another.
    pub http: Cow<'static, str>,
    /// The rule that allowed it: which of its kind in the file, and the line it begins in.
    pub rule: String,
    /// Digest (SHA-256) of the file of the policy that judged it.
    pub policy: Arc<str>,
    /// The credential that was swapped in, and under which lease; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialUse>,
    /// SHA-256 of the client certificate that the upstream is shown if it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// TLS towards the client; absent for plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_tls: Option<Arc<TlsLeg>>,
    /// What it would have been refused for: no rule covers it, and its worker only observes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// Its place in a distributed trace, where its client named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// The refusal that a call was spared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Observed {
    /// The kind of refusal, as in [`Refused::kind`].
    pub kind: String,
    /// In plain words.
    pub reason: String,
}

/// A place in a distributed trace (W3C Trace Context), in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Trace {
    /// The trace, 16 bytes.
    pub trace_id: String,
    /// The call as a span of it, 8 bytes.
    pub span_id: String,
    /// The span of the client's that made the call, 8 bytes.
    pub parent: String,
}

/// A connection that is carried unread.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TunnelStart {
    /// Its number among the calls of this worker, from 1.
    pub call: u64,
    /// Number of the connection in this worker, from 1.
    pub connection: u64,
    /// Host and port; a literal IPv6 address is in brackets.
    pub to: String,
    /// `passthrough` or `tcp`, as in its rule.
    pub tls: String,
    /// The rule that allowed it: which of its kind in the file, and the line it begins in.
    pub rule: String,
    /// Digest (SHA-256) of the file of the policy that judged it.
    pub policy: String,
}

/// Which credential was used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CredentialUse {
    /// Its name.
    pub name: String,
    /// The lease that it came from.
    pub lease: String,
    /// The places it was put in, as a grant's `in` has them. For a body that streams: where it is put should a placeholder come;
    /// how often one did is in the end.
    #[serde(default, rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Cow<'static, str>>,
    /// Whether exeat put it in though the agent had sent no placeholder; absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub injected: bool,
    /// Milliseconds that the call waited for a person's permission to use it, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<f64>,
}

/// A call that is sent once more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallRetried {
    /// Number of the call, as in its start.
    pub call: u64,
    /// With what.
    #[serde(flatten)]
    pub retried: Retried,
}

/// The two leases of a call that was sent twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Retried {
    /// The lease that its upstream answered 401 to, which is the one in its start.
    pub refused: String,
    /// The lease that it was sent with then.
    pub lease: String,
}

/// One leg of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TlsLeg {
    /// `TLSv1_3` or `TLSv1_2`.
    pub version: String,
    /// The cipher suite's IANA name.
    pub cipher: String,
    /// The group of the key exchange: `X25519MLKEM768`, `X25519`, `secp256r1` or `secp384r1`; none where a session of TLS 1.2 was resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The protocol agreed by ALPN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallEnd {
    /// Number of the call, as in its start.
    pub call: u64,
    /// `done`, `refused`, `broken` (the answer broke off), `cut` (its leave was taken back), `abandoned` (the client went away) or
    /// `answered-here` (by exeat itself, with nothing sent).
    pub outcome: Cow<'static, str>,
    /// Status of the answer, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// With which lease it was sent once more, where its upstream had answered 401 to the first. The status is that of the second
    /// answer, and `sent` and `swapped` count both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried: Option<Retried>,
    /// Body bytes towards the upstream.
    pub sent: u64,
    /// Body bytes towards the client.
    pub received: u64,
    /// How often a placeholder in the body became the credential; absent: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub swapped: u64,
    /// Milliseconds from the start to the head of the answer; absent where none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_ms: Option<f64>,
    /// Milliseconds from the start to the end.
    pub total_ms: f64,
    /// The address that was dialled, with its port; absent where there was no connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Arc<str>>,
    /// The house's proxy, where the address is not the upstream's but its.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// TLS towards the upstream; absent for plain HTTP, and where none was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<Arc<TlsLeg>>,
    /// The address that stood in its way: one that is dialled only where a rule lists it. Nothing was dialled then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbidden: Option<IpAddr>,
    /// How often a credential was replaced in the answer; absent: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scrubbed: u64,
    /// Why it did not end well, in plain words; absent where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A call or a connection that went no further.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refused {
    /// Number of the connection in this worker, from 1.
    pub connection: u64,
    /// Host and port, as far as they are known.
    pub to: String,
    /// `https` or `http`, where a request was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The method, where a request was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path, where a request was read; placeholders in it are named, not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The MCP tool or GraphQL operation that was asked for, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The kind of refusal, as in the answer's problem type.
    pub kind: String,
    /// Status of the answer; none where the client could not have read one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// In plain words.
    pub reason: String,
    /// The rule that refused, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Digest of the policy that refused, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What to do about it, for whoever reads the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Its place in a distributed trace, where its client named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Whether someone should look at once: something tried to get past what holds it. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alert: bool,
}

/// A name that was looked up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NameAsked {
    /// The name, as it was asked for.
    pub name: String,
    /// The record type: `A`, `AAAA`, `HTTPS`, …
    pub kind: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
