//! Whom upstreams may be vouched for by.
//!
//! Enters: the system's roots and the files of `[upstream] roots`. Leaves: one store. Never: the CA of an exeat worker, which
//! vouches for whatever it is asked to; no roots at all.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::leaf;

/// The roots for upstream TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A file of `[upstream] roots` cannot be read or holds no certificate.
    #[error("cannot read certificates from `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system has no roots, and the policy adds none.
    #[error("this system has no trusted root certificates, and the policy adds none: install ca-certificates")]
    None,
    /// rustls did not take the configuration.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// Where systems keep their roots in one file.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file with the system's roots, if it has one.
pub fn system_bundle() -> Option<&'static Path> {
    BUNDLES.into_iter().map(Path::new).find(|path| path.exists())
}

/// The system's roots: its one file, which is made of the single ones; or whatever the variables of OpenSSL name beside it.
fn of_the_system() -> Vec<CertificateDer<'static>> {
    let only_says =
        |name: &str, usual: Option<&Path>| std::env::var_os(name).is_none_or(|said| usual == Some(Path::new(&said)));
    let bundle = system_bundle();
    let usual = only_says("SSL_CERT_FILE", bundle) && only_says("SSL_CERT_DIR", bundle.and_then(Path::parent));
    match bundle.filter(|_| usual) {
        Some(bundle) => rustls_native_certs::load_certs_from_paths(Some(bundle), None).certs,
        None => rustls_native_certs::load_native_certs().certs,
    }
}

/// Whom upstreams may be vouched for by.
#[derive(Debug)]
pub struct Roots(pub(super) RootCertStore);

impl Roots {
    /// The system's roots and those in the files (PEM).
    ///
    /// # Errors
    /// When a file has none, or there are none at all.
    pub fn read(files: &[PathBuf]) -> Result<Self, RootsError> {
        read(files).map(Self)
    }
}

fn read(files: &[PathBuf]) -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    let system = of_the_system();
    roots.add_parsable_certificates(system.into_iter().filter(|certificate| !leaf::is_of_a_worker(certificate)));
    for path in files {
        add_file(&mut roots, path)?;
    }
    if roots.is_empty() { Err(RootsError::None) } else { Ok(roots) }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), RootsError> {
    let failed = |reason: String| RootsError::File { path: path.to_owned(), reason };
    let mut found = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        if leaf::is_of_a_worker(&certificate) {
            let reason = "it holds the CA of an exeat worker, which is trusted inside its sandbox only: take it out";
            return Err(failed(reason.to_owned()));
        }
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        found += 1;
    }
    if found == 0 { Err(failed("no certificate in it".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_ca_of_a_worker_is_no_root_whoever_lists_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, leaf::Authority::generate(SystemTime::now()).unwrap().pem()).unwrap();
        let error = read(&[file]).unwrap_err().to_string();
        assert!(error.contains("CA of an exeat worker"), "{error}");
    }
}
