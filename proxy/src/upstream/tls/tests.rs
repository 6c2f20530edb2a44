//! Who is not believed, whoever else vouches for them, or did long ago.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::danger::ServerCertVerifier;
use rustls::{ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::leaf;

#[test]
fn the_certificate_of_a_workers_ca_spoils_what_is_good_without_it() {
    let room = tempfile::tempdir().unwrap();
    let (tls, good, _) = served(room.path());
    let worker = leaf::Authority::generate(SystemTime::now()).unwrap();
    let of_a_worker = CertificateDer::from_pem_slice(worker.pem().as_bytes()).unwrap();

    let judged = |beside: &[CertificateDer<'_>], name: &'static str| {
        tls.verifier.verify_server_cert(&good, beside, &ServerName::try_from(name).unwrap(), &[], UnixTime::now())
    };
    assert!(judged(&[], "api.example.com").is_ok());
    assert!(judged(&[], "www.example.com").is_err());
    let refused = judged(&[good.clone(), of_a_worker], "api.example.com").unwrap_err();
    let Error::InvalidCertificate(wrong) = refused else { panic!("{refused:?}") };
    assert!(certificate(&wrong).0.contains("made by the CA of an exeat worker"), "{wrong:?}");
}

#[test]
fn a_certificate_of_which_the_signature_is_remembered_is_judged_anew() {
    let room = tempfile::tempdir().unwrap();
    let (tls, shown, _) = served(room.path());
    let (stranger, _, _) = served(tempfile::tempdir().unwrap().path());
    let judged = |tls: &Tls, shown: &CertificateDer<'_>, name: &'static str, seconds| {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        tls.verifier.verify_server_cert(shown, &[], &ServerName::try_from(name).unwrap(), &[], now).map(|_| ())
    };
    let now = UnixTime::now().as_secs();
    for _ in 0..2 {
        judged(&tls, &shown, "api.example.com", now).unwrap();
        for (tls, name, seconds, why) in [
            (&tls, "www.example.com", now, "for another name"),
            (&tls, "api.example.com", now + 100_000_000_000, "expired"),
            (&tls, "api.example.com", 1, "not valid yet"),
            // A root of the same name, with another key.
            (&stranger, "api.example.com", now, "signature that is too weak, unknown or wrong"),
        ] {
            let refused = judged(tls, &shown, name, seconds).unwrap_err();
            let Error::InvalidCertificate(wrong) = refused else { panic!("{refused:?}") };
            let told = certificate(&wrong).0;
            assert!(told.contains(why) || told.contains("valid from"), "{told}: not {why}");
        }
        let mut broken = shown.to_vec();
        *broken.last_mut().unwrap() ^= 1;
        assert!(judged(&tls, &broken.into(), "api.example.com", now).is_err());
    }
}

/// One that trusts a root, a certificate that this vouches for, and a server that shows it.
fn served(room: &Path) -> (Tls, CertificateDer<'static>, Arc<ServerConfig>) {
    let (key, server) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(room.join("root.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let leaf = CertificateParams::new(vec!["api.example.com".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&server, &Issuer::new(params, key)).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(server.serialize_der()).unwrap();
    let mut configuration = builder.with_no_client_auth().with_single_cert(vec![leaf.clone()], key).unwrap();
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    (Tls::new(Roots::read(&[room.join("root.pem")]).unwrap()), leaf, Arc::new(configuration))
}

/// Shakes hands, hears the tickets, and says how it was done.
fn shaken(client: Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
    let name = ServerName::try_from("api.example.com").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut said = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut said).unwrap();
        }
        server.read_tls(&mut &said[..]).unwrap();
        server.process_new_packets().unwrap();
        said.clear();
        while server.wants_write() {
            server.write_tls(&mut said).unwrap();
        }
        client.read_tls(&mut &said[..]).unwrap();
        client.process_new_packets().unwrap();
    }
    client.handshake_kind().unwrap()
}

#[test]
fn a_session_is_resumed_for_its_own_offer_alone_and_no_longer_than_the_certificate_is_believed() {
    use HandshakeKind::{Full, Resumed};
    let room = tempfile::tempdir().unwrap();
    let (tls, _, server) = served(room.path());
    let begin = Instant::now();
    for (tls12, hybrid, protocols) in [
        (true, true, Protocols::Any),
        (true, false, Protocols::Any),
        (false, true, Protocols::Any),
        (false, false, Protocols::Any),
        (true, true, Protocols::Http1),
    ] {
        let offer = Offer { tls12, hybrid };
        let kind = |now| shaken(tls.configuration(now, offer, protocols, None).unwrap(), &server);
        let full = |kind: HandshakeKind| kind == Full || kind == HandshakeKind::FullWithHelloRetryRequest;
        assert!(full(kind(begin)), "a session of another offer: {offer:?} {protocols:?}");
        let late = begin + limit::UPSTREAM_SESSIONS;
        for now in [begin, begin + limit::UPSTREAM_SESSIONS / 2, late.checked_sub(Duration::from_millis(1)).unwrap()] {
            assert_eq!(kind(now), Resumed, "{offer:?}");
        }
        // However often it was resumed meanwhile.
        assert!(full(kind(late)), "{offer:?}");
        assert_eq!(kind(late), Resumed, "{offer:?}");
    }
}
