//! TLS towards upstreams: who may be at the other end, and which versions will do.
//!
//! Enters: a stream to a permitted destination. Leaves: a verified TLS stream, or in plain words what is wrong and what to do.
//! Never: TLS below 1.2, less than what the client offered, a name other than the permitted one, a certificate by a worker's
//! CA, data before the handshake is finished (0-RTT, which can be replayed), a session of another offer, or of a certificate that was verified long ago.

mod signatures;
mod verifier;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use config::{ClientCertificate, Destination, Host};
use jiff::Timestamp;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, NamedGroup, SupportedProtocolVersion};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::verifier::{OfAWorker, Verifier};
use super::Roots;
use crate::error::Refusal;
use crate::limit;

/// What is offered to an upstream, beside TLS 1.3: as the client offered it, so that nothing is carried on more weakly than the client itself would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offer {
    /// TLS 1.2.
    pub tls12: bool,
    /// The hybrid key exchange X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem), before all others and with its key share at once. For who does not
    /// offer it the hello is one packet, which is all that some servers read.
    pub hybrid: bool,
}

/// What is offered by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocols {
    /// HTTP/2, then HTTP/1.1.
    Any,
    /// HTTP/1.1.
    Http1,
}

/// Why there is no TLS with an upstream.
#[derive(Debug)]
pub(super) enum NoTls {
    /// It speaks nothing of what was offered by ALPN.
    Protocol(Refusal),
    /// Something else.
    Other(Refusal),
}

impl From<Refusal> for NoTls {
    fn from(refusal: Refusal) -> Self {
        Self::Other(refusal)
    }
}

impl From<NoTls> for Refusal {
    fn from(none: NoTls) -> Self {
        match none {
            NoTls::Protocol(refusal) | NoTls::Other(refusal) => refusal,
        }
    }
}

/// A configuration, and since when it is in use.
type Ready = (Instant, Arc<ClientConfig>);

/// The configurations, each made when it is asked for, and made anew after [`limit::UPSTREAM_SESSIONS`]. Each has sessions of its own, by the
/// upstream's name: who resumes one is not asked for a certificate again, which would never be seen to run out in a worker that calls all the time.
#[derive(Debug)]
pub(super) struct Tls {
    configurations: [Mutex<Option<Ready>>; 8],
    verifier: Arc<Verifier>,
}

impl Tls {
    /// Trusts `roots`.
    pub(super) fn new(roots: Roots) -> Self {
        Self { configurations: Default::default(), verifier: Arc::new(Verifier::new(roots)) }
    }

    /// What stands ready `now`, or one that shows this certificate if it is asked for one. That one is made for each connection, so that no
    /// session is resumed under another rule's certificate.
    fn configuration(
        &self,
        now: Instant,
        offer: Offer,
        protocols: Protocols,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Arc<ClientConfig>, Error> {
        let make = || client(&self.verifier, offer, protocols, certificate);
        if certificate.is_some() {
            return make();
        }
        let http1 = protocols == Protocols::Http1;
        let kept =
            &self.configurations[usize::from(offer.tls12) | usize::from(offer.hybrid) << 1 | usize::from(http1) << 2];
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, ready)) = &*kept
            && now.saturating_duration_since(*since) < limit::UPSTREAM_SESSIONS
        {
            return Ok(Arc::clone(ready));
        }
        let (_, made) = kept.insert((now, make()?));
        Ok(Arc::clone(made))
    }

    /// Shakes hands with `destination`, which has to prove its name.
    pub(super) async fn handshake<S>(
        &self,
        destination: &Destination,
        stream: S,
        offer: Offer,
        protocols: Protocols,
        certificate: Option<&ClientCertificate>,
    ) -> Result<TlsStream<S>, NoTls>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let refused = |(reason, remedy): (String, &'static str)| Refusal::UpstreamTls {
            destination: destination.clone(),
            reason,
            remedy,
        };
        let name = match destination.host() {
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned())
                .map_err(|error| refused((error.to_string(), TELL_OPERATOR)))?,
            Host::Address(address) => ServerName::from(*address),
        };
        let configuration = self.configuration(Instant::now(), offer, protocols, certificate);
        let configuration = configuration.map_err(|error| refused((error.to_string(), TELL_OPERATOR)))?;
        let connector = TlsConnector::from(configuration);
        match tokio::time::timeout(limit::UPSTREAM_HANDSHAKE_WAIT, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let refusal = refused(explain(&error, offer));
                let protocol = matches!(alert(&error), Some(AlertDescription::NoApplicationProtocol));
                Err(if protocol { NoTls::Protocol(refusal) } else { NoTls::Other(refusal) })
            }
            Err(_) => {
                let reason = format!("no handshake within {} s", limit::UPSTREAM_HANDSHAKE_WAIT.as_secs());
                Err(refused((reason, "try again later; if it stays so, check that the port speaks TLS")).into())
            }
        }
    }
}

fn client(
    verifier: &Arc<Verifier>,
    offer: Offer,
    protocols: Protocols,
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, Error> {
    const FROM_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    const FROM_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if offer.hybrid {
        provider.kx_groups.sort_by_key(|group| group.name() != NamedGroup::X25519MLKEM768);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(if offer.tls12 { FROM_12 } else { FROM_13 })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Verifier>::clone(verifier));
    let mut client = match certificate {
        Some(certificate) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certificate.certified()))))
        }
        None => builder.with_no_client_auth(),
    };
    client.enable_early_data = false;
    client.alpn_protocols = match protocols {
        Protocols::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Protocols::Http1 => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(client))
}

