//! Fields and parameters by which a request is taken for another than its first line says.
//!
//! Enters: the head or the trailers of a request, its query. Leaves: the name of the first such field or parameter. Never: a judgement,
//! which is the policy's.

use http::header::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

use super::same;
use crate::error::{Refusal, printable};

const OVERRIDING: [&str; 7] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// What Rails, Laravel (of JSON, too), Symfony and WordPress, Salesforce, and ServiceStack take another method from.
pub(super) const PARAMETERS: [&str; 3] = ["_method", "_httpmethod", "x-http-method-override"];

/// So long is the longest of them.
pub(super) const LONGEST: usize = 22;

/// A field that has servers and frameworks take another method or path than they were sent, also as those spell it that hand fields on as
/// variables.
pub(crate) fn overriding(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| name.as_str().starts_with('x') && OVERRIDING.iter().any(|other| same(name, other)))
}

/// A parameter of a query that has them take another method, as it is written; also for whom `;` separates.
pub(crate) fn overriding_parameter(text: &[u8]) -> Option<String> {
    let names =
        text.split(|byte| b"&;".contains(byte)).map(|pair| pair.split(|&byte| byte == b'=').next().unwrap_or_default());
    names.map(decoded).find(|name| may_override(name))
}

/// The refusal for such a parameter, and where it stands.
pub(crate) fn overridden(place: &str, name: &str) -> Refusal {
    let name = printable(name.as_bytes());
    Refusal::Malformed(format!(
        "`{name}` in {place} may have the server take it for another method than what was judged; send the method itself, without that \
         parameter"
    ))
}

fn decoded(name: &[u8]) -> String {
    let spaced: Vec<u8> = name.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

/// To PHP a dot or a blank in a name is `_`; to it and others, what is behind a bracket or a dot is within the value.
pub(super) fn may_override(name: &str) -> bool {
    let name = name.trim_ascii_start().split(['\0', '[']).next().unwrap_or_default().trim_ascii_end();
    let read = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' };
    let is = |name: &str, other: &str| name.bytes().map(read).eq(other.bytes().map(read));
    let outer = name.split('.').next().unwrap_or_default().trim_ascii_end();
    PARAMETERS.iter().any(|other| is(name, other) || is(outer, other))
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

    #[test]
    fn a_parameter_that_overrides_is_found_however_it_is_written() {
        for text in [
            "_method=DELETE",
            "a=1&_METHOD=x",
            "a=1;_method=x",
            "%5fmethod",
            "_%6dethod=x",
            "++_method=x",
            "_method%5B%5D=x",
            "_method[a]=x",
            "_method.a=x",
            ".method=x",
            "%20_method%00a=x",
            "_HttpMethod=PATCH",
            "X-HTTP-Method-Override=x",
        ] {
            assert!(overriding_parameter(text.as_bytes()).is_some(), "{text}");
        }
        for text in
            ["", "method=x", "a=_method", "a_method=x", "_methods=x", "a[_method]=x", "%25_method=x", "+method=x"]
        {
            assert_eq!(overriding_parameter(text.as_bytes()), None, "{text}");
        }
    }
}
