//! The files as written, read with their places so that every mistake can be shown where it is.
//!
//! Enters: a path or text. Leaves: a valid [`Policy`], [`Credentials`], [`IdentitySettings`] or [`LogSettings`], or every mistake of the file.
//! Never: a half-checked value; the tables of the file do not leave this module.

mod accept;
mod agent;
mod approval;
mod aws;
mod cloud;
mod command;
mod credential;
mod delivery;
mod expect;
mod github;
mod home_file;
mod identity;
mod keep;
mod lines;
mod log;
mod oauth;
mod paths;
mod protocol;
mod reach;
mod reader;
mod sandbox;
mod secret;
mod source;
mod upstream;
mod vault;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf, absolute};

use crate::agent::AgentId;
use crate::credential::Credentials;
use crate::error::{LoadError, Malformed};
use crate::identity::IdentitySettings;
use crate::log_file::LogSettings;
use crate::policy::Policy;

use agent::hash;
pub(crate) use agent::parse_policy;
pub(crate) use credential::parse_credentials;
pub(crate) use identity::parse_identity;
pub(crate) use log::parse_log;

/// Some hundred times what a person writes.
const MAX_FILE: u64 = 256 * 1024;
/// An agent's file may be made by a program: as many rules as there may be, at 200 bytes each.
const MAX_POLICY: u64 = 2 * 1024 * 1024;

/// Whether the files are read that a policy, or log.toml, names for secrets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    Read,
    LeftOut,
}

/// The policy of a file that may still say what `current` says: then it is not read once more, unless something beside it may have changed.
pub(crate) fn load_another(path: &Path, current: &Policy) -> Result<Option<Policy>, LoadError> {
    let text = read_policy(path)?;
    let same = hash(&text) == current.digest() && current.files_beside().next().is_none();
    (!same).then(|| parse_policy(current.agent().clone(), path, &text, Secrets::Read)).transpose()
}

pub(crate) fn load_policy(path: &Path, secrets: Secrets) -> Result<Policy, LoadError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let agent: AgentId = stem.parse().map_err(|malformed: Malformed| {
        let remedy = format!("the file's name is the agent's: `release-bot.toml`; {}", malformed.hint());
        LoadError::whole_file(&path.display().to_string(), malformed.to_string(), remedy)
    })?;
    let text = read_policy(path)?;
    parse_policy(agent, path, &text, secrets)
}

pub(crate) fn load_credentials(path: &Path) -> Result<Credentials, LoadError> {
    let text = read(path, MAX_FILE)?;
    parse_credentials(path, &text)
}

pub(crate) fn load_identity(path: &Path) -> Result<IdentitySettings, LoadError> {
    let text = read(path, MAX_FILE)?;
    parse_identity(path, &text)
}

pub(crate) fn load_log(path: &Path, secrets: Secrets) -> Result<LogSettings, LoadError> {
    let text = read(path, MAX_FILE)?;
    parse_log(path, &text, secrets)
}

/// The text of an agent's file.
pub(crate) fn read_policy(path: &Path) -> Result<String, LoadError> {
    read(path, MAX_POLICY)
}

/// No larger than a file may be.
fn read(path: &Path, most: u64) -> Result<String, LoadError> {
    let refused = |reason: String, remedy: &str| LoadError::whole_file(&path.display().to_string(), reason, remedy);
    let mut bytes = Vec::new();
    // A pipe of this name would be waited for, for ever.
    let kind = fs::metadata(path).map(|found| found.file_type());
    if kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket() || kind.is_dir()) {
        return Err(refused("is not a file".into(), "put a file of this name in its place"));
    }
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| refused(format!("cannot be read: {error}"), "check the path and who may read it"))?;
    if bytes.len() as u64 > most {
        return Err(too_large(path, most));
    }
    String::from_utf8(bytes).map_err(|_| refused("is not UTF-8".into(), "save it as UTF-8 text"))
}

fn too_large(path: &Path, most: u64) -> LoadError {
    let reason = format!("is larger than {} KiB", most / 1024);
    LoadError::whole_file(&path.display().to_string(), reason, "write fewer rules; a pattern can stand for many")
}

/// A path of a file, relative to the file's directory, made absolute where the current directory is known.
fn beside(file: &Path, path: &Path) -> PathBuf {
    let joined = file.parent().unwrap_or(Path::new("")).join(path);
    absolute(&joined).unwrap_or(joined)
}
