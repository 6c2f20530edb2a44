//! The rivals' own authority, and the one certificate of those that cannot mint.
//!
//! Enters: a directory. Leaves: PEM files in it. Never: a key that outlives the directory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::error::Error;

/// Where it all is.
pub struct Files {
    /// The authority's certificate, for clients.
    pub roots: PathBuf,
    /// The authority with its key, for those that mint.
    pub authority: PathBuf,
    /// One certificate and its key, for those that do not.
    pub leaf: PathBuf,
}

impl Files {
    /// Makes an authority and a leaf for all that is below `bench.example`.
    pub fn write(directory: &Path) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "rivals' authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let roots = params.self_signed(&key)?.pem();
        // rcgen takes a file's first block for the key.
        let authority = format!("{}{roots}", key.serialize_pem());
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate()?;
        let names = ["*.bench.example", "*.names.bench.example"];
        let leaf = format!("{}{}", leaf(&names, &key, &issuer)?.pem(), key.serialize_pem());
        let [at_roots, at_authority, at_leaf] =
            ["roots.pem", "authority.pem", "leaf.pem"].map(|name| directory.join(name));
        fs::write(&at_roots, roots)?;
        for (file, text) in [(&at_authority, authority), (&at_leaf, leaf)] {
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())?;
        }
        Ok(Self { roots: at_roots, authority: at_authority, leaf: at_leaf })
    }
}

/// A certificate as servers have them, for `names`.
pub fn leaf(names: &[&str], key: &KeyPair, issuer: &Issuer<'_, KeyPair>) -> Result<rcgen::Certificate, Error> {
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params.signed_by(key, issuer)?)
}

/// Who signs, from a file of [`Files::authority`].
pub fn issuer(file: &Path) -> Result<Issuer<'static, KeyPair>, Error> {
    let text = fs::read_to_string(file)?;
    let certificate = CertificateDer::from_pem_slice(text.as_bytes())?;
    Ok(Issuer::from_ca_cert_der(&certificate, KeyPair::from_pem(&text)?)?)
}
