//! Whose signature a call says it has, over what, and from when.
//!
//! Enters: the head of a call as it came. Leaves: a [`Claim`] that is in force now. Never: one with two readings; one by a method that is
//! not signed anew; a date that does not fit its scope.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::canonical::{self, Pairs};
use super::{Scope, Unsigned, key};
use crate::limit;

/// The one method that is signed anew.
pub(super) const METHOD: &str = "AWS4-HMAC-SHA256";
pub(super) const DATE: HeaderName = HeaderName::from_static("x-amz-date");
pub(super) const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");
pub(super) const SESSION: HeaderName = HeaderName::from_static("x-amz-security-token");
/// The parameters of a signed link.
pub(super) const CREDENTIAL: &str = "X-Amz-Credential";
pub(super) const SIGNATURE: &str = "X-Amz-Signature";
pub(super) const SESSION_PARAMETER: &str = "X-Amz-Security-Token";
/// What stands for the digest of a body of which none is signed.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_CHUNKS: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_CHUNKS_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
/// The services whose clients escape a path once; those of all others escape it once more to sign it.
const ESCAPED_ONCE: [&str; 3] = ["s3", "s3-object-lambda", "s3-outposts"];
/// The longest life of a link.
const LONGEST_LINK: i64 = 7 * 24 * 3600;

/// A signature that a call has, not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// By which pair.
    pub id: String,
    /// Whether the signature is in the query: a signed link.
    pub is_link: bool,
    /// What the key was derived for.
    pub scope: Scope,
    /// When, as AWS writes it.
    pub time: String,
    /// The fields that it is over, in order.
    pub fields: Vec<HeaderName>,
    /// The signature.
    pub signature: String,
    /// What of the body is signed.
    pub payload: Payload,
}

/// What of a body is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Its digest, or what stands for one.
    Said(String),
    /// Each of its chunks, and perhaps what is behind the last.
    Chunks {
        /// Whether there is something behind the last.
        trailer: bool,
    },
    /// Its digest, which nothing says.
    Unsaid,
}

