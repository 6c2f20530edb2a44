//! Requests as somebody signed them, and as they are signed anew.

use broker::{KeyPair, Secret};
use config::Method;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use jiff::Timestamp;
use proxy::sign::{Canonical, Claim, Key, Payload, Unsigned, Verified};

pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub const S3_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// A request that somebody signed.
#[derive(Clone, Debug)]
pub struct Sample {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub now: Timestamp,
}

impl Sample {
    pub fn new(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8], now: &str) -> Self {
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
    pub fn of_suite(method: &str, target: &str, more: &[(&str, &str)], body: &[u8], signature: &str) -> Self {
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
    pub fn of_s3(method: &str, target: &str, payload: &str, more: &[(&str, &str)], signature: &str) -> Self {
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
    pub fn signed_by_us(mut self) -> Self {
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

    pub fn verify(&self, secret: &str) -> Result<Verified, Unsigned> {
        let claim = Claim::read(&self.headers, &self.query, self.now)?.expect("a signature");
        claim.over(&self.body).verify(secret, &self.method, &self.path, &self.query, &self.headers)
    }

    /// The same signed by another pair, as it would go upstream.
    pub fn again(&self, secret: &str, pair: &KeyPair) -> Self {
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

pub fn without_signature(query: &str) -> String {
    let ours = |part: &&str| !part.starts_with("X-Amz-Credential=") && !part.starts_with("X-Amz-Signature=");
    query.split('&').filter(ours).collect::<Vec<_>>().join("&")
}

pub fn pair(line: &str) -> KeyPair {
    KeyPair::read(&Secret::new(line)).unwrap()
}
