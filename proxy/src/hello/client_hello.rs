//! A TLS ClientHello, read strictly (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).
//!
//! Enters: the client's first bytes, from the record type on. Leaves: the names it gives. Never: a hello that another
//! parser could read otherwise: a length that does not fit, an extension twice, a second name, bytes left over.

use super::{Hello, Progress, Unreadable};

/// The record type of handshake messages.
pub(super) const HANDSHAKE: u8 = 22;
/// A ClientHello; with post-quantum keys and tickets it takes 2 to 4 KiB.
const LONGEST: usize = 16 * 1024;
/// RFC 8446 section 5.1.
const LONGEST_RECORD: usize = 1 << 14;
/// Chrome offers 2; no client has a use for more than a handful.
const MOST_PROTOCOLS: usize = 32;

type Outcome<T> = Result<T, Unreadable>;

pub(super) fn read(bytes: &[u8]) -> Progress {
    match message(bytes) {
        Ok(None) => Progress::Incomplete,
        Ok(Some(body)) => client_hello(&body).map_or_else(Progress::Refused, Progress::Complete),
        Err(reason) => Progress::Refused(reason),
    }
}

/// The first handshake message, put together from as many records as it takes. It has to end where a record ends.
fn message(mut bytes: &[u8]) -> Outcome<Option<Vec<u8>>> {
    let mut message = Vec::new();
    loop {
        match bytes {
            [kind, ..] if *kind != HANDSHAKE => return malformed("another record interrupts it"),
            [_, major, ..] if *major != 3 => return malformed("its record is of no known version"),
            _ => {}
        }
        let [_, _, _, high, low, rest @ ..] = bytes else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > LONGEST_RECORD {
            return malformed("a record's length is out of bounds");
        }
        message.extend_from_slice(&rest[..length.min(rest.len())]);
        if message.first().is_some_and(|kind| *kind != 1) {
            return malformed("it is another message");
        }
        if let [_, a, b, c, body @ ..] = &message[..] {
            let announced = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            match body.len() {
                _ if announced > LONGEST => return Err(Unreadable::TooLong(LONGEST)),
                read if read > announced => return malformed("bytes follow it in its record"),
                read if read == announced && rest.len() >= length => return Ok(Some(message.split_off(4))),
                _ => {}
            }
        }
        match rest.get(length..) {
            Some(next) => bytes = next,
            None => return Ok(None),
        }
    }
}

fn client_hello(body: &[u8]) -> Outcome<Hello> {
    let mut reader = Reader(body);
    let version = reader.u16()?;
    reader.take(32)?;
    let session = reader.vector8()?;
    let suites = reader.vector16()?;
    let compressions = reader.vector8()?;
    // A hello without extensions is TLS 1.2 at its plainest.
    let extensions = if reader.0.is_empty() { Reader(&[]) } else { reader.vector16()? };
    reader.end()?;
    match version {
        ..0x0303 => return Err(Unreadable::TooOld),
        0x0303 => {}
        _ => return malformed("its version field is above TLS 1.2's, which RFC 8446 forbids"),
    }
    if session.0.len() > 32 {
        return malformed("its session id is longer than 32 bytes");
    }
    if suites.0.is_empty() || suites.0.len() % 2 != 0 {
        return malformed("its list of cipher suites has no whole entry");
    }
    if !compressions.0.contains(&0) {
        return malformed("it does not offer to go uncompressed");
    }
    named(extensions)
}

fn named(mut extensions: Reader<'_>) -> Outcome<Hello> {
    let mut seen = std::collections::BTreeSet::new();
    // Without the extension that lists versions, TLS 1.2 is what is offered (RFC 8446 section 4.2.1).
    let (mut server_name, mut alpn, mut tls12, mut hybrid, mut ech) = (None, Vec::new(), true, false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let body = extensions.vector16()?;
        if !seen.insert(kind) {
            return malformed("an extension comes twice");
        }
        match kind {
            0 => server_name = Some(one_name(body)?),
            10 => hybrid = offers_hybrid(body)?,
            16 => alpn = protocols(body)?,
            43 => tls12 = supports_tls12(body)?,
            0xfe0d => ech = true,
            _ => {}
        }
    }
    Ok(Hello::Tls { server_name, alpn, tls12, hybrid, ech })
}

/// RFC 6066 section 3, less what nobody sends: one list, one entry, a host name in A-labels.
fn one_name(mut body: Reader<'_>) -> Outcome<config::DnsName> {
    let mut list = body.vector16()?;
    body.end()?;
    let kind = list.u8()?;
    let name = list.vector16()?.0;
    if kind != 0 || !list.0.is_empty() {
        return Err(Unreadable::ServerName("holds something besides one host name"));
    }
    let text = std::str::from_utf8(name).ok().filter(|text| text.is_ascii() && !text.is_empty());
    let text = text.ok_or(Unreadable::ServerName("is empty or not ASCII"))?;
    if text.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
        return Err(Unreadable::ServerName("is an address, where RFC 6066 allows a host name only"));
    }
    text.parse().map_err(|_| Unreadable::ServerName("is not a host name"))
}

/// RFC 7301 section 3.1.
fn protocols(mut body: Reader<'_>) -> Outcome<Vec<Vec<u8>>> {
    let mut list = body.vector16()?;
    body.end()?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.vector8()?.0;
        if name.is_empty() || protocols.len() == MOST_PROTOCOLS {
            return malformed("its list of protocols (ALPN) has an empty name or is overlong");
        }
        protocols.push(name.to_vec());
    }
    if protocols.is_empty() { malformed("its list of protocols (ALPN) is empty") } else { Ok(protocols) }
}

/// RFC 8446 section 4.2.1: whether TLS 1.2 is among the versions; if not, 1.3 has to be.
fn supports_tls12(mut body: Reader<'_>) -> Outcome<bool> {
    let mut list = body.vector8()?;
    body.end()?;
    let (mut tls12, mut tls13) = (false, false);
    while !list.0.is_empty() {
        match list.u16()? {
            0x0303 => tls12 = true,
            0x0304 => tls13 = true,
            _ => {}
        }
    }
    if tls12 || tls13 { Ok(tls12) } else { Err(Unreadable::TooOld) }
}

/// RFC 8446 section 4.2.7: whether X25519MLKEM768 is among the groups.
fn offers_hybrid(mut body: Reader<'_>) -> Outcome<bool> {
    let mut list = body.vector16()?;
    body.end()?;
    let mut hybrid = false;
    while !list.0.is_empty() {
        hybrid |= list.u16()? == 0x11ec;
    }
    Ok(hybrid)
}

fn malformed<T>(reason: &'static str) -> Outcome<T> {
    Err(Unreadable::Malformed(reason))
}

/// What is left to read. Every step checks its length.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Outcome<u8> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Outcome<u16> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn vector8(&mut self) -> Outcome<Reader<'a>> {
        let length = self.u8()?;
        self.take(length.into()).map(Reader)
    }

    fn vector16(&mut self) -> Outcome<Reader<'a>> {
        let length = self.u16()?;
        self.take(length.into()).map(Reader)
    }

    fn end(&self) -> Outcome<()> {
        if self.0.is_empty() { Ok(()) } else { malformed("bytes are left over") }
    }
}
