//! Who is not believed, whoever else vouches for them.

use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject;

use super::*;

#[test]
fn the_certificate_of_a_workers_ca_spoils_what_is_good_without_it() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let room = tempfile::tempdir().unwrap();
    std::fs::write(room.path().join("root.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let (issuer, server) = (Issuer::new(params, key), KeyPair::generate().unwrap());
    let good = CertificateParams::new(vec!["api.example.com".to_owned()]).unwrap();
    let good = good.signed_by(&server, &issuer).unwrap().der().clone();
    let worker = leaf::Authority::generate(SystemTime::now()).unwrap();
    let of_a_worker = CertificateDer::from_pem_slice(worker.pem().as_bytes()).unwrap();

    let verifier = Tls::new(Roots::read(&[room.path().join("root.pem")]).unwrap()).verifier;
    let judged = |beside: &[CertificateDer<'_>], name: &'static str| {
        verifier.verify_server_cert(&good, beside, &ServerName::try_from(name).unwrap(), &[], UnixTime::now())
    };
    assert!(judged(&[], "api.example.com").is_ok());
    assert!(judged(&[], "www.example.com").is_err());
    let refused = judged(&[good.clone(), of_a_worker], "api.example.com").unwrap_err();
    let Error::InvalidCertificate(wrong) = refused else { panic!("{refused:?}") };
    assert!(certificate(&wrong).0.contains("made by the CA of an exeat worker"), "{wrong:?}");
}
