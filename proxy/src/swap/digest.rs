//! The fields that say what a body is by its digest.
//!
//! Enters: a head or trailers. Leaves: whether they do. Never: a digest mended; only its sender can say what it was of.

use http::{HeaderMap, HeaderName, HeaderValue};

/// RFC 9530, RFC 3230, RFC 1864, and what object stores have.
const FIELDS: [&str; 8] = [
    "content-digest",
    "repr-digest",
    "digest",
    "content-md5",
    "x-amz-content-sha256",
    "x-goog-hash",
    "x-ms-content-crc64",
    "x-ms-blob-content-md5",
];
const FAMILY: &str = "x-amz-checksum-";
/// Where a digest of the body would stand, and says that there is none.
const NONE: &[u8] = b"UNSIGNED-PAYLOAD";

pub(super) fn is_among(fields: &HeaderMap) -> bool {
    let tells = |(name, value): (&HeaderName, &HeaderValue)| {
        (FIELDS.contains(&name.as_str()) || name.as_str().starts_with(FAMILY)) && value.as_bytes() != NONE
    };
    fields.iter().any(tells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_known_and_what_says_that_there_is_none_is_no_digest() {
        let among = |name, value| {
            is_among(&HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]))
        };
        for name in ["content-digest", "content-md5", "x-amz-content-sha256", "x-amz-checksum-crc32c"] {
            assert!(among(name, "x"), "{name}");
        }
        assert!(!among("x-amz-content-sha256", "UNSIGNED-PAYLOAD"));
        assert!(!among("content-type", "x"));
    }
}
