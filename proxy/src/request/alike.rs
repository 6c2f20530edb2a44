//! Fields whose name another server may read as another's.
//!
//! Enters: the fields of a head, or those behind a body. Leaves: a refusal where one is spelt so that CGI, WSGI and what was made like them,
//! which know a field as `HTTP_X_REAL_IP`, take it for one by which a request is framed, routed, signed or called for, or for another that is there as
//! well. Never: a name changed, or one refused that nobody could take for another: `api_key` is what some servers ask for.

use http::header::{CONNECTION, HeaderMap, HeaderName};

use crate::error::Refusal;

/// What exeat, or a server behind it, goes by. The names that have no hyphen (`Host`, `Authorization`, `TE`) have one spelling only.
const RELIED_ON: [&str; 8] = [
    "accept-encoding",
    "http2-settings",
    "if-range",
    "keep-alive",
    "request-range",
    "x-goog-hash",
    "x-ms-range",
    "x-real-ip",
];

/// The same of all that begin so.
const FAMILIES: [&str; 9] =
    ["connect-", "content-", "grpc-", "mcp-", "proxy-", "sec-websocket-", "transfer-", "x-amz-", "x-forwarded-"];

/// Looks at each name in which there is more than letters, digits and hyphens.
///
/// # Errors
/// [`Refusal::Malformed`].
pub(crate) fn one_reading(headers: &HeaderMap) -> Result<(), Refusal> {
    for name in headers.keys().filter(|name| name.as_str().bytes().any(|byte| read(byte) != byte)) {
        let meant: String = name.as_str().bytes().map(|byte| char::from(read(byte))).collect();
        let of_a_family = || FAMILIES.iter().any(|family| meant.starts_with(family));
        let another = || headers.keys().any(|other| other != name && same(other, &meant));
        if RELIED_ON.contains(&&*meant) || of_a_family() || another() || one_hop(headers, &meant) {
            return Err(Refusal::Malformed(format!(
                "`{name}`, which some servers read as `{meant}`: write it so, or leave it out"
            )));
        }
    }
    Ok(())
}

/// Whether some server takes the one name for the other.
pub(crate) fn same(name: &HeaderName, other: &str) -> bool {
    let read_both = |(one, other): (u8, u8)| read(one) == read(other.to_ascii_lowercase());
    name.as_str().len() == other.len() && name.as_str().bytes().zip(other.bytes()).all(read_both)
}

/// Whether some server takes the end of the name for this one.
pub(super) fn ends(name: &HeaderName, end: &str) -> bool {
    let read_both = |(one, other): (u8, u8)| read(one) == read(other);
    name.as_str().len() >= end.len() && name.as_str().bytes().rev().zip(end.bytes().rev()).all(read_both)
}

/// What of a name is a letter or a digit stays; anything else is one and the same character to whoever makes a variable of it.
fn read(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte } else { b'-' }
}

/// Whether `Connection` names it, so that it would have gone no further.
fn one_hop(headers: &HeaderMap, meant: &str) -> bool {
    let named = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let mut named = named.map(<[u8]>::trim_ascii);
    named.any(|one| HeaderName::from_bytes(one).is_ok_and(|one| same(&one, meant)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn head(names: &[&str]) -> HeaderMap {
        let field = |name: &&str| (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
        names.iter().map(field).collect()
    }

    /// As RFC 3875 has it, and lighttpd, PHP and WSGI servers do it.
    fn variable(name: &str) -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        name.chars().map(letter).collect()
    }

    #[test]
    fn what_could_be_taken_for_another_is_refused_and_nothing_else() {
        for name in ["transfer_encoding", "content_length", "content.type", "x_forwarded_for", "proxy_authorization"] {
            assert!(one_reading(&head(&["accept", name])).is_err(), "{name}");
        }
        assert!(one_reading(&head(&["x-api-key", "x_api_key"])).is_err());
        assert!(one_reading(&head(&["x.api_key", "x_api_key"])).is_err());
        assert!(one_reading(&head(&["x-api-key", "api_key", "access_token", "x.other", "content-type"])).is_ok());
        let mut named = head(&["x_inner"]);
        assert!(one_reading(&named).is_ok());
        named.insert(CONNECTION, HeaderValue::from_static("close, X-Inner"));
        assert!(one_reading(&named).is_err());
    }

    proptest! {
        /// What passes gives a server that makes variables of names no two of one name, and none that is relied on but by its own name.
        #[test]
        fn a_server_that_makes_variables_of_names_reads_what_was_judged(
            names in prop::collection::hash_set("(transfer|content|x|keep|proxy)?[-_.~a]?(encoding|length|a|alive|forwarded|authorization)([-_.!]for)?", 1..8),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
            if one_reading(&head(&names)).is_ok() {
                let mut variables: Vec<String> = names.iter().map(|name| variable(name)).collect();
                variables.sort();
                let all = variables.len();
                variables.dedup();
                prop_assert_eq!(variables.len(), all);
                for name in names {
                    for relied_on in ["transfer-encoding", "content-length", "keep-alive", "proxy-authorization", "x-forwarded-for"] {
                        prop_assert!(variable(name) != variable(relied_on) || name == relied_on, "{}", name);
                    }
                }
            }
        }
    }
}
