//! Signatures that AWS publishes: of its test suite for Signature Version 4, and in the documents of S3. What is verified with one secret
//! is signed anew with another, and verifies with that.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use broker::{KeyPair, Secret};
use bytes::Bytes;
use config::Method;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use jiff::Timestamp;
use proptest::prelude::*;
use proxy::sign::{Canonical, Chunks, Claim, Key, Payload, Unsigned, Verified};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const S3_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// A request that somebody signed.
#[derive(Clone, Debug)]
struct Sample {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
    now: Timestamp,
}

impl Sample {
    fn new(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8], now: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let field =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        Self {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: fields.iter().map(field).collect(),
            body: body.to_vec(),
            now: now.parse().unwrap(),
        }
    }

    /// Of the test suite: host and date, the service `service`.
    fn of_suite(method: &str, target: &str, more: &[(&str, &str)], body: &[u8], signature: &str) -> Self {
        let mut names: Vec<&str> = more.iter().map(|(name, _)| *name).chain(["host", "x-amz-date"]).collect();
        names.sort_unstable();
        names.dedup();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={}, \
             Signature={signature}",
            names.join(";")
        );
        let mut fields = vec![
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", &*authorization),
        ];
        fields.extend(more);
        Self::new(method, target, &fields, body, "2015-08-30T12:40:00Z")
    }

    /// Of the documents of S3: in `examplebucket`, on 24 May 2013.
    fn of_s3(method: &str, target: &str, payload: &str, more: &[(&str, &str)], signature: &str) -> Self {
        let mut names: Vec<&str> =
            more.iter().map(|(name, _)| *name).chain(["host", "x-amz-date", "x-amz-content-sha256"]).collect();
        names.sort_unstable();
        names.dedup();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders={},\
             Signature={signature}",
            names.join(";")
        );
        let mut fields = vec![
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-content-sha256", payload),
            ("authorization", &*authorization),
        ];
        fields.extend(more);
        Self::new(method, target, &fields, b"", "2013-05-24T00:00:00Z")
    }

    /// Signed with [`SECRET`] by this crate: the published samples show that it signs as AWS does.
    fn signed_by_us(mut self) -> Self {
        let claim = Claim::read(&self.headers, &self.query, self.now).unwrap().unwrap().over(&self.body);
        let Payload::Said(payload) = &claim.payload else { panic!("{claim:?}") };
        let canonical = Canonical {
            method: self.method.as_str(),
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            host: &self.headers[HOST],
            fields: &claim.fields,
            payload,
        };
        let signature = Key::derive(SECRET, &claim.scope).sign(canonical.text(&claim).unwrap().as_bytes());
        let signed = self.headers[AUTHORIZATION].to_str().unwrap().replace(&claim.signature, &signature);
        self.headers.insert(AUTHORIZATION, HeaderValue::from_str(&signed).unwrap());
        self
    }

    fn verify(&self, secret: &str) -> Result<Verified, Unsigned> {
        let claim = Claim::read(&self.headers, &self.query, self.now)?.expect("a signature");
        claim.over(&self.body).verify(secret, &self.method, &self.path, &self.query, &self.headers)
    }

    /// The same signed by another pair, as it would go upstream.
    fn again(&self, secret: &str, pair: &KeyPair) -> Self {
        let verified = self.verify(secret).unwrap();
        let target = match self.query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{}", self.path, without_signature(query)),
        };
        let (mut parts, ()) =
            Request::builder().method(self.method.as_str()).uri(target).body(()).unwrap().into_parts();
        parts.headers = self.headers.clone();
        parts.headers.remove(AUTHORIZATION);
        let host = parts.headers.remove(HOST).unwrap();
        verified.sign(&mut parts, &host, Some(self.body.len() as u64), pair).unwrap();
        parts.headers.insert(HOST, host);
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Self { query, headers: parts.headers, ..self.clone() }
    }
}

fn without_signature(query: &str) -> String {
    let ours = |part: &&str| !part.starts_with("X-Amz-Credential=") && !part.starts_with("X-Amz-Signature=");
    query.split('&').filter(ours).collect::<Vec<_>>().join("&")
}

fn pair(line: &str) -> KeyPair {
    KeyPair::read(&Secret::new(line)).unwrap()
}

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

/// The example of signed chunks: 64 KiB of `a`, 1 KiB of it, and the end.
fn chunked(payload: &str, more: &[(&str, &str)], seed: &str, signatures: [&str; 3], end: &str) -> Sample {
    let mut fields = vec![
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    ];
    fields.extend(more);
    let mut sample = Sample::of_s3("PUT", "/examplebucket/chunkObject.txt", payload, &fields, seed);
    sample.headers.insert(HOST, HeaderValue::from_static("s3.amazonaws.com"));
    sample.body = [
        format!("10000;chunk-signature={}\r\n{}\r\n", signatures[0], "a".repeat(65536)),
        format!("400;chunk-signature={}\r\n{}\r\n", signatures[1], "a".repeat(1024)),
        format!("0;chunk-signature={}\r\n{end}\r\n", signatures[2]),
    ]
    .concat()
    .into_bytes();
    sample
}