impl Claim {
    /// Reads the head of a call for the one signature that it has; `None` where it has none of AWS's.
    ///
    /// # Errors
    /// [`Unsigned`] where there is something of that kind, and it is not in force at this time, or cannot be read.
    pub fn read(headers: &HeaderMap, query: &str, now: Timestamp) -> Result<Option<Self>, Unsigned> {
        let pairs = canonical::pairs(query);
        let linked = pairs.as_ref().is_ok_and(|pairs| pairs.iter().any(|(name, _)| of_link(name)));
        let mut fields = headers
            .get_all(AUTHORIZATION)
            .iter()
            .filter(|value| value.as_bytes().get(..3).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"AWS")));
        let claim = match (fields.next(), fields.next(), linked) {
            (None, _, false) => return pairs.map(|_| None),
            (Some(value), None, false) if headers.get_all(AUTHORIZATION).iter().count() == 1 => {
                pairs?;
                let value = value.to_str().map_err(|_| Unsigned::Form("`Authorization` is not text"))?;
                Self::of_field(value, headers)?
            }
            (None, _, true) if !headers.contains_key(AUTHORIZATION) => Self::of_link(&pairs?, headers)?,
            _ => return Err(Unsigned::Form("there is more than one")),
        };
        claim.holds(query, now)?;
        Ok(Some(claim))
    }

    fn of_field(value: &str, headers: &HeaderMap) -> Result<Self, Unsigned> {
        let (method, rest) = value.split_once(' ').ok_or(Unsigned::Method)?;
        if method != METHOD {
            return Err(Unsigned::Method);
        }
        let mut found = [None; 3];
        for part in rest.split(',').map(str::trim_ascii) {
            let (name, value) = part.split_once('=').ok_or(Unsigned::Form("`Authorization` has a part without `=`"))?;
            let at = ["Credential", "SignedHeaders", "Signature"].iter().position(|known| *known == name);
            let at = at.ok_or(Unsigned::Form("`Authorization` has a part that is not known"))?;
            if found[at].replace(value).is_some() {
                return Err(Unsigned::Form("`Authorization` has a part twice"));
            }
        }
        let [Some(credential), Some(fields), Some(signature)] = found else {
            return Err(Unsigned::Form("`Authorization` lacks `Credential`, `SignedHeaders` or `Signature`"));
        };
        let time = only(headers, &DATE)?.ok_or(Unsigned::Form("there is no `X-Amz-Date`"))?;
        let payload = only(headers, &CONTENT)?.map_or(Ok(Payload::Unsaid), payload)?;
        Self::of_parts(false, credential, fields, signature, time, payload)
    }

    fn of_link(pairs: &Pairs, headers: &HeaderMap) -> Result<Self, Unsigned> {
        let parameter = |name: &str| {
            let mut values = pairs.iter().filter(|(own, _)| own == name.as_bytes()).map(|(_, value)| value);
            match (values.next(), values.next()) {
                (Some(value), None) => {
                    std::str::from_utf8(value).map_err(|_| Unsigned::Form("a parameter of the link is not text"))
                }
                (None, _) => Err(Unsigned::Form("the link lacks one of its parameters")),
                _ => Err(Unsigned::Form("the link has a parameter twice")),
            }
        };
        if parameter("X-Amz-Algorithm").map_err(|_| Unsigned::Method)? != METHOD {
            return Err(Unsigned::Method);
        }
        let [credential, fields, signature] = [CREDENTIAL, "X-Amz-SignedHeaders", SIGNATURE].map(parameter);
        let (time, credential) = (parameter("X-Amz-Date")?, credential?);
        let is_s3 = credential.split('/').nth(3).is_some_and(|service| ESCAPED_ONCE.contains(&service));
        let payload = match only(headers, &CONTENT)? {
            Some(said) => payload(said)?,
            None if is_s3 => Payload::Said(UNSIGNED.to_owned()),
            None => Payload::Unsaid,
        };
        if matches!(payload, Payload::Chunks { .. }) {
            return Err(Unsigned::Form("no chunk can be signed by a link"));
        }
        Self::of_parts(true, credential, fields?, signature?, time, payload)
    }

    fn of_parts(
        is_link: bool,
        credential: &str,
        fields: &str,
        signature: &str,
        time: &str,
        payload: Payload,
    ) -> Result<Self, Unsigned> {
        let (id, scope) = credential.split_once('/').ok_or(Unsigned::Form("`Credential` has no scope"))?;
        let scope = Scope::read(scope)?;
        if scope.service() == "s3express" {
            return Err(Unsigned::Express);
        }
        if !key::is_hex(signature) {
            return Err(Unsigned::Form("the signature is not 64 hexadecimal digits"));
        }
        let names: Vec<&str> = fields.split(';').collect();
        let sorted = names.windows(2).all(|two| two[0] < two[1]);
        if names.len() > limit::HEAD_FIELDS || !sorted || !names.contains(&"host") {
            return Err(Unsigned::Form("the signed fields are not in order, or `host` is not among them"));
        }
        let lower = |name: &&str| !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let fields = names.iter().filter(|name| lower(name)).filter_map(|name| name.parse().ok());
        let fields: Vec<HeaderName> = fields.collect();
        if fields.len() != names.len() {
            return Err(Unsigned::Form("a signed field is none"));
        }
        let (id, time, signature) = (id.to_owned(), time.to_owned(), signature.to_owned());
        Ok(Self { id, is_link, scope, time, fields, signature, payload })
    }

    /// Whether it was made for this time, and for the day that its key is for.
    fn holds(&self, query: &str, now: Timestamp) -> Result<(), Unsigned> {
        let read = DateTime::strptime("%Y%m%dT%H%M%SZ", &self.time).ok();
        let read = read.filter(|_| self.time.len() == 16 && self.time.starts_with(self.scope.parts()[0]));
        let time = read.and_then(|time| TimeZone::UTC.to_timestamp(time).ok());
        let time = time.ok_or(Unsigned::Form("its date is none, or not the day of its scope"))?;
        let life = if self.is_link { link_life(query)? } else { limit::SIGNATURE_SKEW };
        let ahead = time.duration_since(now) <= limit::SIGNATURE_SKEW;
        (ahead && now.duration_since(time) <= life).then_some(()).ok_or(Unsigned::Time)
    }

    /// Whether its path is signed as it is escaped to be sent.
    pub(super) fn escapes_once(&self) -> bool {
        ESCAPED_ONCE.contains(&self.scope.service())
    }
}

