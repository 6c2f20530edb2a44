//! The files of the sandbox's home that have placeholders in them.
//!
//! Enters: `files` of the credentials that a worker is granted, and its placeholders. Leaves: for each path below the home what is to be
//! in it, whichever credentials share it. Never: a file of the machine; a character that means something else in a file's format.

mod format;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::CredentialName;
use crate::grant::{Grant, Part};
use crate::placeholder::{NoRandomBytes, Placeholder};

pub(crate) use format::Format;

/// What one credential gives to one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    pub(crate) format: Format,
    /// Below the home.
    pub(crate) path: String,
    /// The hosts that it is for, as in a URL.
    pub(crate) hosts: Vec<String>,
    /// Whose the credential is said to be, where a format asks for it; of `aws`, the profile.
    pub(crate) user: String,
    /// Where on its host a service is, where a format asks for it.
    pub(crate) url: Option<String>,
}

/// A file of the sandbox's own, for its user only.
#[derive(Clone, PartialEq, Eq)]
pub struct HomeFile {
    /// Below the home.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl std::fmt::Debug for HomeFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HomeFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A delivery with the placeholders of its worker.
pub(crate) struct Share<'a> {
    pub delivery: &'a Delivery,
    pub credential: &'a CredentialName,
    pub placeholder: &'a str,
    pub id: &'a str,
}

/// Every file that these grants put into the sandbox's home. `roots` is the file of roots that clients inside are told of.
///
/// # Errors
/// When there are no random bytes for a throwaway key.
pub fn home_files(grants: &[(Grant, Placeholder)], roots: &str) -> Result<Vec<HomeFile>, NoRandomBytes> {
    let mut by_path: BTreeMap<&str, Vec<Share<'_>>> = BTreeMap::new();
    for (grant, placeholder) in grants {
        let is_its_id = |(other, _): &&(Grant, Placeholder)| {
            other.part == Part::Id && other.credential == grant.credential && grant.part == Part::Secret
        };
        let id = grants.iter().find(is_its_id).map_or("", |(_, id)| id.value());
        for delivery in &grant.files {
            let share = Share { delivery, credential: &grant.credential, placeholder: placeholder.value(), id };
            by_path.entry(&delivery.path).or_default().push(share);
        }
    }
    let file = |(path, shares): (&str, Vec<Share<'_>>)| {
        Ok(HomeFile { path: path.to_owned(), text: format::render(&shares, roots)? })
    };
    by_path.into_iter().map(file).collect()
}

impl Delivery {
    /// Why both cannot be in one home; `whose` the other one is.
    pub(crate) fn clash(&self, other: &Delivery, whose: &str) -> Option<String> {
        let path = &self.path;
        if *path != other.path {
            let below = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
            let nested = below(path, &other.path) || below(&other.path, path);
            return nested.then(|| format!("`~/{path}` and `~/{}` cannot both be files", other.path));
        }
        if self.format != other.format || self.format.is_one_credentials() {
            return Some(format!("`~/{path}` is written for {whose}"));
        }
        let shared = self.entries().find(|entry| other.entries().any(|others| others == *entry))?;
        Some(format!("`~/{path}` has an entry for `{shared}` of {whose}"))
    }

    /// By what a client finds the credential in the file.
    fn entries(&self) -> impl Iterator<Item = &String> {
        let by_user = self.format == Format::Aws;
        let hosts = self.hosts.iter().filter(move |_| !by_user);
        hosts.chain(by_user.then_some(&self.user))
    }
}
