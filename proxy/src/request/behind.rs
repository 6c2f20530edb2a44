//! Fields behind a body.
//!
//! Enters: the head of a request, later what comes behind its body. Leaves: a refusal where whoever merges the two reads another head than was judged:
//! one that frames or routes the request otherwise, says otherwise whose it is or what its body is, or has a field twice. Never: such a field passed on,
//! in whatever spelling; a placeholder.

use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT,
    HOST, HeaderName, TRAILER,
};

use super::{HOP, PARTS, elsewhere, fields, overriding, same, witnesses};
use crate::error::Refusal;
use crate::swap::{Head, Swap};

/// What belongs before a body, whether anything of it stands there or not (RFC 9110 section 6.5.1).
const BEFORE_ONLY: [HeaderName; 14] = [
    ACCEPT_ENCODING,
    HeaderName::from_static("connect-accept-encoding"),
    HeaderName::from_static("connect-content-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("grpc-encoding"),
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    TRAILER,
];

/// What may not stand behind a body.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    /// What stands before it.
    before: Vec<HeaderName>,
    swap: Swap,
}

impl Behind {
    /// Of the body behind `head`, as it goes upstream.
    pub(crate) fn new(head: &Head<'_>, swap: &Swap) -> Self {
        Self { before: head.headers.keys().cloned().collect(), swap: swap.clone() }
    }

    /// Judges what came.
    ///
    /// # Errors
    /// [`Refusal::Misdirected`], [`Refusal::Malformed`].
    pub(crate) fn judge(&self, trailers: &HeaderMap) -> Result<(), Refusal> {
        self.swap.trailers(trailers)?;
        let before_only = |name: &HeaderName| HOP.contains(name) || PARTS.contains(name) || BEFORE_ONLY.contains(name);
        let naming = |name: &HeaderName| elsewhere::naming(name) || witnesses::naming(name).is_some();
        let stands_before = |name: &HeaderName| self.before.iter().any(|before| same(name, before.as_str()));
        let wrong =
            |name: &&HeaderName| before_only(name) || naming(name) || stands_before(name) || self.swap.puts_in(name);
        match trailers.keys().find(wrong).or(overriding(trailers)) {
            Some(name) => Err(Refusal::Malformed(format!("`{name}` behind the body, which belongs before it"))),
            None => fields(trailers),
        }
    }
}

#[cfg(test)]
mod tests {
    use config::{Credential, Credentials, Destination, Placeholder};
    use http::header::HeaderValue;

    use super::*;

    fn trailers(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static("1"))])
    }

    #[test]
    fn what_belongs_before_a_body_or_stands_there_does_not_stand_behind_it() {
        let text = "[api]\nissuer = \"fixed\"\nvalue = { env = \"S\" }\nagents = [\"bot\"]\nto = [\"api.example.com\"]\ninject = \"X-Api-Key\"";
        let credentials = Credentials::parse("credentials.toml", text).unwrap();
        let placeholder = || Placeholder::from_value("exeat_placeholder".to_owned());
        let parts = credentials.iter().flat_map(Credential::placeholders);
        let swap = Swap::new(parts.map(|(grant, _)| (grant.clone(), placeholder())).collect());
        let destination = Destination::parse_authority("www.example.com", 443).unwrap();
        let headers: HeaderMap = ["x-request-id", "accept"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")))
            .into_iter()
            .collect();
        let head = Head { destination: &destination, permitted: None, path: "/", query: None, headers: &headers };
        let behind = Behind::new(&head, &swap);
        for name in ["x-checksum", "x-amz-checksum-crc32", "content-md5", "api_key"] {
            assert!(behind.judge(&trailers(name)).is_ok(), "{name}");
        }
        for name in [
            // Frames, routes, or says whose it is or what its body is.
            "content-length",
            "transfer-encoding",
            "host",
            "te",
            "connection",
            "authorization",
            "cookie",
            "content-encoding",
            "content-type",
            "grpc-encoding",
            "connect-accept-encoding",
            "range",
            "x-http-method-override",
            "x_forwarded_for",
            "x-forwarded-host",
            "x_host",
            "forwarded",
            "x-amz-copy-source",
            "destination",
            // Stands before it, in one spelling or another.
            "accept",
            "x-request-id",
            "x_request_id",
            "x.request-id",
            // Would, for another call.
            "x-api-key",
            "x_api_key",
        ] {
            assert!(matches!(behind.judge(&trailers(name)), Err(Refusal::Malformed(_))), "{name}");
        }
        let carried =
            HeaderMap::from_iter([(HeaderName::from_static("x"), HeaderValue::from_static("exeat_placeholder"))]);
        assert!(matches!(behind.judge(&carried), Err(Refusal::Misdirected(_))));
    }
}
