//! Whatever a head claims, it is read or refused; what one pair signs verifies, verifies no more when a byte of it has changed, and is
//! signed anew for another pair, its chunks too, however they are cut.
#![no_main]

use broker::{KeyPair, Secret};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use proxy::sign::{Canonical, Chunks, Claim, Key, Unsigned};

const NOW: &str = "2015-08-30T12:36:00Z";
const TIME: &str = "20150830T123600Z";
const SCOPE: &str = "20150830/us-east-1/s3/aws4_request";
const CHUNKED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const NOTE: HeaderName = HeaderName::from_static("x-note");

fn head(authorization: &[u8], payload: &'static str, note: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("s3.example"));
    headers.insert(DATE, HeaderValue::from_static(TIME));
    headers.insert(CONTENT, HeaderValue::from_static(payload));
    headers.insert(NOTE, HeaderValue::from_bytes(note).ok()?);
    headers.insert(AUTHORIZATION, HeaderValue::from_bytes(authorization).ok()?);
    Some(headers)
}

fn authorization(id: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={id}/{SCOPE}, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-note, Signature={signature}"
    )
}

/// The head with the signature of this pair.
fn signed(secret: &str, path: &str, query: &str, note: &[u8]) -> Option<(HeaderMap, String)> {
    let headers = head(authorization("OURS", &"0".repeat(64)).as_bytes(), CHUNKED, note)?;
    let claim = Claim::read(&headers, query, NOW.parse().expect("a time")).ok()??;
    let canonical = Canonical {
        method: "PUT",
        path,
        query,
        headers: &headers,
        host: &headers[HOST],
        fields: &claim.fields,
        payload: CHUNKED,
    };
    let signature = Key::derive(secret, &claim.scope).sign(canonical.text(&claim).ok()?.as_bytes());
    Some((head(authorization("OURS", &signature).as_bytes(), CHUNKED, note)?, signature))
}

fn verified(headers: &HeaderMap, secret: &str, path: &str, query: &str) -> Result<proxy::sign::Verified, Unsigned> {
    let claim = Claim::read(headers, query, NOW.parse().expect("a time"))?.ok_or(Unsigned::Method)?;
    claim.verify(secret, &"PUT".parse().expect("a method"), path, query, headers)
}

/// The chunks behind a head, signed by `ours` and read by way of a signature for `theirs`.
fn through(headers: &HeaderMap, secret: &str, target: (&str, &str), body: &[u8], cut: usize) -> Option<(HeaderMap, Vec<u8>)> {
    let verified = verified(headers, secret, target.0, target.1).expect("it was signed so");
    let uri = if target.1.is_empty() { target.0.to_owned() } else { format!("{}?{}", target.0, target.1) };
    let (mut parts, ()) = http::Request::put(uri).body(()).ok()?.into_parts();
    parts.headers = headers.clone();
    let host = parts.headers.remove(HOST).expect("a host");
    let pair = KeyPair::read(&Secret::new("THEIRS:their/secret")).expect("a pair");
    let resigned = verified.sign(&mut parts, &host, None, &pair).expect("room");
    parts.headers.insert(HOST, host);
    let mut chunks = Chunks::behind(verified, resigned).expect("chunks");
    let mut out = Vec::new();
    for piece in [&body[..cut], &body[cut..]] {
        out.extend_from_slice(&chunks.push(Bytes::copy_from_slice(piece)).ok()?);
    }
    chunks.has_ended().then_some((parts.headers, out))
}

fuzz_target!(|input: (u8, u8, &str, &str, &[u8], &[u8])| {
    let (cut, spoil, path, query, note, data) = input;
    let now = NOW.parse().expect("a time");
    // Any head.
    if let Some(headers) = head(note, "UNSIGNED-PAYLOAD", b"") {
        let _ = Claim::read(&headers, query, now);
    }
    let _ = Claim::read(&HeaderMap::new(), query, now);

    // A head that is signed, if it can be.
    let path = format!("/{path}");
    if http::Uri::try_from(format!("{path}?{query}")).is_ok_and(|uri| uri.path() != path || uri.query() != Some(query)) {
        return;
    }
    let Some((headers, seed)) = signed("secret", &path, query, note) else { return };
    if http::Request::put(format!("{path}?{query}")).body(()).is_err() {
        return;
    }
    assert_eq!(verified(&headers, "other", &path, query).map(|_| ()), Err(Unsigned::Wrong));
    assert_eq!(verified(&headers, "secret", &format!("{path}x"), query).map(|_| ()), Err(Unsigned::Wrong));

    // Its chunks.
    let scope = Claim::read(&headers, query, now).expect("read before").expect("a claim").scope;
    let (key, mut before, mut body) = (Key::derive("secret", &scope), seed, Vec::new());
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let longest = 1 + usize::from(spoil);
    for chunk in data.chunks(longest).chain([&b""[..]]) {
        let digest = sha256(chunk);
        before = key.sign(format!("AWS4-HMAC-SHA256-PAYLOAD\n{TIME}\n{SCOPE}\n{before}\n{nothing}\n{digest}").as_bytes());
        body.extend(format!("{:x};chunk-signature={before}\r\n", chunk.len()).bytes());
        body.extend_from_slice(chunk);
        if !chunk.is_empty() {
            body.extend(b"\r\n");
        }
    }
    body.extend(b"\r\n");
    let cut = usize::from(cut) * body.len() / 256;
    let (again, out) = through(&headers, "secret", (&path, query), &body, cut).expect("every chunk is signed");
    assert_eq!(out.len(), body.len());
    assert_eq!(through(&headers, "secret", (&path, query), &body, 0).expect("signed").1, out);
    assert!(verified(&again, "their/secret", &path, query).is_ok());
    through(&again, "their/secret", (&path, query), &out, cut).expect("and signed by the other");
    let mut bad = body.clone();
    let at = usize::from(spoil) * body.len() / 256;
    bad[at] ^= 1;
    assert!(through(&headers, "secret", (&path, query), &bad, cut).is_none_or(|(_, out)| out.len() < body.len()));
});

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
