//! Whom upstreams may be vouched for by.
//!
//! Enters: the system's roots and the files of `[upstream] roots`. Leaves: one store, once somebody asks for it: to read a hundred
//! certificates costs a millisecond, and many a worker never speaks TLS. Never: the CA of an exeat worker, which vouches for whatever it is
//! asked to; no roots at all.

use std::fs::File;
use std::io::{self, Read};
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

/// The most that is read of a bundle. Systems have a quarter of a mebibyte.
const LARGEST: u64 = 16 << 20;
/// So far from a bundle's begin there is a certificate. Some have words before the first.
const FIRST: u64 = 64 << 10;
/// And nearly always here.
const NEARLY_ALWAYS: u64 = 4 << 10;
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The system's one file, which is made of the single ones, unless the variables of OpenSSL name others beside it.
fn usual() -> Option<&'static Path> {
    let only_says =
        |name: &str, usual: Option<&Path>| std::env::var_os(name).is_none_or(|said| usual == Some(Path::new(&said)));
    let bundle = system_bundle();
    let usual = only_says("SSL_CERT_FILE", bundle) && only_says("SSL_CERT_DIR", bundle.and_then(Path::parent));
    bundle.filter(|_| usual)
}

/// That file, open at its begin, if there is a certificate in it. It is found from here also once no way leads to it.
fn opened(path: &Path) -> io::Result<Option<File>> {
    let (mut begin, mut file) = (Vec::new(), File::open(path)?);
    for most in [NEARLY_ALWAYS, FIRST] {
        file.by_ref().take(most).read_to_end(&mut begin)?;
        if memchr::memmem::find(&begin, BEGIN).is_some() {
            return Ok(Some(File::open(path)?));
        }
    }
    Ok(None)
}

/// Whom upstreams may be vouched for by.
#[derive(Debug)]
pub struct Roots {
    read: RootCertStore,
    bundle: Option<File>,
}

impl Roots {
    /// The system's roots and those in the files (PEM).
    ///
    /// # Errors
    /// When a file has none, or there are none at all.
    pub fn read(files: &[PathBuf]) -> Result<Self, RootsError> {
        let bundle = usual().and_then(|path| opened(path).ok()?);
        let mut read = RootCertStore::empty();
        if bundle.is_none() {
            add_all(&mut read, rustls_native_certs::load_native_certs().certs);
        }
        for path in files {
            add_file(&mut read, path)?;
        }
        if read.is_empty() && bundle.is_none() { Err(RootsError::None) } else { Ok(Self { read, bundle }) }
    }

    /// All of them; to be asked for once. What cannot be read vouches for nobody.
    pub(super) fn into_store(self) -> RootCertStore {
        let Self { mut read, bundle } = self;
        let mut text = Vec::new();
        if bundle.is_some_and(|bundle| bundle.take(LARGEST).read_to_end(&mut text).is_ok()) {
            add_all(&mut read, CertificateDer::pem_slice_iter(&text).flatten());
        }
        read
    }
}

fn add_all<'a>(roots: &mut RootCertStore, certificates: impl IntoIterator<Item = CertificateDer<'a>>) {
    let strangers = certificates.into_iter().filter(|certificate| !leaf::is_of_a_worker(certificate));
    roots.add_parsable_certificates(strangers);
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
        let error = Roots::read(&[file]).unwrap_err().to_string();
        assert!(error.contains("CA of an exeat worker"), "{error}");
    }

    #[test]
    fn the_systems_bundle_is_read_when_it_is_asked_for_and_a_workers_ca_in_it_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bundle.crt");
        let made = leaf::Authority::generate(SystemTime::now()).unwrap();
        let system = std::fs::read_to_string(system_bundle().unwrap()).unwrap();
        std::fs::write(&file, format!("# words\n{}\n{system}", made.pem())).unwrap();
        let roots = |bundle| Roots { read: RootCertStore::empty(), bundle: Some(bundle) };
        let opened = opened(&file).unwrap().unwrap();
        std::fs::remove_file(&file).unwrap();
        let all = roots(opened).into_store().len();
        assert_eq!(all, roots(File::open(system_bundle().unwrap()).unwrap()).into_store().len());
        assert_eq!(all, system.matches("BEGIN CERTIFICATE").count());
    }

    #[test]
    fn what_has_no_certificate_is_no_bundle() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bundle.crt");
        std::fs::write(&file, "# words only\n").unwrap();
        assert!(opened(&file).unwrap().is_none());
        let begin = str::from_utf8(BEGIN).unwrap();
        for words in [NEARLY_ALWAYS - 3, NEARLY_ALWAYS, FIRST - 100] {
            std::fs::write(&file, format!("{}{begin}", "#".repeat(usize::try_from(words).unwrap()))).unwrap();
            assert!(opened(&file).unwrap().is_some(), "{words}");
        }
    }
}
