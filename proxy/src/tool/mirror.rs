//! The header fields in which newer clients repeat what their message says.
//!
//! Enters: the head, and what the body was judged to ask for. Leaves: nothing, where they agree. Never: a field that could send
//! a server, or what stands before it, another way than the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::objection::Why;

const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// Whether `Mcp-Method` and `Mcp-Name`, where they are there, say what the body says. What is `None` may not be repeated.
pub(super) fn agrees(headers: &HeaderMap, (method, subject): (Option<&str>, Option<&str>)) -> Result<(), Why> {
    for (field, said) in [(METHOD, method), (NAME, subject)] {
        let mut values = headers.get_all(field).iter();
        let Some(value) = values.next() else { continue };
        let same = said.is_some_and(|said| value.as_bytes() == said.as_bytes() || wrapped(value.as_bytes(), said));
        if !same || values.next().is_some() {
            return Err(Why::shape(&format!("the header `{field}` says something else than the body")));
        }
    }
    Ok(())
}

/// `=?base64?…?=`, for what is no header text.
fn wrapped(value: &[u8], said: &str) -> bool {
    let inner = value.strip_prefix(b"=?base64?").and_then(|rest| rest.strip_suffix(b"?="));
    inner.is_some_and(|inner| inner == STANDARD.encode(said).as_bytes())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn agree(fields: &[(&'static str, &'static str)], said: (Option<&str>, Option<&str>)) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        agrees(&headers, said).is_ok()
    }

    #[test]
    fn what_is_repeated_is_the_same() {
        let call = (Some("tools/call"), Some("search"));
        assert!(agree(&[], call));
        assert!(agree(&[(METHOD, "tools/call"), (NAME, "search")], call));
        assert!(agree(&[(NAME, "=?base64?c2VhcmNo?=")], call));
        assert!(!agree(&[(METHOD, "ping")], call));
        assert!(!agree(&[(NAME, "delete")], call));
        assert!(!agree(&[(NAME, "search"), (NAME, "search")], call));
        assert!(!agree(&[(NAME, "=?base64?ZGVsZXRl?=")], call));
        assert!(!agree(&[(METHOD, "tools/call")], (None, None)));
    }
}
