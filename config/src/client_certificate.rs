//! What an upstream is shown that asks who calls (RFC 8446 section 4.3.2).
//!
//! Enters: a certificate's chain and its key, as PEM. Leaves: both, fit for a handshake. Never: a key that is not the
//! certificate's, nor one that could be printed.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A client's certificate and key. Two are equal when the certificates are, of which each has one key.
pub struct ClientCertificate {
    certificate_file: PathBuf,
    key_file: PathBuf,
    certified: Arc<CertifiedKey>,
}

impl ClientCertificate {
    /// Reads both. The error says what is wrong with which of the two.
    pub(crate) fn read(certificate: (PathBuf, &[u8]), key: (PathBuf, &[u8])) -> Result<Self, Wrong> {
        let ((certificate_file, certificate), (key_file, key)) = (certificate, key);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|error| Wrong::Certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(Wrong::Certificate("no certificate is in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
            // What is wrong with a key is nobody's to read but its owner's.
            Wrong::Key("no key is in it as PEM, in the clear (PKCS #8, PKCS #1 or SEC 1)".to_owned())
        })?;
        let key = any_supported_type(&key).map_err(|_| Wrong::Key("its key is of no kind that TLS uses".to_owned()))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| Wrong::Key("its key is not that of the certificate".to_owned()))?;
        Ok(Self { certificate_file, key_file, certified: Arc::new(certified) })
    }

    /// The file that the certificate and its chain stand in.
    pub fn certificate_file(&self) -> &Path {
        &self.certificate_file
    }

    /// The file that the key stands in.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// For a handshake.
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// `sha256:` and the hash of the certificate in hexadecimal, as others show it too.
    pub fn fingerprint(&self) -> String {
        let certificate = self.certified.cert.first().map(AsRef::as_ref).unwrap_or_default();
        let hex: String = digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}

/// What is wrong with which file.
pub(crate) enum Wrong {
    Certificate(String),
    Key(String),
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }
}

impl Eq for ClientCertificate {}

impl Hash for ClientCertificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.certified.cert.hash(state);
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({})", self.fingerprint())
    }
}
