//! The upstream's authority and certificate, made when it starts.
//!
//! Enters: nothing. Leaves: PEM for the clients' roots, and what rustls serves with. Never: a key outside this process.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Error;

/// What the certificate is good for.
const NAMES: [&str; 4] =
    ["*.bench.example", "*.names.bench.example", "*.neighbours.bench.example", "*.names.neighbours.bench.example"];

/// A server that one authority vouches for.
pub struct Identity {
    /// The authority.
    pub authority: String,
    chain: Vec<CertificateDer<'static>>,
    pem: String,
    key: KeyPair,
}

impl Identity {
    /// A new one, P-256 as exeat's own leaves.
    pub fn generate() -> Result<Self, Error> {
        let authority_key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bench authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = params.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self { authority, chain: vec![certificate.der().clone()], pem: certificate.pem(), key })
    }

    /// Certificate and key in PEM, for a server that is not ours.
    pub fn leaf(&self) -> String {
        self.pem.clone() + &self.key.serialize_pem()
    }

    /// What rustls serves with; `alpn` in order of preference.
    pub fn configuration(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, Error> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).map_err(Error::new)?;
        let mut configuration = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)?;
        configuration.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(configuration))
    }
}

/// The one crypto backend.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
