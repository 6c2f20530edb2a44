//! Who asks: the agent a policy is written for, the credential a rule names, the worker that runs.
//!
//! Enters: text from files, arguments and the broker. Leaves: names that are safe in file names, logs and URLs. Never:
//! an identity taken from what the sandboxed client says.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Malformed, quoted};
use crate::text::travels_as_text;

/// The agent a policy is written for: the stem of its file's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(Arc<str>);

/// A credential, by the name it has in credentials.toml.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialName(Arc<str>);

/// One run of one agent: a UUID of version 7, so that workers sort by their start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(uuid::Uuid);

impl WorkerId {
    /// A new worker's id.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7())
    }
}

impl FromStr for WorkerId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let refused = || {
            let hint = "it looks like `0192f0c1-2b3c-7d4e-8f50-617283940a1b`; `exeat calls` shows those there are";
            Malformed::new(format!("{} is not a worker's id", quoted(text)), hint)
        };
        let id = uuid::Uuid::try_parse(text).map_err(|_| refused())?;
        (id.get_version_num() == 7).then_some(Self(id)).ok_or_else(refused)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! short_name {
    ($name:ident, $what:literal) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                checked(text, $what).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        travels_as_text!($name);
    };
}

short_name!(AgentId, "an agent");
short_name!(CredentialName, "a credential");

/// `[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?`: a DNS label's length, and no way to spell `..`, a flag or a path.
fn checked(text: &str, what: &str) -> Result<Arc<str>, Malformed> {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|&b| alphanumeric(b)) && bytes.last().is_some_and(|&b| alphanumeric(b));
    if ends && bytes.len() <= 63 && bytes.iter().all(|&b| alphanumeric(b) || b"._-".contains(&b)) {
        return Ok(text.into());
    }
    Err(Malformed::new(
        format!("{} is not a name for {what}", quoted(text)),
        "a name has 1 to 63 of a-z, 0-9, `.`, `_`, `-`, and starts and ends with a letter or digit",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_plain_and_no_path() {
        for text in ["a", "release-bot", "a.b_c-9", &"a".repeat(63)] {
            assert_eq!(text.parse::<AgentId>().unwrap().as_str(), text);
        }
        for text in ["", ".", "..", "-a", "a-", "A", "a/b", "a b", "é", "a\n", &"a".repeat(64)] {
            assert!(text.parse::<AgentId>().is_err(), "{text:?} was taken");
            assert!(text.parse::<CredentialName>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_worker_id_survives_its_text_and_is_of_version_7() {
        let id = WorkerId::generate();
        assert_eq!(id.to_string().parse::<WorkerId>().unwrap(), id);
        assert!("".parse::<WorkerId>().is_err());
        assert!("c9bf9e57-1685-4c89-bafb-ff5af830be8a".parse::<WorkerId>().is_err());
    }
}
