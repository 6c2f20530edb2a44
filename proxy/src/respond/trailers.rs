//! A refusal as gRPC and gRPC-Web have it: a status of 200, and their own in the head, in the form that is called trailers-only.
//!
//! Enters: a [`Refusal`], and the media type that its reader knows. Leaves: an answer without a body. Never: a byte that the client sent and that was not escaped.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::{PROXY_STATUS, proxy_status, row, sentence};
use crate::error::Refusal;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// An answer of this media type that is all head: the status and, percent-encoded, what was refused and what to ask for.
pub(super) fn only(refusal: &Refusal, media: &'static str) -> Response<Full<Bytes>> {
    let (status, kind, proxy_error) = row(refusal);
    let code = match status {
        StatusCode::BAD_REQUEST => "3",
        StatusCode::TOO_MANY_REQUESTS => "8",
        StatusCode::NOT_IMPLEMENTED => "12",
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => "14",
        _ => "7",
    };
    let message = grpc_message(&sentence(refusal));
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
    for (name, value) in [(GRPC_MESSAGE, message), (PROXY_STATUS, proxy_status(proxy_error, kind))] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// As gRPC wants it: printable ASCII but `%`, everything else escaped; cut to what every client takes as a head.
fn grpc_message(text: &str) -> String {
    const LONGEST: usize = 2048;
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'%';
    text.bytes()
        .take(LONGEST)
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Version};

    use super::super::{Reader, refuse};
    use super::*;

    #[test]
    fn a_grpc_client_reads_a_refusal_as_a_status() {
        let refused = Refusal::MethodNotOffered("CONNECT é 100%".to_owned());
        let response = refuse(&refused, Reader::Grpc("application/grpc-web+proto"));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "12");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc-web+proto");
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(message.contains("CONNECT %C3%A9 100%25 is not offered"), "{message}");
        let over = |version| {
            move |kind: &'static str| {
                Reader::of(version, &HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]))
            }
        };
        let kinds = ["application/grpc", "application/grpc+proto", "application/grpc-web", "application/json"];
        let (native, web) = (Reader::Grpc("application/grpc"), Reader::Grpc("application/grpc-web"));
        assert_eq!(kinds.map(over(Version::HTTP_2)), [native, native, web, Reader::Http]);
        assert_eq!(kinds.map(over(Version::HTTP_11)), [Reader::Http, Reader::Http, web, Reader::Http]);
    }
}
