//! The opening of a WebSocket on the way to an upstream, over either version of HTTP.
//!
//! Enters: a request with `Upgrade: websocket`. Leaves: the same for HTTP/1.1 with a key (RFC 6455 section 4.1), or as an extended
//! CONNECT (RFC 8441); and an answer that says 101 either way. Never: an agreement that is not to this request.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::ext::Protocol;

/// What every key is hashed with.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Gives a request a key; a client over HTTP/2 has none. Leaves what has to be in the answer.
pub(super) fn key(headers: &mut HeaderMap) -> Option<HeaderValue> {
    if !headers.contains_key(SEC_WEBSOCKET_KEY) {
        let mut random = [0; 16];
        rand::fill(&mut random).ok()?;
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(&BASE64_STANDARD.encode(random)).ok()?);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY)?.as_bytes();
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    HeaderValue::from_str(&BASE64_STANDARD.encode(hash)).ok()
}

/// Whether the answer, if it agrees, agrees to the request with that key.
pub(super) fn is_meant<B>(answer: &Response<B>, accept: Option<&HeaderValue>) -> bool {
    answer.status() != StatusCode::SWITCHING_PROTOCOLS || answer.headers().get(SEC_WEBSOCKET_ACCEPT) == accept
}

/// Whether this request opens a WebSocket.
pub(super) fn is_opened<B>(request: &Request<B>) -> bool {
    request.headers().get(UPGRADE).is_some_and(|value| value == "websocket")
}

/// As an extended CONNECT.
pub(super) fn extend<B>(request: &mut Request<B>) {
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY] {
        request.headers_mut().remove(name);
    }
}

/// The answer to an extended CONNECT, as HTTP/1.1 would have given it.
pub(super) fn unextend<B>(answer: &mut Response<B>) {
    if answer.status() == StatusCode::OK {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_to_its_own_key() {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        let accept = key(&mut headers).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "the example of RFC 6455");
        let answer = |status: u16, accept: &str| {
            Response::builder().status(status).header(SEC_WEBSOCKET_ACCEPT, accept).body(()).unwrap()
        };
        assert!(is_meant(&answer(101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), Some(&accept)));
        assert!(!is_meant(&answer(101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="), Some(&accept)));
        assert!(is_meant(&answer(200, ""), Some(&accept)));
        let (mut one, mut other) = (HeaderMap::new(), HeaderMap::new());
        assert_ne!(key(&mut one), key(&mut other), "each request has a key of its own");
    }
}
