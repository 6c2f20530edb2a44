//! The certificate authority of one demo.
//!
//! Enters: the names that the demo's server goes by. Leaves: the authority's certificate, and what the server serves TLS with.
//! Never: a key on disk; the authority's own is gone when the one certificate is signed.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::report::Report;

/// Makes an authority, and a certificate for these names and addresses. Leaves the authority's certificate as PEM.
///
/// # Errors
/// When there is no randomness for keys.
pub(super) fn certify(names: &[&str]) -> Result<(String, Arc<ServerConfig>), Report> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "exeat demo");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = authority.self_signed(&key)?.pem();

    let server_key = KeyPair::generate()?;
    let mut server = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    server.use_authority_key_identifier_extension = true;
    let certificate = server.signed_by(&server_key, &Issuer::new(authority, key))?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let private = PrivateKeyDer::try_from(server_key.serialize_der()).map_err(Report::new)?;
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    Ok((pem, Arc::new(tls)))
}