fn link_life(query: &str) -> Result<SignedDuration, Unsigned> {
    let pairs = canonical::pairs(query)?;
    let mut said = pairs.iter().filter(|(name, _)| name == b"X-Amz-Expires").map(|(_, value)| value);
    let seconds = said.next().filter(|_| said.next().is_none()).and_then(|value| std::str::from_utf8(value).ok());
    let seconds =
        seconds.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
    match seconds {
        Some(seconds @ 1..=LONGEST_LINK) => Ok(SignedDuration::from_secs(seconds)),
        _ => Err(Unsigned::Form("`X-Amz-Expires` is not 1 to 604800 seconds")),
    }
}

/// Whether a parameter says that its link is signed, by whatever method.
fn of_link(name: &[u8]) -> bool {
    ["X-Amz-Algorithm", CREDENTIAL, SIGNATURE, "AWSAccessKeyId"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Unsigned> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Unsigned::Form("a field of AWS is not text")),
        _ => Err(Unsigned::Form("a field of AWS comes twice")),
    }
}

fn payload(said: &str) -> Result<Payload, Unsigned> {
    match said {
        SIGNED_CHUNKS => Ok(Payload::Chunks { trailer: false }),
        SIGNED_CHUNKS_TRAILER => Ok(Payload::Chunks { trailer: true }),
        UNSIGNED | UNSIGNED_CHUNKS => Ok(Payload::Said(said.to_owned())),
        digest if key::is_hex(digest) => Ok(Payload::Said(said.to_owned())),
        _ => Err(Unsigned::Form("`x-amz-content-sha256` is no digest, and no way to sign that is known")),
    }
}

impl Payload {
    /// As it is signed; `None` where it is not known yet.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Said(text) => Some(text),
            Self::Chunks { trailer: false } => Some(SIGNED_CHUNKS),
            Self::Chunks { trailer: true } => Some(SIGNED_CHUNKS_TRAILER),
            Self::Unsaid => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                          SignedHeaders=content-type;host, \
                          Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
    const LINK: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&\
                        X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fs3%2Faws4_request&\
                        X-Amz-Date=20150830T123600Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&\
                        X-Amz-Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";

    fn at(time: &str) -> Timestamp {
        format!("2015-08-30T{time}Z").parse().unwrap()
    }

    fn head(authorization: &str) -> HeaderMap {
        let text = |text: &str| HeaderValue::from_str(text).unwrap();
        HeaderMap::from_iter([(AUTHORIZATION, text(authorization)), (DATE, text("20150830T123600Z"))])
    }

    fn read(authorization: &str) -> Result<Claim, Unsigned> {
        Claim::read(&head(authorization), "", at("12:36:00")).map(Option::unwrap)
    }

    #[test]
    fn a_signature_in_a_field_and_one_in_a_link() {
        let claim = read(SIGNED).unwrap();
        assert_eq!((&*claim.id, claim.scope.parts()), ("AKIDEXAMPLE", ["20150830", "us-east-1", "iam"]));
        assert_eq!((claim.fields.len(), claim.is_link, claim.payload), (2, false, Payload::Unsaid));
        assert_eq!(read(&SIGNED.replace(", ", ",")).unwrap().id, "AKIDEXAMPLE");
        let claim = Claim::read(&HeaderMap::new(), LINK, at("13:30:00")).unwrap().unwrap();
        assert_eq!((claim.is_link, claim.payload), (true, Payload::Said("UNSIGNED-PAYLOAD".into())));
        assert!(claim.scope.to_string().ends_with("/s3/aws4_request"));
        assert_eq!(Claim::read(&HeaderMap::new(), "a=b", at("12:36:00")), Ok(None));
    }

