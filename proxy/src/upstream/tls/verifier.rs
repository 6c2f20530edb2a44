//! Who may be at the other end of a connection upstream.
//!
//! Enters: the certificates that a server shows, and what it signs in the handshake. Leaves: whether its name is proven. Never: a certificate
//! that a worker's CA has made, which vouches for any name it is asked for; a signature of the handshake that is taken from memory.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::signatures;
use crate::leaf;
use crate::upstream::Roots;

/// webpki's verdict, asked for anew in each handshake.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Until there is somebody to be judged by them.
    roots: Mutex<Option<Roots>>,
    inner: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Trusts `roots`.
    pub(super) fn new(roots: Roots) -> Self {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { roots: Mutex::new(Some(roots)), inner: OnceLock::new(), algorithms }
    }

    /// Nobody is vouched for where there are no roots after all.
    fn inner(&self) -> Result<&WebPkiServerVerifier, Error> {
        let made = self.inner.get_or_init(|| {
            let roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner).take()?.into_store();
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            // By these it verifies chains alone: what is signed in a handshake does not come there.
            provider.signature_verification_algorithms.all = signatures::remembered();
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider)).build().ok()
        });
        made.as_deref().ok_or_else(|| Error::General("there are no trusted root certificates".to_owned()))
    }
}

/// What an upstream showed was made by a worker's CA.
#[derive(Debug, thiserror::Error)]
#[error("a worker's CA made it")]
pub(super) struct OfAWorker;

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if leaf::is_of_a_worker(end_entity) || intermediates.iter().any(|shown| leaf::is_of_a_worker(shown)) {
            return Err(CertificateError::Other(OtherError(Arc::new(OfAWorker))).into());
        }
        self.inner()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
