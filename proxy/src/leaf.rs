//! The worker's own certificate authority, and a leaf for each name that a client asks for.
//!
//! Enters: a host that the connection is for. Leaves: a rustls server configuration with a leaf for it (RFC 5280).
//! Never: a key on disk, a CA that outlives its worker, a leaf signed with or for the CA's own key, a cache that only grows.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::Host;
use dashmap::DashMap;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::server::{NoServerSessionStorage, ResolvesServerCertUsingSni};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{CipherSuite, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::limit;
use crate::sabotage::{Wall, lacks};

/// Longer than any worker lives, ten years: its key leaves the worker's memory never and ends with it, and nobody else trusts it. Were it shorter,
/// it would have to be made anew, and what runs inside has read whom to trust at its start. Clients that bound how long a certificate
/// may be good for mean leaves.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Hours, not days: a leaf is made anew in a millisecond.
const LEAF_LIFE: Duration = Duration::from_secs(12 * 3600);
/// A leaf is not handed out any more when less than this is left of it.
const LEAF_MARGIN: Duration = Duration::from_secs(3600);
/// Clocks in containers and virtual machines run behind.
const SKEW: Duration = Duration::from_secs(3600);

/// What every worker's CA calls itself, and thus what stands in each certificate that one has made.
const AUTHORITY_NAME: &str = "exeat worker CA";

/// Whether a certificate is a worker's CA or was made by one, this or another. Looked for in all of it, as it has to be found
/// however it is encoded; that nobody else can carry the name is the better mistake.
pub(crate) fn is_of_a_worker(certificate: &[u8]) -> bool {
    certificate.windows(AUTHORITY_NAME.len()).any(|window| window == AUTHORITY_NAME.as_bytes())
}

/// The worker's authority: a P-256 key that is in this process's memory only.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// One key for all leaves of the worker. It differs from the authority's, and a fresh one for each leaf would double
    /// the cost of a handshake for nothing: all of them live in this process and end with it.
    leaf_key: KeyPair,
    /// The same, as it signs handshakes. Read once: that costs as much as a signature.
    signing: Arc<dyn SigningKey>,
    /// What the configurations of all leaves have in common.
    common: ServerConfig,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate for {subject}")]
pub struct LeafError {
    subject: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl LeafError {
    fn new(subject: &impl ToString, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { subject: subject.to_string(), source: source.into() }
    }
}

impl Authority {
    /// Makes a new authority, valid around `now`.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(now: SystemTime) -> Result<Self, LeafError> {
        let failed = |source: rcgen::Error| LeafError::new(&"the worker's authority", source);
        if lacks(Wall::Ca) {
            return Err(failed(rcgen::Error::RingUnspecified));
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(AUTHORITY_NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(serial().map_err(failed)?);
        params.not_before = (now - SKEW).into();
        params.not_after = (now + CA_LIFE).into();
        let certificate = params.self_signed(&key).map_err(failed)?;
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        let failed = |source: rustls::Error| LeafError::new(&"the worker's authority", source);
        let signing = any_ecdsa_type(&PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into()).map_err(failed)?;
        let common = common().map_err(failed)?;
        Ok(Self { issuer: Issuer::new(params, key), leaf_key, signing, common, certificate: der, pem })
    }

    /// The authority's certificate, to be trusted inside the sandbox.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A leaf for `host`: a DNS name or an IP address in the SAN type that is right for it.
    fn leaf(&self, host: &Host, now: SystemTime) -> Result<CertificateDer<'static>, LeafError> {
        let failed = |source: rcgen::Error| LeafError::new(host, source);
        if lacks(Wall::Mint) {
            return Err(failed(rcgen::Error::RingUnspecified));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("exeat leaf");
        params.subject_alt_names = vec![match host {
            Host::Name(name) => SanType::DnsName(name.as_str().try_into().map_err(failed)?),
            Host::Address(address) => SanType::IpAddress(*address),
        }];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial().map_err(failed)?);
        params.not_before = (now - SKEW).into();
        params.not_after = (now + LEAF_LIFE).into();
        Ok(params.signed_by(&self.leaf_key, &self.issuer).map_err(failed)?.der().clone())
    }
}

/// What is agreed with clients, in TLS 1.3 and 1.2, if they offer it (RFC 8446 section 9.1 has everybody implement the first).
const FIRST: [CipherSuite; 2] =
    [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];

/// A configuration that has no leaf yet.
fn common() -> Result<ServerConfig, rustls::Error> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // With AES-256 comes SHA-384, for which few processors have instructions. This leg never leaves the machine; upstream AES-256 stays first.
    provider.cipher_suites.sort_by_key(|suite| !FIRST.contains(&suite.suite()));
    let mut common = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    common.ignore_client_order = true;
    // A session is never taken up again: it would be kept in memory for each leaf, could be carried to another worker, and
    // would save one signature on loopback. No early data either, as it can be replayed.
    common.session_storage = Arc::new(NoServerSessionStorage {});
    common.send_tls13_tickets = 0;
    common.max_early_data_size = 0;
    common.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(common)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// 126 random bits, positive, as RFC 5280 section 4.1.2.2 wants them.
fn serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The proxy has one thread. By itself the map would ask how many cores there are, for which the standard library reads the groups of this process.
const SHARDS: usize = 2;

/// Leaves by host, bounded.
#[derive(Debug)]
pub struct Leaves {
    authority: Authority,
    made: DashMap<Host, (Arc<ServerConfig>, SystemTime)>,
}

impl Leaves {
    /// An empty cache under `authority`.
    pub fn new(authority: Authority) -> Self {
        Self { authority, made: DashMap::with_shard_amount(SHARDS) }
    }

    /// A configuration whose leaf is good for `host` at `now`: the one made before, or a new one.
    ///
    /// # Errors
    /// When the leaf cannot be made.
    pub fn configuration(&self, host: &Host, now: SystemTime) -> Result<Arc<ServerConfig>, LeafError> {
        if let Some(made) = self.made.get(host).filter(|made| made.1 > now + LEAF_MARGIN) {
            return Ok(Arc::clone(&made.0));
        }
        let configuration = Arc::new(self.configure(host, now)?);
        if self.made.len() >= limit::LEAVES {
            // Rare, and a leaf is cheap: dropping all of them is simpler than remembering which was used last.
            self.made.clear();
        }
        self.made.insert(host.clone(), (Arc::clone(&configuration), now + LEAF_LIFE));
        Ok(configuration)
    }

    fn configure(&self, host: &Host, now: SystemTime) -> Result<ServerConfig, LeafError> {
        let chain = vec![self.authority.leaf(host, now)?, self.authority.certificate.clone()];
        let mut configuration = self.authority.common.clone();
        let certified = CertifiedKey::new(chain, Arc::clone(&self.authority.signing));
        configuration.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        Ok(configuration)
    }
}

#[cfg(test)]
mod tests;
