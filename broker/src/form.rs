//! The encodings that OAuth 2.0 asks of a client: `application/x-www-form-urlencoded`, its Basic credentials, a bearer's access.
//!
//! Enters: names and values, secrets among them. Leaves: bytes that are zeroised when dropped. It decodes nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::secret::{Secret, sensitive_header, zeroising_bytes};

/// What the form encoding leaves as it is besides letters and digits. The space becomes `+`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');

/// A form in the making.
#[derive(Default)]
pub(crate) struct Form(Zeroizing<String>);

impl Form {
    /// Adds a field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Form {
        let mut grown = Zeroizing::new(String::with_capacity(self.0.len() + 2 + name.len() + 3 * value.len()));
        grown.push_str(&self.0);
        if !grown.is_empty() {
            grown.push('&');
        }
        encode_into(&mut grown, name);
        grown.push('=');
        encode_into(&mut grown, value);
        self.0 = grown;
        self
    }

    /// Adds a field that may be absent.
    pub(crate) fn with_option(self, name: &str, value: Option<&str>) -> Form {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The form as a request's body.
    pub(crate) fn into_body(mut self) -> Bytes {
        zeroising_bytes(std::mem::take(&mut *self.0).into_bytes())
    }
}

/// `client_secret_basic`: RFC 6749 §2.3.1 encodes both parts as a form does *before* they are joined by a colon.
pub(crate) fn basic(client_id: &str, client_secret: &str) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(String::with_capacity(3 * (client_id.len() + client_secret.len()) + 1));
    encode_into(&mut pair, client_id);
    pair.push(':');
    encode_into(&mut pair, client_secret);
    let mut header = String::with_capacity(6 + pair.len().div_ceil(3) * 4);
    header.push_str("Basic ");
    STANDARD.encode_string(pair.as_bytes(), &mut header);
    sensitive_header(header.into_bytes())
}

/// An access token as its bearer shows it (RFC 6750 §2.1). `None`: no header takes it.
pub(crate) fn bearer(access: &Secret) -> Option<HeaderValue> {
    let mut header = String::with_capacity("Bearer ".len() + access.expose().len());
    header.push_str("Bearer ");
    header.push_str(access.expose());
    sensitive_header(header.into_bytes())
}

fn encode_into(into: &mut String, text: &str) {
    for piece in utf8_percent_encode(text, ENCODED) {
        for (index, word) in piece.split(' ').enumerate() {
            if index > 0 {
                into.push('+');
            }
            into.push_str(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    fn decode(text: &str) -> String {
        percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
    }

    #[test]
    fn the_form_of_the_standard() {
        let form = Form::default().with("a b", "c&d=é").with_option("none", None).with("e", "*-._~");
        assert_eq!(form.into_body(), "a+b=c%26d%3D%C3%A9&e=*-._%7E");
        assert_eq!(basic("a:b", "c d").unwrap(), format!("Basic {}", STANDARD.encode("a%3Ab:c+d")).as_str());
    }

    proptest! {
        #[test]
        fn a_form_decodes_to_what_went_in(name in ".{0,40}", value in ".{0,200}") {
            let body = Form::default().with("first", "1").with(&name, &value).into_body();
            let text = std::str::from_utf8(&body).unwrap();
            let fields: Vec<_> = text.split('&').collect();
            prop_assert_eq!(fields.len(), 2);
            let (n, v) = fields[1].split_once('=').unwrap();
            prop_assert_eq!((decode(n), decode(v)), (name, value));
        }

        #[test]
        fn basic_has_one_colon_and_decodes_to_what_went_in(id in ".{0,60}", secret in ".{0,200}") {
            let header = basic(&id, &secret).unwrap();
            prop_assert!(header.is_sensitive());
            let pair = STANDARD.decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
            let pair = String::from_utf8(pair).unwrap();
            let (i, s) = pair.split_once(':').unwrap();
            prop_assert_eq!((decode(i), decode(s)), (id, secret));
        }
    }
}
