//! How a call gets a credential for which the agent sent none.
//!
//! Enters: `inject` of a credential. Leaves: a header field and its value around a placeholder, as though the agent had sent that; the
//! rest is a swap like any other. Never: a field that frames or routes a request.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::error::{Malformed, quoted};
use crate::placeholder::Placeholder;
use crate::text::travels_as_text;

/// Fields that concern one hop, or say where a request goes and how long it is.
const NOT_FOR_THIS: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
const HINT: &str = "write `true` for `Authorization: Bearer`, or `\"X-Api-Key\"`, `\"Authorization: token\"`, `\"Authorization: Basic USER\"`";

/// A header field with a credential in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    header: String,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// The credential alone.
    Bare,
    /// Behind a scheme, as `Bearer`.
    Scheme(String),
    /// As the password of a user.
    Basic(String),
}

impl Default for Injection {
    /// `Authorization: Bearer`.
    fn default() -> Self {
        Self { header: "authorization".to_owned(), form: Form::Scheme("Bearer".to_owned()) }
    }
}

impl Injection {
    /// The field's name, in lower case.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The field's value with the placeholder in it.
    pub fn value(&self, placeholder: &Placeholder) -> String {
        match &self.form {
            Form::Bare => placeholder.value().to_owned(),
            Form::Scheme(scheme) => format!("{scheme} {}", placeholder.value()),
            Form::Basic(user) => format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", placeholder.value()))),
        }
    }

    /// The place that a grant has to list for it.
    pub(crate) fn place(&self) -> &'static str {
        if matches!(self.form, Form::Basic(_)) { "basic" } else { "header" }
    }
}

impl std::str::FromStr for Injection {
    type Err = Malformed;

    /// `Header`, `Header: Scheme`, or `Authorization: Basic USER`.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let refused = || Malformed::new(format!("{} is no form of a header field", quoted(text)), HINT);
        let (header, form) = text.split_once(": ").map_or((text, None), |(header, form)| (header, Some(form)));
        let header = header.to_ascii_lowercase();
        if header.len() > 64 || !is_token(&header) {
            return Err(refused());
        }
        if NOT_FOR_THIS.contains(&&*header) {
            let reason = format!("`{header}` frames or routes a request, or concerns one hop only");
            return Err(Malformed::new(reason, HINT));
        }
        let form = match form.map(|form| form.split_once(' ').unwrap_or((form, ""))) {
            None => Form::Bare,
            Some((scheme, user)) if scheme.eq_ignore_ascii_case("basic") && header == "authorization" => {
                Form::Basic(parse_user(user)?)
            }
            Some((scheme, "")) if is_token(scheme) => Form::Scheme(scheme.to_owned()),
            Some(_) => return Err(refused()),
        };
        Ok(Self { header, form })
    }
}

impl std::fmt::Display for Injection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.form {
            Form::Bare => f.write_str(&self.header),
            Form::Scheme(scheme) => write!(f, "{}: {scheme}", self.header),
            Form::Basic(user) => write!(f, "{}: Basic {user}", self.header),
        }
    }
}

travels_as_text!(Injection);

/// Field names and schemes (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A user beside a placeholder, in Basic and in files: without what would end it or have to be escaped in one of them.
pub(crate) fn parse_user(text: &str) -> Result<String, Malformed> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=@$".contains(&b);
    if text.is_empty() || text.len() > 128 || !text.bytes().all(plain) {
        let hint = "a user has 1 to 128 letters, digits, and `-._~+/=@$`";
        return Err(Malformed::new(format!("{} is not a user's name", quoted(text)), hint));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_servers_know() {
        let value = |form: &str| {
            let injection: Injection = form.parse().unwrap();
            assert_eq!(injection.to_string().parse::<Injection>().unwrap(), injection);
            format!("{}: {}", injection.header(), injection.value(&Placeholder::from_value("p".into())))
        };
        assert_eq!(value("Authorization: Bearer"), "authorization: Bearer p");
        assert_eq!(value("X-Api-Key"), "x-api-key: p");
        assert_eq!(value("Authorization: token"), "authorization: token p");
        assert_eq!(value("Authorization: Basic bot"), "authorization: Basic Ym90OnA=");
        assert_eq!("Authorization: Bearer".parse::<Injection>().unwrap(), Injection::default());
    }

    #[test]
    fn what_is_no_form_of_a_field_is_refused() {
        for text in [
            "",
            "Host",
            "content-length",
            "a b",
            "Ä",
            "X: ",
            "X: a b",
            "Authorization: Basic",
            "X\r\nY",
            "X: Bearer\n",
            "Authorization: Basic a:b",
        ] {
            assert!(text.parse::<Injection>().is_err(), "{text:?} was taken");
        }
    }
}
