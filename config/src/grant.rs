//! The part of a credential that others than the broker may know: where it may go, and how it shows in the sandbox.
//!
//! Enters: the checked credentials.toml, or the broker's answer. Leaves: yes or no for a destination and a place; what of it the
//! sandbox is given. Never: where the credential comes from.

use serde::{Deserialize, Serialize};

use crate::agent::CredentialName;
use crate::delivery::Delivery;
use crate::destination::Destination;
use crate::injection::Injection;
use crate::pattern::Pattern;

/// Where a credential may be put, and where the sandbox finds its placeholder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub(crate) credential: CredentialName,
    pub(crate) to: Vec<Pattern>,
    pub(crate) places: Places,
    pub(crate) env: Option<String>,
    #[serde(default)]
    pub(crate) part: Part,
    #[serde(default)]
    pub(crate) inject: Option<Injection>,
    #[serde(default)]
    pub(crate) files: Vec<Delivery>,
}

/// Which part of a credential a placeholder stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The credential itself.
    #[default]
    Secret,
    /// The id that goes with it: of a key that signs. It is never swapped by itself.
    Id,
}

/// The places in a request where the placeholder is swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Places {
    /// Any header's value.
    pub header: bool,
    /// The user or password of `Authorization: Basic`.
    pub basic: bool,
    /// The query.
    pub query: bool,
    /// A JSON or form body.
    pub body: bool,
    /// The messages of text on a WebSocket.
    pub websocket: bool,
}

impl Default for Places {
    /// What a credential has that does not say `in`.
    fn default() -> Self {
        Self { header: true, basic: true, ..Self::NONE }
    }
}

impl Places {
    /// Nowhere: what signs is not sent, and what is an id is nothing by itself.
    pub const NONE: Self = Self { header: false, basic: false, query: false, body: false, websocket: false };
}

impl Grant {
    /// A grant from its parts.
    pub fn new(credential: CredentialName, to: Vec<Pattern>, places: Places, env: Option<String>) -> Self {
        Self { credential, to, places, env, part: Part::Secret, inject: None, files: Vec::new() }
    }

    /// The same for the placeholder of its id, which the sandbox finds in `env`.
    pub(crate) fn of_id(&self, env: Option<String>) -> Self {
        let (credential, to) = (self.credential.clone(), self.to.clone());
        Self { part: Part::Id, ..Self::new(credential, to, Places::NONE, env) }
    }

    /// What its placeholder stands for.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Whether requests are signed with it: a secret that is put nowhere.
    pub fn signs(&self) -> bool {
        self.part == Part::Secret && self.places == Places::NONE
    }

    /// How a call gets the credential for which the agent sent none.
    pub fn inject(&self) -> Option<&Injection> {
        self.inject.as_ref()
    }

    /// The files in the sandbox's home that have the placeholder.
    pub fn files(&self) -> &[Delivery] {
        &self.files
    }

    /// Which credential.
    pub fn credential(&self) -> &CredentialName {
        &self.credential
    }

    /// Whether a call there asks for the credential itself, by an assertion that is signed with the key in one of its files.
    pub fn asserts_at(&self, destination: &Destination, path: &str) -> bool {
        self.part == Part::Secret && self.files.iter().any(|file| file.asserts_at(destination, path))
    }

    /// Where it may go.
    pub fn to(&self) -> &[Pattern] {
        &self.to
    }

    /// Where in a request it may stand.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The variable that holds the placeholder in the sandbox.
    pub fn env(&self) -> Option<&str> {
        self.env.as_deref()
    }

    /// Whether the credential may go there. A grant without destinations allows none.
    pub fn allows(&self, destination: &Destination) -> bool {
        self.to.iter().any(|pattern| pattern.matches(destination))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_for_its_destinations_only() {
        let grant = |to: &[&str]| {
            let to = to.iter().map(|text| text.parse().unwrap()).collect();
            Grant::new("github".parse().unwrap(), to, Places::default(), None)
        };
        let destination = |text| Destination::parse_authority(text, 443).unwrap();
        assert!(grant(&["api.github.com"]).allows(&destination("api.github.com")));
        assert!(!grant(&["api.github.com"]).allows(&destination("api.github.com:8443")));
        assert!(!grant(&["*.github.com"]).allows(&destination("github.com")));
        assert!(!grant(&[]).allows(&destination("api.github.com")));
    }
}
