//! A request's method.
//!
//! Enters: a method as written or sent. Leaves: an upper-case RFC 9110 method name. Never: a lower-case one, which HTTP
//! holds to be a different method and some servers do not.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::{Malformed, quoted};
use crate::text::travels_as_text;

/// The longest method registered with IANA has 17 characters.
const MAX_METHOD: usize = 32;

/// A method, upper case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(Cow<'static, str>);

/// Those that nearly every request has: reading and repeating them costs no allocation.
const USUAL: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

impl Method {
    /// The method as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Method> for Cow<'static, str> {
    fn from(method: Method) -> Self {
        method.0
    }
}

impl FromStr for Method {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if let Some(usual) = USUAL.into_iter().find(|usual| *usual == text) {
            return Ok(Self(Cow::Borrowed(usual)));
        }
        let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if (1..=MAX_METHOD).contains(&text.len()) && text.bytes().all(|b| tchar(b) && !b.is_ascii_lowercase()) {
            return Ok(Self(Cow::Owned(text.to_owned())));
        }
        let hint = "methods are written in capitals: `GET`, `POST`; leave `methods` out to mean all of them";
        Err(Malformed::new(format!("{} is not a method", quoted(text)), hint))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

travels_as_text!(Method);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_upper_case_and_bounded() {
        for text in ["GET", "PATCH", "M-SEARCH", "VERSION-CONTROL", "UPDATEREDIRECTREF"] {
            assert_eq!(text.parse::<Method>().unwrap().as_str(), text);
        }
        for text in ["", "get", "Get", "GE T", "GET\r\n", "GÉT", "GET/", &"A".repeat(33)] {
            assert!(text.parse::<Method>().is_err(), "{text:?} was taken");
        }
    }
}