const TELL_OPERATOR: &str = "tell your operator; nothing was sent";

/// The alert with which the other end ended a handshake.
fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match told(error) {
        Some(Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

fn told(error: &std::io::Error) -> Option<&Error> {
    error.get_ref().and_then(|source| source.downcast_ref())
}

/// What a failed handshake means, and what to do about it.
fn explain(error: &std::io::Error, offer: Offer) -> (String, &'static str) {
    match told(error) {
        Some(Error::InvalidCertificate(wrong)) => certificate(wrong),
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_)) if offer.tls12 => (
            "it speaks no TLS that is safe: neither 1.3 nor 1.2 with a modern cipher".to_owned(),
            "its owner has to update it; exeat does not go below TLS 1.2",
        ),
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_)) => (
            "it does not speak TLS 1.3, and the client offered nothing below".to_owned(),
            "let the client offer TLS 1.2 as well, or have the server updated",
        ),
        Some(Error::NoCertificatesPresented) => ("it showed no certificate".to_owned(), TELL_OPERATOR),
        Some(Error::AlertReceived(alert)) if of_the_client(*alert) => about_the_client(*alert),
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => (
            "it does not speak the version of HTTP that it was offered".to_owned(),
            "let the client speak another version",
        ),
        Some(Error::AlertReceived(alert)) => {
            (format!("it ended the handshake with the alert {alert:?}"), "look at the server's own log for its reason")
        }
        Some(other) => (other.to_string(), "check that the port speaks TLS"),
        None => (format!("it broke off the handshake: {error}"), "check that the port speaks TLS"),
    }
}

/// What an upstream says of the client's certificate, which with TLS 1.3 comes only after the handshake; `None` where it speaks of
/// something else.
pub(super) fn late(error: &hyper::Error) -> Option<(String, &'static str)> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(Error::AlertReceived(alert)) = inner.and_then(|inner| inner.downcast_ref()) {
            return of_the_client(*alert).then(|| about_the_client(*alert));
        }
        source = cause.source();
    }
    None
}

fn of_the_client(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    let about = [
        A::CertificateRequired,
        A::BadCertificate,
        A::UnsupportedCertificate,
        A::CertificateRevoked,
        A::CertificateExpired,
        A::CertificateUnknown,
        A::UnknownCA,
        A::AccessDenied,
    ];
    about.contains(&alert)
}

fn about_the_client(alert: AlertDescription) -> (String, &'static str) {
    match alert {
        AlertDescription::CertificateRequired => (
            "it wants to see a client certificate, and was shown none".to_owned(),
            "ask your operator to add `client_certificate` to the rule",
        ),
        alert => (
            format!("it does not take the client certificate that it was shown, or wants one (its alert: {alert:?})"),
            "ask your operator to look at `client_certificate` in the rule",
        ),
    }
}

fn certificate(wrong: &CertificateError) -> (String, &'static str) {
    use CertificateError as C;
    const RENEW: &str = "its owner has to renew the certificate; until then no call is made";
    const CLOCK: &str = "check this machine's clock; where it is right, the server's owner has to mend the certificate";
    const NAME: &str =
        "check the name in the call, and `dial` in the rule; else the server's owner has to mend the certificate";
    match wrong {
        C::Expired => ("its certificate has expired".to_owned(), RENEW),
        C::ExpiredContext { not_after, .. } => (format!("its certificate expired on {}", date(*not_after)), RENEW),
        C::NotValidYet => ("its certificate is not valid yet".to_owned(), CLOCK),
        C::NotValidYetContext { time, not_before } => {
            (format!("its certificate is valid from {} on; here it is {}", date(*not_before), date(*time)), CLOCK)
        }
        C::NotValidForName => ("its certificate is for another name".to_owned(), NAME),
        C::NotValidForNameContext { presented, .. } => {
            let names = presented.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
            (format!("its certificate is for another name: {names}"), NAME)
        }
        C::UnknownIssuer => (
            "its certificate is self-signed, or issued by an authority that is not trusted here".to_owned(),
            "if the server is your house's own, ask your operator to add its authority under `[upstream] roots`; else do not trust it",
        ),
        C::Other(other) if other.0.is::<OfAWorker>() => (
            "its certificate was made by the CA of an exeat worker, which vouches for nobody outside its sandbox"
                .to_owned(),
            "somebody may be in the way: tell your operator; nothing was sent",
        ),
        C::BadSignature
        | C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            "its certificate has a key or signature that is too weak, unknown or wrong".to_owned(),
            "its owner has to replace the certificate: RSA from 2048 bits, or ECDSA, with SHA-256 or better",
        ),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            ("its certificate is not for a server".to_owned(), "its owner has to replace the certificate")
        }
        C::Revoked => ("its certificate was revoked".to_owned(), "its owner has to replace the certificate"),
        other => (format!("its certificate cannot be accepted: {other}"), TELL_OPERATOR),
    }
}

/// The day and time, UTC.
fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "an unknown day".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
