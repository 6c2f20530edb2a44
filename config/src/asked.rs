//! A call that somebody asks about: before it is made, or long after.
//!
//! Enters: a method and a URL, or what a log has of a call. Leaves: what a policy says to it, as a connection first and then as a call
//! over it, as the proxy does. Never: a look-up or a body; what is decided of those is decided when a call is made.

use std::fmt;
use std::str::FromStr;

use crate::agent::CredentialName;
use crate::decision::{CallFacts, CallPermit, Scheme, TunnelPermit};
use crate::denial::Denial;
use crate::destination::Destination;
use crate::error::{Malformed, quoted};
use crate::method::Method;
use crate::path::NormalPath;
use crate::policy::Policy;
use crate::protocol::Protocol;
use crate::rule::{RuleId, TlsMode};

/// A call as somebody asks about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    method: Method,
    scheme: Scheme,
    destination: Destination,
    path: NormalPath,
}

/// What an asked call would go by.
#[derive(Debug)]
#[must_use = "it says whether the call may be made"]
pub enum Permit {
    /// Each request is judged.
    Call(CallPermit),
    /// Its connection passes unread.
    Unread(TunnelPermit),
}

impl Permit {
    /// The rule that allows it.
    pub fn rule(&self) -> &RuleId {
        match self {
            Self::Call(permit) => permit.rule(),
            Self::Unread(permit) => permit.rule(),
        }
    }

    /// The credential that the rule puts in.
    pub fn credential(&self) -> Option<&CredentialName> {
        match self {
            Self::Call(permit) => permit.credential(),
            Self::Unread(_) => None,
        }
    }

    /// What of its body the rule lets through, where it looks into bodies.
    pub fn protocol(&self) -> Option<&Protocol> {
        match self {
            Self::Call(permit) => permit.protocol(),
            Self::Unread(_) => None,
        }
    }
}

impl Asked {
    /// A call of these parts.
    pub fn new(method: Method, scheme: Scheme, destination: Destination, path: NormalPath) -> Self {
        Self { method, scheme, destination, path }
    }

    /// Reads a URL. One without a scheme is of HTTPS; query and fragment count for nothing.
    pub fn of_url(method: Method, url: &str) -> Result<Self, Malformed> {
        let wrong = |why: &str, hint: &str| Malformed::new(format!("{} is not a call: {why}", quoted(url)), hint);
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some((other, _)) => {
                let hint = "write https://… or http://…; of any other protocol only host and port are judged: `https://HOST:PORT`";
                return Err(wrong(&format!("{} is not HTTP", quoted(other)), hint));
            }
            None => (Scheme::Https, url),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = path.split(['?', '#']).next().filter(|path| !path.is_empty()).unwrap_or("/");
        let destination = Destination::parse_authority(authority, scheme.default_port())
            .map_err(|malformed| wrong(&malformed.to_string(), malformed.hint()))?;
        let path = NormalPath::parse(path)
            .map_err(|error| wrong(&error.to_string(), "such a call is answered with 400, whatever the policy says"))?;
        Ok(Self { method, scheme, destination, path })
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Where it goes.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The path, in its normal form.
    pub fn path(&self) -> &NormalPath {
        &self.path
    }

    /// What the policy says to it.
    ///
    /// # Errors
    /// The denial.
    pub fn judged(&self, policy: &Policy) -> Result<Permit, Denial> {
        let Self { method, scheme, destination, path } = self;
        let facts = CallFacts { destination, scheme: *scheme, method, path };
        let permit = policy.connect(destination).map_err(|denial| denial.of(&facts))?;
        let unread =
            permit.mode() == TlsMode::Tcp || (permit.mode() == TlsMode::Passthrough && *scheme == Scheme::Https);
        match permit.tunnel().filter(|_| unread) {
            Some(tunnel) => Ok(Permit::Unread(tunnel)),
            None => policy.call(&facts).map(Permit::Call),
        }
    }
}

impl FromStr for Asked {
    type Err = Malformed;

    /// A method and a URL, with a space between them.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let hint = "write a method and a URL: \"GET https://api.example.com/path\"";
        let Some((method, url)) = text.trim().split_once(' ') else {
            return Err(Malformed::new(format!("{} is not a method and a URL", quoted(text)), hint));
        };
        Self::of_url(method.parse()?, url.trim_start())
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, scheme, destination, path } = self;
        write!(f, "{method} {}://", scheme.as_str())?;
        match destination.to_string().strip_suffix(&format!(":{}", scheme.default_port())) {
            Some(host) => f.write_str(host)?,
            None => write!(f, "{destination}")?,
        }
        f.write_str(path.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_from_a_method_and_a_url_and_written_in_its_normal_form() {
        for (text, normal) in [
            ("GET https://API.example.com", "GET https://api.example.com/"),
            ("POST  api.example.com/a/../b?x=1#y", "POST https://api.example.com/b"),
            ("GET http://api.example.com:80/%61", "GET http://api.example.com/a"),
            ("GET http://api.example.com:443/", "GET http://api.example.com:443/"),
            ("GET https://[2001:db8::1]/", "GET https://[2001:db8::1]/"),
            ("GET https://[2001:db8::1]:8443/x", "GET https://[2001:db8::1]:8443/x"),
        ] {
            let asked: Asked = text.parse().unwrap();
            assert_eq!(asked.to_string(), normal, "{text}");
            assert_eq!(normal.parse::<Asked>().unwrap(), asked, "{text}");
        }
        for text in ["", "GET", "https://api.example.com/", "get https://a.example/", "GET ftp://a.example/", "GET /x"]
        {
            let malformed = text.parse::<Asked>().unwrap_err();
            assert!(!malformed.hint().is_empty(), "{text}");
        }
        assert!("GET https://a.example/a//b".parse::<Asked>().unwrap_err().to_string().contains("empty segment"));
    }
}
