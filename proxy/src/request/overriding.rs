//! Fields by which a request is taken for another than its first line says.
//!
//! Enters: the head or the trailers of a request. Leaves: the name of the first such field. Never: a judgement, which is the policy's.

use http::header::{HeaderMap, HeaderName};

use super::same;

const OVERRIDING: [&str; 7] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// A field that has servers and frameworks take another method or path than they were sent, also as those spell it that hand fields on as
/// variables.
pub(crate) fn overriding(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| name.as_str().starts_with('x') && OVERRIDING.iter().any(|other| same(name, other)))
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_field_that_overrides_is_found_in_either_spelling() {
        for name in
            ["X-HTTP-Method-Override", "x_http_method", "x.http-method.override", "X-Original-URL", "x~rewrite~url"]
        {
            let name = name.to_ascii_lowercase();
            let headers =
                HeaderMap::from_iter([(HeaderName::from_bytes(name.as_bytes()).unwrap(), "PUT".parse().unwrap())]);
            assert_eq!(overriding(&headers).map(HeaderName::as_str), Some(&*name));
        }
        let others = ["x-http-methods", "x-request-id", "accept"];
        let others = others.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x")));
        let others = HeaderMap::from_iter(others);
        assert_eq!(overriding(&others), None);
    }
}
