//! Fields by which a request is taken for another than its first line says.
//!
//! Enters: the head or the trailers of a request. Leaves: the name of the first such field. Never: a judgement, which is the policy's.

use http::header::{HeaderMap, HeaderName};

/// A field that has servers and frameworks take another method or path than they were sent. An underscore is a hyphen to those that hand
/// fields on as variables (RFC 3875 section 4.1.18).
pub(crate) fn overriding(headers: &HeaderMap) -> Option<&HeaderName> {
    const OVERRIDING: [&str; 5] =
        ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];
    let same = |one: u8, other: u8| one == other || (one == b'_' && other == b'-');
    let is = |name: &[u8], other: &str| {
        name.len() == other.len() && name.iter().zip(other.bytes()).all(|(one, other)| same(*one, other))
    };
    headers.keys().find(|name| {
        let name = name.as_str().as_bytes();
        name.starts_with(b"x") && OVERRIDING.iter().any(|other| is(name, other))
    })
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_field_that_overrides_is_found_in_either_spelling_and_is_no_trailer() {
        for name in ["X-HTTP-Method-Override", "x_http_method", "X-Method_Override", "X-Original-URL", "X-Rewrite-Url"]
        {
            let name = name.to_ascii_lowercase();
            let headers =
                HeaderMap::from_iter([(HeaderName::from_bytes(name.as_bytes()).unwrap(), "PUT".parse().unwrap())]);
            assert_eq!(overriding(&headers).map(HeaderName::as_str), Some(&*name));
            assert!(crate::request::trailers(&headers).is_err(), "{name}");
        }
        let others = ["x-http-methods", "x-request-id", "accept"];
        let others = others.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x")));
        let others = HeaderMap::from_iter(others);
        assert_eq!(overriding(&others), None);
    }
}
