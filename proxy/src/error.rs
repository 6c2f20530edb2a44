//! Why a call was not made: one type for every refusal on the way from `accept` to `record`.
//!
//! Enters: what each step found. Leaves: a [`Refusal`], whose kind decides status, log entry and advice in one table
//! ([`crate::respond`]). Never: a credential, a placeholder's value, or bytes that were not checked to be printable.

mod fault;

use std::net::{IpAddr, SocketAddr};

use broker::{ApprovalId, ClientError};
use config::{CredentialName, Denial, Destination, DnsName, RuleId, Scheme};

pub use self::fault::Fault;
use crate::scrub::Scrub;
use crate::sign::Unsigned;
use crate::swap::{CallsAsItself, Misdirected, Why};
use crate::tool::Objection;
use crate::upstream::{BoxError, describe};

/// A call, or a connection, that goes no further.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The policy has no leave for it.
    #[error("{0}")]
    Denied(Denial),
    /// The connection went to an address that this worker's name server never gave out.
    #[error("{0} was never given out for a name in this sandbox: look the name up again")]
    UnknownAddress(IpAddr),
    /// A TLS connection to a name came without a server name (SNI, RFC 6066 section 3).
    #[error("the TLS handshake for {0} named no server (SNI); a connection is judged only when it says whom it means")]
    NoServerName(Destination),
    /// A connection that would pass unread has an encrypted ClientHello, which may name another server.
    #[error(
        "the TLS handshake for {0} carries an encrypted ClientHello (ECH), which may name another server; a connection passes unread \
         only to the server that can be seen"
    )]
    EncryptedHello(Destination),
    /// Name looked up, server name and request authority do not all say the same.
    #[error("the connection is for {connection}, but its {witness} says {claimed}; all have to agree")]
    Witness {
        /// Where the connection goes.
        connection: Destination,
        /// Which witness differs: `server name`, `Host`, `:authority` or `request target`.
        witness: &'static str,
        /// What it said, printable characters only.
        claimed: String,
    },
    /// The request has no single reading.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// The request's body is written so that a placeholder, or another call, could hide in it.
    #[error("the request's body cannot be examined: {0}")]
    UnexaminedBody(String),
    /// The head of the request did not arrive in time.
    #[error("the head of the request did not arrive within {0} seconds")]
    SlowHead(u64),
    /// More of what costs the client nothing than an honest one sends.
    #[error("the connection was ended: {0}")]
    Flood(String),
    /// What was sent is neither TLS nor HTTP.
    #[error("the connection does not start as TLS or HTTP: {0}")]
    NotHttp(String),
    /// The client said nothing: in its protocol the server has the first word.
    #[error(
        "the client of the connection to {0} said nothing within {1} s: it waits for the server's first word, as in FTP, SMTP and MySQL, and \
         exeat dials nobody before it knows what for; a rule with `to = \"{0}\"` and `tls = \"tcp\"` lets it through unread"
    )]
    NothingSaid(Destination, u64),
    /// The client's TLS handshake did not finish.
    #[error("the client's TLS handshake for {0} did not finish: {1}")]
    ClientTls(Destination, String),
    /// There is no certificate for it to show its client.
    #[error("exeat's own part of the TLS handshake for {0} failed: {1}")]
    NoLeaf(Destination, String),
    /// The client does not take a certificate of the worker's CA.
    #[error(
        "the client does not trust exeat's CA for {destination} (its TLS alert: {alert}), so it uses roots of its own: have it use \
         /etc/ssl/certs/ca-certificates.crt, by its own setting or by leaving the variables alone that exeat sets for it \
         (SSL_CERT_FILE, REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS, JAVA_TOOL_OPTIONS and so on); if it pins its server, a rule with \
         `tls = \"passthrough\"` lets it through unread"
    )]
    CaNotTrusted {
        /// Where it was going.
        destination: Destination,
        /// What it said, as in RFC 8446 section 6.
        alert: &'static str,
    },
    /// A method that would open a way out that is not judged.
    #[error("{0} is not offered here: connect to the destination itself, exeat is in the way without being asked")]
    MethodNotOffered(String),
    /// A placeholder on its way to somewhere its credential is not granted for.
    #[error(transparent)]
    Misdirected(Misdirected),
    /// The call brings a credential of its own where exeat puts one in.
    #[error(transparent)]
    CallsAsItself(#[from] CallsAsItself),
    /// A placeholder in the body, where its credential is granted for, and which cannot be swapped in this body.
    #[error(transparent)]
    UnswappableBody(Misdirected),
    /// The body asks for what its rule does not list, or cannot be judged; or the answer may show it.
    #[error("{0}")]
    Tool(Box<Objection>),
    /// The call is signed, and its signature is not taken.
    #[error("the call's rule has it signed with credential `{credential}`, and {why}")]
    Signature {
        /// The key pair.
        credential: CredentialName,
        /// What is wrong with it.
        why: Unsigned,
    },
    /// The rule's rate is used up.
    #[error("the rate of rule {rule} ({rate}) is used up; next call possible in {retry_after} s")]
    RateLimited {
        /// The rule with the rate.
        rule: RuleId,
        /// The rate as written.
        rate: String,
        /// Seconds until a call will be let through.
        retry_after: u64,
    },
    /// No usable credential: nothing was sent.
    #[error("{reason}; nothing was sent")]
    CredentialUnavailable {
        /// Which one.
        credential: CredentialName,
        /// What the broker said, which names the credential.
        reason: String,
    },
    /// A person has to permit the use of the credential, and nobody has so far: nothing was sent.
    #[error(
        "credential `{credential}` is used only by permission, and nobody has given it within {waited} s; nothing was sent"
    )]
    AwaitsApproval {
        /// Which one.
        credential: CredentialName,
        /// By what it is approved.
        approval: ApprovalId,
        /// For how many seconds the call waited.
        waited: u64,
    },
    /// A person had to permit the use of the credential, and said no: nothing was sent.
    #[error("an operator denied the use of credential `{credential}`: {why}; nothing was sent")]
    NotApproved {
        /// Which one.
        credential: CredentialName,
        /// In their words, which have no control characters.
        why: String,
    },
    /// The credential that a call under way carries was taken back.
    #[error("credential `{0}` was taken back while the call was under way")]
    Revoked(CredentialName),
    /// The rule that a tunnel stands on has become another.
    #[error("connections to {0} no longer pass unread, or no longer to the same place")]
    NoLongerUnread(Destination),
    /// A call's rule no longer leads where the call went.
    #[error(
        "the way to {0} is another than the call took: its `dial`, `addresses`, `client_certificate` or proxy was changed"
    )]
    OtherWay(Destination),
    /// The worker stopped: while the call was under way, or before it.
    #[error("the worker was stopped: no call of it goes on, and none begins")]
    Stopped,
    /// The worker had stopped before it took up the connection.
    #[error("the worker was stopped before it took up the connection to {0}")]
    NotTakenUp(Destination),
    /// All places are taken, and a connection that had asked for nothing yet made room.
    #[error("all places for connections are taken, and the one to {0} had asked for nothing yet")]
    Crowded(Destination),
    /// The worker had no more memory for what is on its way, and this client had long asked for no more of its answers.
    #[error(
        "the worker is short of memory, and the client of the connection to {0} neither read its answers nor sent the rest of its requests"
    )]
    Unread(Destination),
    /// The same, and no client was waited for: this connection had the most calls under way.
    #[error("the worker is short of memory, and the connection to {0} had more calls under way than others")]
    Busiest(Destination),
    /// The call log cannot be written, so no call is made.
    #[error("the call log cannot be written ({0}), and a call that cannot be logged is not made")]
    LogUnavailable(String),
    /// The name resolves only to addresses that are not dialled unless a rule lists them.
    #[error("{name} resolves to {address} ({class}), which is dialled only where a rule lists it")]
    ForbiddenAddress {
        /// The destination.
        name: Destination,
        /// The address that was refused.
        address: IpAddr,
        /// What the address is, e.g. `private, RFC 1918`.
        class: &'static str,
    },
    /// The name has no address.
    #[error("{0} does not resolve: {1}")]
    Unresolved(DnsName, String),
    /// No connection to the upstream.
    #[error("{destination} cannot be reached: {reason}")]
    Unreachable {
        /// The destination.
        destination: Destination,
        /// The last attempt's error.
        reason: String,
        /// Whether waiting, not refusal, ended the attempt.
        timed_out: bool,
    },
    /// The house's proxy did not connect to the upstream.
    #[error("the proxy {proxy} did not connect to {destination}: {reason}")]
    UpstreamProxy {
        /// The proxy.
        proxy: Destination,
        /// Where it was to connect to.
        destination: Destination,
        /// Its status, or what went wrong with it.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The upstream could not prove who it is, or its TLS failed.
    #[error("the TLS connection to {destination} failed: {reason}")]
    UpstreamTls {
        /// The destination.
        destination: Destination,
        /// What is wrong, in plain words.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The upstream's answer was not HTTP, or broke off before its head was whole.
    #[error("{destination} gave no usable answer: {reason}")]
    UpstreamAnswer {
        /// The destination.
        destination: Destination,
        /// What went wrong.
        reason: String,
    },
    /// The upstream took the request and then gave no answer.
    #[error("{destination} gave no answer within {waited} s")]
    UpstreamSilent {
        /// The destination.
        destination: Destination,
        /// For how many seconds it was waited for.
        waited: u64,
    },
    /// The answer cannot be examined for credentials, so it is not passed on.
    #[error("the answer of {destination} cannot be examined for credentials: {reason}")]
    Unscrubbable {
        /// The destination.
        destination: Destination,
        /// Why.
        reason: String,
    },
    /// The worker's own name server or listener was connected to, which are not there to be talked to.
    #[error("{0} is exeat's own, and not there to be connected to: connect to the destination itself")]
    OwnListener(SocketAddr),
}

impl Refusal {
    /// Of a body that its client did not send as HTTP wants it, or not to its end.
    pub(crate) fn of_body(error: BoxError) -> Self {
        // One that was refused further in says itself why.
        match error.downcast::<Self>() {
            Ok(refusal) => *refusal,
            Err(error) if is_cut_short(&*error) => Self::Malformed("the body broke off: its end is missing".to_owned()),
            Err(error) => Self::Malformed(format!("the body broke off: {}", describe(&*error))),
        }
    }

    /// Why a credential is not lent.
    pub(crate) fn not_lent(credential: &CredentialName, error: ClientError) -> Self {
        let credential = credential.clone();
        match error {
            ClientError::Awaits { approval, waited } => {
                Self::AwaitsApproval { credential, approval, waited: waited.as_secs() }
            }
            ClientError::NotApproved { why } => Self::NotApproved { credential, why },
            ClientError::Denied { reason } | ClientError::Unavailable { reason } | ClientError::Broken { reason } => {
                Self::CredentialUnavailable { credential, reason }
            }
        }
    }

    /// The same, where an upstream has a part in its words, without credentials: names in a certificate may be what it was once sent.
    pub(crate) fn scrubbed(mut self, scrub: &Scrub) -> Self {
        if let Self::UpstreamTls { reason, .. }
        | Self::UpstreamProxy { reason, .. }
        | Self::UpstreamAnswer { reason, .. }
        | Self::Unreachable { reason, .. } = &mut self
            && let Some((text, _)) = scrub.text(reason.as_bytes())
        {
            *reason = String::from_utf8_lossy(&text).into_owned();
        }
        self
    }

    /// Whether the security team should look: someone tried to carry a placeholder elsewhere.
    pub fn is_alert(&self) -> bool {
        matches!(self, Self::Misdirected(_))
    }

    /// The address that was not dialled, as no rule lists it.
    pub fn forbidden(&self) -> Option<IpAddr> {
        match self {
            Self::ForbiddenAddress { address, .. } => Some(*address),
            _ => None,
        }
    }

    /// The tool or operation that was asked for, where it could be read.
    pub fn tool(&self) -> Option<&str> {
        match self {
            Self::Tool(objection) => objection.name(),
            _ => None,
        }
    }

    /// How the call that the policy refused would have travelled.
    pub fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Denied(denial) => denial.scheme(),
            _ => None,
        }
    }

    /// Digest of the policy that refused, where one did.
    pub fn policy(&self) -> Option<&str> {
        match self {
            Self::Denied(denial) => Some(denial.policy()),
            _ => None,
        }
    }

    /// The rule that refused, where one did.
    pub fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::Denied(denial) => denial.rule(),
            Self::RateLimited { rule, .. } => Some(rule),
            Self::Tool(objection) => Some(objection.rule()),
            _ => None,
        }
    }
}

impl From<Misdirected> for Refusal {
    fn from(misdirected: Misdirected) -> Self {
        match misdirected.why {
            Why::Body(_) => Self::UnswappableBody(misdirected),
            _ => Self::Misdirected(misdirected),
        }
    }
}

/// Whether what was read ended where more had to come.
fn is_cut_short(error: &(dyn std::error::Error + 'static)) -> bool {
    let ended = |error: &std::io::Error| error.kind() == std::io::ErrorKind::UnexpectedEof;
    error.downcast_ref().is_some_and(ended) || error.source().is_some_and(is_cut_short)
}

/// The printable part of something a client sent, cut to a length that fits a sentence.
pub(crate) fn printable(text: &[u8]) -> String {
    const LONGEST: usize = 120;
    let mut shown: String =
        text.iter().take(LONGEST).map(|&b| if (0x20..0x7f).contains(&b) { char::from(b) } else { '?' }).collect();
    if text.len() > LONGEST {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
