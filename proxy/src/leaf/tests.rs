//! What is made for whom, and for how long.

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};
use rustls_pki_types::{ServerName, UnixTime};

use super::*;

fn name(name: &str) -> Host {
    name.parse().unwrap()
}

#[test]
fn a_leaf_is_reused_until_it_nears_its_end() {
    let now = SystemTime::now();
    let leaves = Leaves::new(Authority::generate(now).unwrap());
    let first = leaves.configuration(&name("example.com"), now).unwrap();
    assert!(Arc::ptr_eq(&first, &leaves.configuration(&name("example.com"), now).unwrap()));
    let late = now + LEAF_LIFE - LEAF_MARGIN;
    assert!(!Arc::ptr_eq(&first, &leaves.configuration(&name("example.com"), late).unwrap()));
}

#[test]
fn the_cache_is_bounded() {
    let now = SystemTime::now();
    let leaves = Leaves::new(Authority::generate(now).unwrap());
    for i in 0..limit::LEAVES + 10 {
        leaves.configuration(&name(&format!("n{i}.example.com")), now).unwrap();
    }
    assert!(leaves.made.len() <= limit::LEAVES);
}

/// Shakes hands in memory, as a client at `time` that trusts `authority` and means `name`.
fn handshake(
    server: Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<HandshakeKind, rustls::Error> {
    Ok(shaken(server, client, name)?.handshake_kind().unwrap())
}

fn shaken(
    server: Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<ClientConnection, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    for _ in 0..4 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_early_data_accepted());
    Ok(client)
}

/// A client that trusts these workers, keeps their sessions, and would send early data.
fn client(leaves: &[&Leaves], clock: SystemTime) -> Arc<ClientConfig> {
    client_with(rustls::crypto::aws_lc_rs::default_provider(), leaves, clock)
}

fn client_with(provider: CryptoProvider, leaves: &[&Leaves], clock: SystemTime) -> Arc<ClientConfig> {
    #[derive(Debug)]
    struct At(UnixTime);
    impl rustls::time_provider::TimeProvider for At {
        fn current_time(&self) -> Option<UnixTime> {
            Some(self.0)
        }
    }
    let mut roots = rustls::RootCertStore::empty();
    for leaves in leaves {
        roots.add(leaves.authority.certificate.clone()).unwrap();
    }
    let time = UnixTime::since_unix_epoch(clock.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let mut client = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(At(time)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_early_data = true;
    Arc::new(client)
}

#[test]
fn a_session_is_taken_up_again_by_no_worker() {
    let now = SystemTime::now();
    let workers = [0, 1].map(|_| Leaves::new(Authority::generate(now).unwrap()));
    let client = client(&[&workers[0], &workers[1]], now);
    for worker in [&workers[0], &workers[0], &workers[1], &workers[0]] {
        let leaf = worker.configuration(&name("example.com"), now).unwrap();
        assert_eq!(handshake(leaf, &client, "example.com"), Ok(HandshakeKind::Full));
    }
}

#[test]
fn of_what_a_client_offers_it_gets_what_costs_least() {
    use CipherSuite as C;
    let now = SystemTime::now();
    let leaves = Leaves::new(Authority::generate(now).unwrap());
    let leaf = leaves.configuration(&name("example.com"), now).unwrap();
    let (small, large, other) =
        (C::TLS13_AES_128_GCM_SHA256, C::TLS13_AES_256_GCM_SHA384, C::TLS13_CHACHA20_POLY1305_SHA256);
    let (old_small, old_large) =
        (C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
    for (offered, agreed) in [
        (&[large, other, small][..], small),
        (&[other, large, old_small], large),
        (&[other], other),
        (&[old_large, old_small], old_small),
        (&[old_large], old_large),
    ] {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|suite| offered.contains(&suite.suite()));
        provider.cipher_suites.sort_by_key(|suite| offered.iter().position(|one| *one == suite.suite()));
        let client = client_with(provider, &[&leaves], now);
        let shaken = shaken(Arc::clone(&leaf), &client, "example.com").unwrap();
        assert_eq!(shaken.negotiated_cipher_suite().unwrap().suite(), agreed, "of {offered:?}");
    }
}

#[test]
fn a_leaf_is_valid_for_clocks_that_run_behind_and_for_its_own_name_or_address_only() {
    let now = SystemTime::now();
    let leaves = Leaves::new(Authority::generate(now).unwrap());
    let behind = client(&[&leaves], now - SKEW / 2);
    for (host, other) in [("example.com", "example.org"), ("192.0.2.7", "192.0.2.8"), ("2001:db8::1", "2001:db8::2")] {
        let leaf = leaves.configuration(&name(host), now).unwrap();
        assert!(handshake(Arc::clone(&leaf), &behind, host).is_ok(), "{host}");
        assert!(handshake(leaf, &behind, other).is_err(), "{host} is taken for {other}");
    }
}

/// From when to when a certificate is valid, as X.509 writes times before 2050. webpki asks that of no authority; OpenSSL does.
fn validity(certificate: &[u8]) -> Vec<&[u8]> {
    let is_time = |time: &&[u8]| matches!(time, [0x17, 13, digits @ .., b'Z'] if digits.iter().all(u8::is_ascii_digit));
    certificate.windows(15).filter(is_time).map(|time| &time[2..]).collect()
}

#[test]
fn a_worker_that_runs_for_years_has_leaves_that_are_taken_and_are_short() {
    let now = SystemTime::now();
    let leaves = Leaves::new(Authority::generate(now).unwrap());
    let of_the_authority = validity(&leaves.authority.certificate);
    for days in [6, 8, 400, 3600] {
        let later = now + Duration::from_secs(days * 24 * 3600);
        let time = jiff::Timestamp::try_from(later).unwrap().strftime("%y%m%d%H%M%SZ").to_string();
        let [from, to] = of_the_authority[..] else { panic!("{of_the_authority:?}") };
        assert!(from < time.as_bytes() && time.as_bytes() < to, "the authority is not good after {days} days");
        let leaf = leaves.configuration(&name("example.com"), later).unwrap();
        assert!(handshake(Arc::clone(&leaf), &client(&[&leaves], later), "example.com").is_ok(), "after {days} days");
        let next_day = later + Duration::from_secs(24 * 3600);
        assert!(handshake(leaf, &client(&[&leaves], next_day), "example.com").is_err(), "after {days} days");
    }
}

#[test]
fn a_leaf_names_its_authority_and_shows_whose_it_is() {
    const AUTHORITY_KEY_IDENTIFIER: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x23];
    let authority = Authority::generate(SystemTime::now()).unwrap();
    let leaf = authority.leaf(&name("example.com"), SystemTime::now()).unwrap();
    assert!(leaf.windows(5).any(|window| window == AUTHORITY_KEY_IDENTIFIER));
    assert!(is_of_a_worker(&leaf) && is_of_a_worker(&authority.certificate));
}

#[test]
fn the_leaf_key_is_not_the_authority_key() {
    let authority = Authority::generate(SystemTime::now()).unwrap();
    assert_ne!(authority.issuer.key().public_key_raw(), authority.leaf_key.public_key_raw());
}
