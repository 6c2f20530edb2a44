//! The judge of first bytes and rustls, which gets the same bytes afterwards, never read different names.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use config::DnsName;
use proptest::prelude::*;
use proxy::hello::{Hello, Progress, Unreadable, read};
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, version};

const HYBRID: NamedGroup = NamedGroup::X25519MLKEM768;

/// A ClientHello as rustls sends it.
fn client_hello(name: &str, alpn: &[&[u8]], newest: bool) -> Vec<u8> {
    client_hello_with(name, alpn, newest, true)
}

fn client_hello_with(name: &str, alpn: &[&[u8]], newest: bool, hybrid: bool) -> Vec<u8> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| hybrid || group.name() != HYBRID);
    let versions = if newest { vec![&version::TLS13, &version::TLS12] } else { vec![&version::TLS12] };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of other lengths.
fn fragmented(hello: &[u8], lengths: &[usize]) -> Vec<u8> {
    let mut rest = &hello[5..];
    let mut out = Vec::new();
    for length in lengths.iter().copied().chain([usize::MAX]) {
        let (fragment, later) = rest.split_at(length.min(rest.len()));
        rest = later;
        if !fragment.is_empty() {
            out.extend([22, 3, 1]);
            out.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
            out.extend_from_slice(fragment);
        }
    }
    out
}

type Read = (Option<String>, Vec<Vec<u8>>, bool);

/// What rustls makes of the bytes.
fn rustls_reads(bytes: &[u8]) -> Option<Read> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let alpn = hello.alpn().map(|names| names.map(<[u8]>::to_vec).collect()).unwrap_or_default();
            let hybrid = hello.named_groups().is_some_and(|groups| groups.contains(&HYBRID));
            return Some((hello.server_name().map(str::to_owned), alpn, hybrid));
        }
    }
    None
}

/// Whenever both read a hello they read the same, and where rustls has read one we are not still waiting.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Some((name, alpn, theirs)) = rustls_reads(bytes) else { return Ok(()) };
    match read(bytes) {
        Progress::Refused(_) => {}
        Progress::Complete(Hello::Tls { server_name, alpn: ours, hybrid, .. }) => {
            prop_assert_eq!((ours, hybrid), (alpn, theirs));
            if let Some(name) = name {
                prop_assert_eq!(server_name, Some(name.parse::<DnsName>().unwrap()));
            }
        }
        other => prop_assert!(false, "{other:?}"),
    }
    Ok(())
}

/// Names that are names: `xn--` and what chance puts behind it is hardly ever one, and is refused (see below).
fn names() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,12}(\\.[A-Za-z][a-z0-9-]{0,12}[a-z]){0,4}"
        .prop_filter("an A-label by chance", |name| !name.to_lowercase().contains("xn--"))
}

#[test]
fn a_hello_whose_name_says_it_is_an_a_label_and_is_none_is_refused() {
    let bytes = client_hello("a.xn--p1o3-kd-lo", &[], true);
    assert!(matches!(read(&bytes), Progress::Refused(_)), "{:?}", read(&bytes));
    assert!(matches!(read(&client_hello("a.xn--p1ai", &[], true)), Progress::Complete(Hello::Tls { .. })));
}

proptest! {
    #[test]
    fn an_honest_hello_is_read_whole_in_any_records_and_not_before_its_end(
        name in names(), (h2, newest, hybrid) in any::<(bool, bool, bool)>(), lengths in proptest::collection::vec(1usize..200, 0..8),
        early in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let alpn: &[&[u8]] = if h2 { &[b"h2", b"http/1.1"] } else { &[] };
        let bytes = fragmented(&client_hello_with(&name, alpn, newest, hybrid), &lengths);
        let expected = Hello::Tls {
            server_name: Some(name.parse().unwrap()),
            alpn: alpn.iter().map(|name| name.to_vec()).collect(),
            tls12: true,
            hybrid: hybrid && newest,
            ech: false,
        };
        prop_assert_eq!(read(&bytes), Progress::Complete(expected.clone()));
        for cut in 0..bytes.len() {
            prop_assert_eq!(read(&bytes[..cut]), Progress::Incomplete);
        }
        // What follows in records of their own (early data) is not ours to read.
        prop_assert_eq!(read(&[&bytes[..], &early].concat()), Progress::Complete(expected));
        agree(&bytes)?;
    }

    #[test]
    fn a_hello_with_bytes_changed_is_never_read_otherwise_than_by_rustls(
        name in names(),
        changes in proptest::collection::vec((0usize..600, any::<u8>()), 1..4),
        lengths in proptest::collection::vec(1usize..200, 0..3),
    ) {
        let mut bytes = fragmented(&client_hello(&name, &[b"h2"], true), &lengths);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        agree(&bytes)?;
    }

    #[test]
    fn a_verdict_stands_whatever_follows(
        name in names(), change in (0usize..600, any::<u8>()), random in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = client_hello(&name, &[], true);
        let at = change.0 % bytes.len();
        bytes[at] = change.1;
        for bytes in [bytes, random] {
            let mut verdict = Progress::Incomplete;
            for cut in 0..=bytes.len() {
                let next = read(&bytes[..cut]);
                prop_assert!(verdict == Progress::Incomplete || verdict == next, "{verdict:?} became {next:?} at {cut}");
                verdict = next;
            }
        }
    }
}