fn published_chunks() -> [Sample; 2] {
    [
        chunked(
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            &[("content-length", "66824")],
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            [
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ],
            "",
        ),
        chunked(
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            &[("x-amz-trailer", "x-amz-checksum-crc32c")],
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            [
                "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            ],
            "x-amz-checksum-crc32c:sOO8/Q==\r\n\
             x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n",
        ),
    ]
}

/// Signs the body behind a head anew, in pieces of `cut`.
fn body_again(
    sample: &Sample,
    secret: &str,
    body: &[u8],
    cut: usize,
    pair: &KeyPair,
) -> Result<(Sample, Vec<u8>), Unsigned> {
    let again = sample.again(secret, pair);
    let verified = sample.verify(secret).unwrap();
    let (mut parts, ()) = Request::put(&sample.path).body(()).unwrap().into_parts();
    parts.headers = sample.headers.clone();
    let resigned = verified.sign(&mut parts, &sample.headers[HOST], Some(66824), pair).unwrap();
    let mut chunks = Chunks::behind(verified, resigned).expect("chunks");
    let mut out = Vec::new();
    for piece in body.chunks(cut) {
        out.extend_from_slice(&chunks.push(Bytes::copy_from_slice(piece))?);
    }
    if chunks.has_ended() { Ok((again, out)) } else { Err(Unsigned::Form("it breaks off")) }
}

#[test]
fn signed_chunks_are_signed_anew_and_there_and_back_again_they_are_what_they_were() {
    let other = pair("ASIAOTHER:other:session");
    let back = pair(&format!("AKIAIOSFODNN7EXAMPLE:{S3_SECRET}"));
    for sample in published_chunks() {
        for cut in [1, 1000, 65536 + 87, 1 << 20] {
            let (again, body) = body_again(&sample, S3_SECRET, &sample.body, cut, &other).unwrap();
            assert_eq!(body.len(), sample.body.len());
            assert_ne!(body, sample.body);
            // Whoever has the other secret finds every signature right, and signs with the first what AWS publishes. Its head has no
            // session then, as the example has none.
            let mut again = Sample { body, ..again };
            again.headers.remove("x-amz-storage-class");
            again.headers.insert("x-amz-storage-class", HeaderValue::from_static("REDUCED_REDUNDANCY"));
            let (_, round) = body_again(&again, "other", &again.body, cut, &back).unwrap();
            assert_eq!(round.len(), sample.body.len());
            assert!(round == sample.body, "cut by {cut}");
        }
    }
}

#[test]
fn a_chunk_that_is_not_signed_ends_the_body_before_a_byte_of_it() {
    let other = pair("ASIAOTHER:other:session");
    for sample in published_chunks() {
        let text = String::from_utf8(sample.body.clone()).unwrap();
        let signature = |n: usize| text.match_indices("signature").nth(n).unwrap().0 + "signature".len() + 1;
        for (at, with) in [
            (signature(0), "0"),
            (signature(1), "0"),
            (signature(2), "0"),
            (200, "b"),
            (signature(1) + 70, "b"),
            (text.len() - 10, "0"),
        ] {
            let mut bad = text.clone();
            bad.replace_range(at..=at, if &text[at..=at] == with { "1" } else { with });
            assert!(body_again(&sample, S3_SECRET, bad.as_bytes(), 1000, &other).is_err(), "{at}");
        }
        let without =
            |from: &str, to: &str| body_again(&sample, S3_SECRET, text.replacen(from, to, 1).as_bytes(), 999, &other);
        for (from, to) in [
            ("10000;", "0010000;x=y;"),
            ("chunk-signature=", "signature="),
            ("400;", "100001;"),
            ("0;", "0 ;"),
            ("\r\n0;", "\r\n00;x;"),
        ] {
            assert!(without(from, to).is_err(), "{from:?} → {to:?}");
        }
        assert!(
            body_again(&sample, S3_SECRET, &text.as_bytes()[..text.len() - 2], 999, &other).is_err(),
            "it breaks off"
        );
        assert!(body_again(&sample, S3_SECRET, format!("{text}\r\n").as_bytes(), 999, &other).is_err(), "it goes on");
    }
    // What the head does not announce is not behind the last chunk.
    let [plain, _] = published_chunks();
    let text = String::from_utf8(plain.body.clone()).unwrap();
    let more = format!("{}a:b\r\n\r\n", &text[..text.len() - 2]);
    assert!(body_again(&plain, S3_SECRET, more.as_bytes(), 999, &other).is_err());
}

#[test]
fn a_chunk_longer_than_the_bound_is_not_held() {
    let [sample, _] = published_chunks();
    let head = format!("{:x};chunk-signature={}\r\n", 1024 * 1024 + 1, "0".repeat(64));
    let refused = body_again(&sample, S3_SECRET, head.as_bytes(), 10, &pair("A:b")).unwrap_err();
    assert_eq!(refused, Unsigned::LongChunk);
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
