//! Whenever rustls reads a ClientHello, the judge of first bytes reads the same names and groups or refuses; and a verdict stands
//! whatever follows.
#![no_main]

use config::DnsName;
use libfuzzer_sys::fuzz_target;
use proxy::hello::{Hello, Progress, read};
use rustls::NamedGroup;
use rustls::server::{Accepted, Acceptor};

fuzz_target!(|bytes: &[u8]| {
    let verdict = read(bytes);
    let half = read(&bytes[..bytes.len() / 2]);
    assert!(half == Progress::Incomplete || half == verdict);
    let Some(accepted) = accepted(bytes) else { return };
    let theirs = accepted.client_hello();
    match verdict {
        Progress::Refused(_) => {}
        Progress::Complete(Hello::Tls { server_name, alpn, hybrid, .. }) => {
            let names: Vec<Vec<u8>> =
                theirs.alpn().map(|names| names.map(<[u8]>::to_vec).collect()).unwrap_or_default();
            assert_eq!(alpn, names);
            let groups = theirs.named_groups().unwrap_or_default();
            assert_eq!(hybrid, groups.contains(&NamedGroup::X25519MLKEM768));
            if let Some(name) = theirs.server_name() {
                assert_eq!(server_name, name.parse::<DnsName>().ok());
            }
        }
        other => panic!("rustls reads a hello where we read {other:?}"),
    }
});

fn accepted(bytes: &[u8]) -> Option<Accepted> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted);
        }
    }
    None
}