/// A ClientHello of TLS 1.2 with these extensions.
fn hello_with(version: u16, extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    hello_and(version, extensions, &[])
}

/// The same with bytes left over at its end.
fn hello_and(version: u16, extensions: &[(u16, Vec<u8>)], rest: &[u8]) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let extensions: Vec<u8> =
        extensions.iter().flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &counted(body)].concat()).collect();
    let body =
        [&version.to_be_bytes()[..], &[7; 32], &[0], &counted(&[0xc0, 0x2b]), &[1, 0], &counted(&extensions), rest]
            .concat();
    let message = [&[1, 0][..], &counted(&body)].concat();
    [&[22, 3, 1][..], &counted(&message)].concat()
}

fn sni(names: &[(u8, &[u8])]) -> (u16, Vec<u8>) {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let list: Vec<u8> = names.iter().flat_map(|(kind, name)| [&[*kind][..], &length(name), name].concat()).collect();
    (0, [&length(&list)[..], &list].concat())
}

#[test]
fn a_server_name_is_one_host_name_in_any_case_with_or_without_a_dot() {
    let read_name = |name: &[u8]| match read(&hello_with(0x0303, &[sni(&[(0, name)])])) {
        Progress::Complete(Hello::Tls { server_name, .. }) => Ok(server_name.unwrap().to_string()),
        Progress::Refused(reason) => Err(reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(read_name(b"API.Example.com.").unwrap(), "api.example.com");
    for name in
        [&b"127.0.0.1"[..], b"[::1]", b"::1", b"", b"a b", b"a\0.example", "bücher.example".as_bytes(), b"1.2.3", b"*"]
    {
        assert!(matches!(read_name(name), Err(Unreadable::ServerName(_))), "{name:?}");
    }
}

#[test]
fn hellos_with_two_readings_are_refused() {
    let a = || sni(&[(0, b"a.example")]);
    let refused = |bytes: &[u8]| matches!(read(bytes), Progress::Refused(_));
    assert!(!refused(&hello_with(0x0303, &[a()])));
    assert!(refused(&hello_with(0x0303, &[a(), sni(&[(0, b"b.example")])])), "two extensions");
    assert!(refused(&hello_with(0x0303, &[sni(&[(0, b"a.example"), (0, b"b.example")])])), "two names");
    assert!(refused(&hello_with(0x0303, &[sni(&[(1, b"a.example")])])), "another kind of name");
    assert!(refused(&hello_with(0x0303, &[(0, [&a().1[..], b"x"].concat())])), "bytes after the list");
    assert!(refused(&hello_with(0x0303, &[(0, Vec::new())])), "no list");
    assert!(refused(&hello_with(0x0303, &[(16, vec![0, 0])])), "no protocol");
    assert!(refused(&hello_with(0x0303, &[(16, vec![0, 1, 0])])), "an empty protocol");
    assert!(refused(&hello_and(0x0303, &[a()], b"x")), "bytes after the extensions");
    let mut longer = hello_with(0x0303, &[a()]);
    longer.push(0);
    let length = u16::from_be_bytes([longer[3], longer[4]]) + 1;
    longer[3..5].copy_from_slice(&length.to_be_bytes());
    assert!(refused(&longer), "a second message in the record");
    assert!(refused(b"\x16\x03\x01\x00\x00"), "an empty record");
    assert!(refused(b"\x16\x03\x01\x40\x01"), "an overlong record");
    assert!(refused(b"\x16\x03\x01\x00\x04\x01\x00\x40\x01"), "an overlong hello");
    assert!(refused(b"\x16\x03\x01\x00\x04\x02"), "a ServerHello");
}

#[test]
fn old_versions_are_refused_and_an_encrypted_hello_is_seen() {
    let verdict = |version, extensions: &[(u16, Vec<u8>)]| read(&hello_with(version, extensions));
    assert_eq!(verdict(0x0302, &[]), Progress::Refused(Unreadable::TooOld));
    assert_eq!(verdict(0x0303, &[(43, vec![4, 3, 2, 3, 1])]), Progress::Refused(Unreadable::TooOld));
    let none =
        |tls12, ech| Progress::Complete(Hello::Tls { server_name: None, alpn: Vec::new(), tls12, hybrid: false, ech });
    assert_eq!(verdict(0x0303, &[(43, vec![4, 0x7a, 0x7a, 3, 4])]), none(false, false));
    assert_eq!(verdict(0x0303, &[(43, vec![4, 3, 4, 3, 3])]), none(true, false));
    assert_eq!(verdict(0x0303, &[(0xfe0d, vec![0; 8])]), none(true, true));
}