    #[test]
    fn it_holds_for_a_quarter_of_an_hour_and_a_link_for_as_long_as_it_says() {
        for (now, holds) in [("12:21:00", true), ("12:20:59", false), ("12:51:00", true), ("12:51:01", false)] {
            assert_eq!(Claim::read(&head(SIGNED), "", at(now)).is_ok(), holds, "{now}");
        }
        for (now, holds) in [("12:21:00", true), ("12:20:59", false), ("13:36:00", true), ("13:36:01", false)] {
            assert_eq!(Claim::read(&HeaderMap::new(), LINK, at(now)).is_ok(), holds, "{now}");
        }
        let other_day = SIGNED.replace("20150830", "20150829");
        assert!(matches!(read(&other_day), Err(Unsigned::Form(_))));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (from, to) in [
            ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            ("AWS4-HMAC-SHA256", "aws4-hmac-sha256"),
            ("Credential=", "Credentials="),
            ("SignedHeaders=", "Signature=0, SignedHeaders="),
            ("content-type;host", "host;content-type"),
            ("content-type;host", "content-type"),
            ("content-type;host", "host;host"),
            ("content-type;host", "Content-Type;host"),
            ("content-type;host", "host;x y"),
            ("content-type;host", ""),
            ("Signature=5d", "Signature=5D"),
            ("Signature=5d", "Signature=d"),
            ("/iam/", "/s3express/"),
            ("/iam/", "/"),
            ("us-east-1", "us east"),
            ("us-east-1", ""),
            ("aws4_request", "aws5_request"),
            ("20150830/", "2015083x/"),
            (", Signature", ", more, Signature"),
        ] {
            assert!(read(&SIGNED.replacen(from, to, 1)).is_err(), "{from} → {to}");
        }
        for (from, to) in [
            ("&X-Amz-Expires=3600", ""),
            ("=3600", "=604801"),
            ("=3600", "=0"),
            ("=3600", "=%2B1"),
            ("X-Amz-Date=20150830T123600Z", "X-Amz-Date=20150830T123600Z&X-Amz-Date=20150830T123600Z"),
            ("X-Amz-Credential", "x-amz-credential"),
            ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""),
            ("%2Fs3%2F", "%zz"),
        ] {
            assert!(
                Claim::read(&HeaderMap::new(), &LINK.replacen(from, to, 1), at("12:36:00")).is_err(),
                "{from} → {to}"
            );
        }
        assert!(Claim::read(&head(SIGNED), LINK, at("12:36:00")).is_err(), "both at once");
        let mut twice = head(SIGNED);
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert!(Claim::read(&twice, "", at("12:36:00")).is_err());
        assert!(Claim::read(&head("AWS AKID:c2ln"), "", at("12:36:00")).is_err(), "version 2");
        assert!(Claim::read(&HeaderMap::new(), "AWSAccessKeyId=A&Signature=B&Expires=1", at("12:36:00")).is_err());
    }

    proptest! {
        #[test]
        fn any_head_is_read_or_refused(
            value in "(AWS4-HMAC-SHA256 )?[A-Za-z0-9/=;, -]{0,80}", query in "[A-Za-z0-9%=&-]{0,60}",
        ) {
            let _ = Claim::read(&head(&value), &query, at("12:36:00"));
        }

        #[test]
        fn what_is_read_says_what_was_written(
            id in "[A-Z0-9]{1,30}", region in "[a-z0-9-]{1,20}", service in "[a-z0-9-]{1,20}",
        ) {
            let text = SIGNED.replace("AKIDEXAMPLE", &id).replace("us-east-1", &region);
            let text = text.replace("/iam/", &format!("/{service}/"));
            if let Ok(claim) = read(&text) {
                prop_assert_eq!(claim.id, id);
                prop_assert_eq!(claim.scope.parts(), ["20150830", &*region, &*service]);
            }
        }
    }
}
