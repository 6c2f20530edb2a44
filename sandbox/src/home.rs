//! Files of the caller's in the private home.
//!
//! For: `init`, before the command is there. In: paths below the home and what is in them. Out: files that are the command's user's and
//! nobody else's. Never: a file of the machine, written or hidden: where a part of it is shown, no file of the caller's can be.

use crate::{
    error::{Error, Step},
    filesystem::HOME,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

/// Directories that are made on the way, for the user alone like the home itself.
const DIRECTORY_MODE: u32 = 0o700;
/// What one message carries, less room for the path.
const LARGEST: usize = 128 * 1024;

/// One file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeFile {
    /// Below the home.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

impl std::fmt::Debug for HomeFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HomeFile").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Whether it is the sandbox's own; `shown` is where parts of the machine are.
pub(crate) fn check(file: &HomeFile, shown: &[PathBuf]) -> Result<(), Error> {
    let failed = |tried: &'static str| Step::Start.failed(tried).on(file.path.display());
    let mut parts = file.path.components();
    if file.path.as_os_str().is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(
            failed("write into the home what is not below it").hint_at("name it from the home on, without `..`")
        );
    }
    if file.bytes.len() > LARGEST {
        return Err(failed("write a file of more than 128 KiB into the home"));
    }
    let target = Path::new(HOME).join(&file.path);
    match shown.iter().find(|shown| target.starts_with(shown) || shown.starts_with(&target)) {
        Some(_) => Err(failed("write a file into the home where the machine's own is shown").hint_at(
            "the machine's files are never written to: take the path out of the policy's read and write lists, or start elsewhere",
        )),
        None => Ok(()),
    }
}

/// Writes it. Nothing has run inside yet that could have put a link in its way.
pub(crate) fn write(file: &HomeFile) -> Result<(), Error> {
    let target = Path::new(HOME).join(&file.path);
    let make = || -> io::Result<()> {
        if let Some(parent) = target.parent() {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
        }
        let mut made = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&target)?;
        made.write_all(&file.bytes)?;
        // Whatever the caller's umask is.
        fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))
    };
    make().map_err(|error| Step::Start.failed("write into the home").on(target.display()).because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_below_the_home_and_not_among_the_machines() {
        let file = |path: &str| HomeFile { path: path.into(), bytes: vec![], mode: 0o600 };
        let shown = [PathBuf::from("/home/agent/work"), PathBuf::from("/home/agent/.aws/sso")];
        for path in [".netrc", ".config/gh/hosts.yml", "workshop"] {
            assert!(check(&file(path), &shown).is_ok(), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../../x", "work", "work/.netrc", ".aws", ".aws/sso/x"] {
            assert!(check(&file(path), &shown).is_err(), "{path}");
        }
        assert!(check(&file(".netrc"), &[PathBuf::from(HOME)]).is_err());
        assert!(check(&file(".netrc"), &[PathBuf::from("/home/agent/")]).is_err());
    }
}
