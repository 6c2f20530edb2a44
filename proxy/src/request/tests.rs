//! Heads that are refused, and what is made of the others.

use super::*;

fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

#[test]
fn two_ways_of_framing_are_refused() {
    for fields in [
        // Over HTTP/2 these come as they are; of HTTP/1.1 hyper leaves the last three.
        &[("content-length", "1"), ("content-length", "1")][..],
        &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "chunkedx")],
        &[("transfer-encoding", "gzip, chunked")],
    ] {
        assert!(framing(&head(fields)).is_err(), "{fields:?}");
    }
    // Nothing yields this today; were it to come, it would be no better.
    assert!(framing(&head(&[("content-length", "1"), ("transfer-encoding", "chunked")])).is_err());
    assert!(framing(&head(&[("transfer-encoding", "Chunked")])).is_ok());
}

#[test]
fn two_types_of_body_are_refused() {
    assert!(one_type(&head(&[("content-type", "application/grpc")])).is_ok() && one_type(&head(&[])).is_ok());
    for second in ["application/json", "application/grpc"] {
        let two = head(&[("content-type", "application/json"), ("content-type", second)]);
        assert!(one_type(&two).is_err(), "{second}");
    }
}

#[test]
fn a_field_named_by_connection_does_not_pass() {
    let mut headers = head(&[("connection", "X-Inner, close"), ("x-inner", "1"), ("x-outer", "2"), ("te", "gzip")]);
    strip_hop(&mut headers);
    assert_eq!(headers, head(&[("x-outer", "2")]));
}

#[test]
fn a_connection_field_with_a_name_that_is_none_is_refused() {
    for value in ["a b", "close, x\u{e9}", "x-a; y", "\"close\""] {
        let headers = HeaderMap::from_iter([(CONNECTION, HeaderValue::from_bytes(value.as_bytes()).unwrap())]);
        assert!(connection_options(&headers).is_err(), "{value:?}");
    }
    assert!(connection_options(&head(&[("connection", "keep-alive, , X-Inner,")])).is_ok());
}

#[test]
fn cookie_crumbs_are_joined_for_an_upstream_that_speaks_http_1() {
    let mut headers = head(&[("cookie", "a=1"), ("cookie", "b=2")]);
    join_cookies(&mut headers).unwrap();
    assert_eq!(headers[COOKIE], "a=1; b=2");
}
