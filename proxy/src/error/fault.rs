//! Whose fault a refusal is.
//!
//! Enters: a refusal. Leaves: who would have to do something else for it not to come again. Never: more than one who.

use super::Refusal;

/// Whose fault a refusal is. Status, retry advice and log level follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client sent something that has no single reading, or disagrees with itself.
    Client,
    /// The policy does not allow it.
    Policy,
    /// The upstream could not be reached, verified or understood.
    Upstream,
    /// The broker could not provide what the call needs.
    Broker,
    /// exeat itself cannot keep its promises right now.
    Ours,
}

impl Refusal {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Tool(objection) => objection.fault(),
            Self::Denied(_)
            | Self::Misdirected(_)
            | Self::CallsAsItself(_)
            | Self::RateLimited { .. }
            | Self::ForbiddenAddress { .. }
            | Self::Revoked(_)
            | Self::AwaitsApproval { .. }
            | Self::NotApproved { .. }
            | Self::OtherWay(_)
            | Self::NoLongerUnread(_) => Fault::Policy,
            Self::UnknownAddress(_)
            | Self::NoServerName(_)
            | Self::EncryptedHello(_)
            | Self::Witness { .. }
            | Self::Malformed(_)
            | Self::UnexaminedBody(_)
            | Self::UnswappableBody(_)
            | Self::Signature { .. }
            | Self::SlowHead(_)
            | Self::Flood(_)
            | Self::NotHttp(_)
            | Self::NothingSaid(..)
            | Self::ClientTls(..)
            | Self::CaNotTrusted { .. }
            | Self::Crowded(_)
            | Self::Unread(_)
            | Self::Busiest(_)
            | Self::OwnListener(_)
            | Self::MethodNotOffered(_) => Fault::Client,
            Self::Unresolved(..)
            | Self::Unreachable { .. }
            | Self::UpstreamProxy { .. }
            | Self::UpstreamTls { .. }
            | Self::UpstreamAnswer { .. }
            | Self::UpstreamSilent { .. }
            | Self::Unscrubbable { .. } => Fault::Upstream,
            Self::CredentialUnavailable { .. } => Fault::Broker,
            Self::NoLeaf(..) | Self::LogUnavailable(_) | Self::Stopped | Self::NotTakenUp(_) => Fault::Ours,
        }
    }
}
