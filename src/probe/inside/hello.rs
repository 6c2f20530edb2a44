//! The first message of TLS (RFC 8446, RFC 6066), byte by byte, as no library would write it.
//!
//! Enters: names, as many as there are. Leaves: a record. Never: a handshake that goes on.

const RANDOM: [u8; 32] = [7; 32];

/// One that offers nothing later than TLS 1.0 (RFC 2246): one cipher suite, no compression, no extensions.
pub(super) fn tls10() -> Vec<u8> {
    record([3, 1], &[0, 2, 0, 0x2f], &[])
}

/// One of TLS 1.2 with these names as the server's.
pub(super) fn of(names: &[&str]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(|name| [&[0], &*sized(name.as_bytes())].concat()).collect();
    // The names; the groups, formats and signatures without which nobody would answer.
    let extensions = [
        extension(0, &sized(&names)),
        extension(10, &sized(&[0, 0x1d, 0, 0x17])),
        extension(11, &[1, 0]),
        extension(13, &sized(&[4, 3, 8, 4, 4, 1])),
    ];
    record([3, 3], &sized(&[0xc0, 0x2b, 0xc0, 0x2f]), &sized(&extensions.concat()))
}

fn record(version: [u8; 2], suites: &[u8], extensions: &[u8]) -> Vec<u8> {
    let body = [&version[..], &RANDOM, &[0], suites, &[1, 0], extensions].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

fn extension(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[0, kind], &*sized(content)].concat()
}

/// Behind its length in two bytes.
fn sized(content: &[u8]) -> Vec<u8> {
    [&content.len().to_be_bytes()[6..], content].concat()
}
