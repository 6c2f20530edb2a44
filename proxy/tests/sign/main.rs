//! Signatures that AWS publishes: of its test suite for Signature Version 4, and in the documents of S3. What is verified with one secret
//! is signed anew with another, and verifies with that.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chunks;
mod sample;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request};
use proptest::prelude::*;
use proxy::sign::{Claim, Unsigned};

use crate::sample::{S3_SECRET, SECRET, Sample, pair};

const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn published() -> Vec<(Sample, &'static str)> {
    let form = ("content-type", "application/x-www-form-urlencoded");
    let suite = [
        Sample::of_suite("GET", "/", &[], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        Sample::of_suite(
            "GET",
            "/?Param2=value2&Param1=value1",
            &[],
            b"",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        Sample::of_suite("POST", "/", &[], b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        Sample::of_suite(
            "POST",
            "/",
            &[form],
            b"Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ];
    let s3 = [
        Sample::of_s3(
            "GET",
            "/test.txt",
            NOTHING,
            &[("range", "bytes=0-9")],
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        Sample::of_s3(
            "PUT",
            "/test%24file.text",
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        // The path is sent otherwise, and is the same.
        Sample::of_s3(
            "PUT",
            "/test$file.text",
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        Sample::of_s3(
            "GET",
            "/?lifecycle",
            NOTHING,
            &[],
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        Sample::of_s3(
            "GET",
            "/?max-keys=2&prefix=J",
            NOTHING,
            &[],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
        Sample::new(
            "GET",
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
            &[("host", "examplebucket.s3.amazonaws.com")],
            b"",
            "2013-05-24T23:59:59Z",
        ),
    ];
    suite.map(|sample| (sample, SECRET)).into_iter().chain(s3.map(|sample| (sample, S3_SECRET))).collect()
}

#[test]
fn what_aws_publishes_verifies_and_nothing_else_does() {
    for (sample, secret) in published() {
        let what = format!("{} {}?{}", sample.method, sample.path, sample.query);
        sample.verify(secret).unwrap_or_else(|why| panic!("{what}: {why}"));
        let wrong = |sample: &Sample, secret: &str| {
            assert_eq!(sample.verify(secret).unwrap_err(), Unsigned::Wrong, "{what}");
        };
        wrong(&sample, &secret.replace('K', "L"));
        wrong(&Sample { method: "DELETE".parse().unwrap(), ..sample.clone() }, secret);
        wrong(&Sample { path: format!("{}x", sample.path), ..sample.clone() }, secret);
        let query = if sample.query.is_empty() { "x=1".to_owned() } else { format!("{}&x=1", sample.query) };
        wrong(&Sample { query, ..sample.clone() }, secret);
        let mut moved = sample.clone();
        moved.headers.insert(HOST, HeaderValue::from_static("other.amazonaws.com"));
        wrong(&moved, secret);
        if !sample.body.is_empty() {
            wrong(&Sample { body: b"Param1=value2".to_vec(), ..sample.clone() }, secret);
        }
    }
}

#[test]
fn what_is_signed_anew_verifies_with_the_other_pair_and_says_whose_it_is() {
    for (sample, secret) in published() {
        for line in ["ASIAOTHER:other/secret+:session/+==", "AKIAOTHER:other/secret+"] {
            let again = sample.again(secret, &pair(line));
            again.verify("other/secret+").unwrap();
            assert_eq!(again.verify(secret).unwrap_err(), Unsigned::Wrong);
            let claim = Claim::read(&again.headers, &again.query, again.now).unwrap().unwrap();
            assert!(claim.id.ends_with("IAOTHER"), "{claim:?}");
            let with_session = line.ends_with("==");
            if claim.is_link {
                assert_eq!(again.query.contains("X-Amz-Security-Token=session%2F%2B%3D%3D"), with_session);
            } else {
                let session = again.headers.get("x-amz-security-token");
                assert_eq!(session.is_some(), with_session);
                assert!(session.is_none_or(HeaderValue::is_sensitive) && again.headers[AUTHORIZATION].is_sensitive());
                assert_eq!(claim.fields.iter().any(|name| name == "x-amz-security-token"), with_session);
            }
        }
    }
}

#[test]
fn a_session_of_the_agents_own_does_not_go_on() {
    let mut sample =
        Sample::of_suite("GET", "/", &[], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    sample.headers.insert("x-amz-security-token", HeaderValue::from_static("the agent's"));
    let again = sample.again(SECRET, &pair("ASIAOTHER:b:ours"));
    assert_eq!(again.headers["x-amz-security-token"], "ours");
    assert!(!sample.again(SECRET, &pair("AKIAOTHER:b")).headers.contains_key("x-amz-security-token"));
}

#[test]
fn a_signed_field_that_does_not_go_on_is_signed_no_more_and_a_length_only_where_it_is_known() {
    let fields = [("te", "trailers"), ("content-length", "3")];
    let sample = Sample::of_suite("POST", "/", &fields, b"abc", &"0".repeat(64)).signed_by_us();
    sample.verify(SECRET).unwrap();
    for (length, names) in [(Some(3), "content-length;host;x-amz-date"), (None, "host;x-amz-date")] {
        let (mut parts, ()) = Request::post("/").body(()).unwrap().into_parts();
        parts.headers.insert("x-amz-date", sample.headers["x-amz-date"].clone());
        let verified = sample.verify(SECRET).unwrap();
        verified.sign(&mut parts, &sample.headers[HOST], length, &pair("AKIAOTHER:other")).unwrap();
        let signed = parts.headers[AUTHORIZATION].to_str().unwrap();
        assert!(signed.contains(&format!("SignedHeaders={names},")), "{signed}");
        assert_eq!(parts.headers.get("content-length").is_some(), length.is_some());
    }
}

proptest! {
    #[test]
    fn whatever_is_signed_with_one_pair_is_signed_with_the_other(
        path in "(/[a-z0-9%~!$]{1,8}){1,3}", names in prop::collection::vec("[a-z]{1,5}(%20|%2F|é)?", 0..4),
        value in "[ -~]{0,20}", body in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let path = path.replace('%', "%25");
        let query: Vec<String> = names.iter().map(|name| name.replace('é', "%C3%A9")).map(|name| format!("{name}={name}")).collect();
        let mut sample = Sample::of_suite("POST", &format!("{path}?{}", query.join("&")), &[("x-note", value.trim())], &body, &"0".repeat(64));
        if query.is_empty() {
            sample.query = String::new();
        }
        let sample = sample.signed_by_us();
        prop_assert!(sample.verify(SECRET).is_ok());
        let again = sample.again(SECRET, &pair("ASIAOTHER:other:session"));
        prop_assert!(again.verify("other").is_ok());
        prop_assert_eq!(again.query, sample.query);
    }
}
