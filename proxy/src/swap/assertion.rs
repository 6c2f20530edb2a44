//! Access that is asked for by an assertion (RFC 7523), signed with a key that was made for the sandbox and is good for nothing.
//!
//! Enters: the head of a call, then its form. Leaves: the placeholder of the access that the credential is. Never: an answer to an assertion
//! that names another key than this worker's, which nobody else can know.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use config::{CredentialName, Part, Placeholder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode;
use serde::Deserialize;

use super::{Head, Swap};

const GRANT_TYPE: &[u8] = b"urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Which access may be asked for with which key.
#[derive(Debug, Clone)]
pub struct Asserted {
    credential: CredentialName,
    access: Placeholder,
    key_id: Placeholder,
}

/// Of a JWT's head, what says which key it is signed with.
#[derive(Deserialize)]
struct JwtHead {
    kid: String,
}

impl Swap {
    /// What an assertion in the body behind `head` would ask for; `None` where none is expected.
    pub fn asserted(&self, head: &Head<'_>) -> Option<Asserted> {
        let form = head.headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
        if !form.eq_ignore_ascii_case("application/x-www-form-urlencoded")
            || head.headers.contains_key(CONTENT_ENCODING)
        {
            return None;
        }
        let grants = &self.0.grants;
        let (grant, access) = grants.iter().find(|(grant, _)| {
            head.permitted == Some(grant.credential())
                && grant.allows(head.destination)
                && grant.asserts_at(head.destination, head.path)
        })?;
        let is_its_id = |(other, _): &&(_, _)| is_id_of(other, grant.credential());
        let (_, key_id) = grants.iter().find(is_its_id)?;
        Some(Asserted { credential: grant.credential().clone(), access: access.clone(), key_id: key_id.clone() })
    }
}

fn is_id_of(grant: &config::Grant, credential: &CredentialName) -> bool {
    grant.part() == Part::Id && grant.credential() == credential
}

impl Asserted {
    /// Whose access it is.
    pub fn credential(&self) -> &CredentialName {
        &self.credential
    }

    /// The placeholder for it.
    pub fn access(&self) -> &Placeholder {
        &self.access
    }

    /// Whether a form has one assertion by this worker's key.
    pub fn is_in(&self, form: &[u8]) -> bool {
        let only = |name: &[u8]| {
            let mut values = form.split(|&byte| byte == b'&').filter_map(|pair| pair.strip_prefix(name));
            values.next().filter(|_| values.next().is_none()).map(|value| percent_decode(value).collect::<Vec<u8>>())
        };
        let key_id = |assertion: Vec<u8>| {
            let head = assertion.split(|&byte| byte == b'.').next().map(<[u8]>::to_vec)?;
            let head: JwtHead = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
            Some(head.kid)
        };
        only(b"grant_type=").as_deref() == Some(GRANT_TYPE)
            && only(b"assertion=").and_then(key_id).as_deref() == Some(self.key_id.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_assertion_by_the_workers_own_key() {
        let key_id = Placeholder::from_value("0123abc".into());
        let access = Placeholder::from_value("ya29.x".into());
        let asserted = Asserted { credential: "google".parse().unwrap(), access, key_id };
        let jwt = |head: &str| format!("{}.e30.c2ln", BASE64_URL_SAFE_NO_PAD.encode(head));
        let form = |grant_type: &str, jwt: &str| format!("grant_type={grant_type}&assertion={jwt}");
        let ours = jwt("{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"0123abc\"}");
        let bearer = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        assert!(asserted.is_in(form(bearer, &ours).as_bytes()));
        for other in [
            form("client_credentials", &ours),
            form(bearer, &jwt("{\"kid\":\"0123abd\"}")),
            form(bearer, &jwt("{\"alg\":\"RS256\"}")),
            form(bearer, "0123abc"),
            form(bearer, &format!("{ours}&assertion={ours}")),
            ours,
            String::new(),
        ] {
            assert!(!asserted.is_in(other.as_bytes()), "{other}");
        }
    }
}
