//! The key of one day, one region and one service, and what it signs.
//!
//! Enters: a secret access key and a scope; then texts. Leaves: signatures, and whether one is right. Never: a comparison that takes longer
//! for a better guess; the secret itself, kept.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use super::Scope;

/// A signature, or a digest, in hexadecimal digits.
pub(super) type Hex = String;

/// A derived key.
pub struct Key(hmac::Key);

impl Key {
    /// The key for `scope`.
    pub fn derive(secret: &str, scope: &Scope) -> Self {
        let first = Zeroizing::new([b"AWS4", secret.as_bytes()].concat());
        let [day, region, service] = scope.parts();
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, &first);
        for part in [day, region, service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        Self(key)
    }

    /// The signature of a text, in hexadecimal digits.
    pub fn sign(&self, text: &[u8]) -> String {
        hex(hmac::sign(&self.0, text).as_ref())
    }

    /// Whether `signature` is that of a text.
    pub fn verifies(&self, text: &[u8], signature: &str) -> bool {
        verify_slices_are_equal(self.sign(text).as_bytes(), signature.as_bytes()).is_ok()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Hex {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> Hex {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Whether a text is a digest or a signature as these are written.
pub(super) fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_aws_derives_in_its_documents() {
        let scope = Scope::read("20150830/us-east-1/iam/aws4_request").unwrap();
        let key = Key::derive("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &scope);
        let text = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                    f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        let signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert_eq!(key.sign(text.as_bytes()), signature);
        assert!(key.verifies(text.as_bytes(), signature));
        for wrong in ["", &signature[..63], &signature.to_uppercase(), &signature.replace('5', "6")] {
            assert!(!key.verifies(text.as_bytes(), wrong), "{wrong}");
        }
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
