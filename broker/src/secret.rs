//! A value that cannot be printed by accident.
//!
//! Enters: the text of a secret, once. Leaves: the text, through [`Secret::expose`] only, so that one search finds every
//! place where a secret is read. It has no `Display`, `Serialize`, `Deref` or `Clone`; what shares one shares an `Arc`.
//! Its own copy is zeroised when dropped; copies that a library makes in its buffers are not within its reach.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

/// A secret text.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; no copy is left behind.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself. Every use of a secret is a call of this.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Bytes that are zeroised when the last clone of them is dropped: a request's body that holds a secret.
pub(crate) fn zeroising_bytes(bytes: Vec<u8>) -> Bytes {
    struct Owner(Zeroizing<Vec<u8>>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Owner(Zeroizing::new(bytes)))
}

/// A header value that hyper neither prints nor puts into a compression table. `None`: not fit for a header.
pub(crate) fn sensitive_header(text: Vec<u8>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(zeroising_bytes(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(..)");
        assert_eq!(format!("{:#?}", Some(Secret::new("hunter2"))).replace([' ', '\n'], ""), "Some(Secret(..),)");
    }

    #[test]
    fn a_sensitive_header_carries_the_text_and_does_not_print_it() {
        let header = sensitive_header(b"Basic aHVudGVyMg==".to_vec()).unwrap();
        assert_eq!(header.as_bytes(), b"Basic aHVudGVyMg==");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert!(sensitive_header(b"a\nb".to_vec()).is_none());
    }
}
