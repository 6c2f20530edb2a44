//! Files that are written once.
//!
//! Enters: paths and texts. Leaves: all of them, or none. Never: a file, or what a link leads to, written over.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::report::Report;

/// A file to be.
#[derive(Debug, Clone)]
pub(super) struct ToWrite {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) mode: u32,
}

/// Writes them all.
///
/// # Errors
/// When one is there already or cannot be written; then those that were written before it are taken away.
pub(super) fn all(files: &[ToWrite]) -> Result<(), Report> {
    for (number, ToWrite { path, text, mode }) in files.iter().enumerate() {
        if let Err(error) = write(path, text, *mode) {
            for ToWrite { path, .. } in &files[..number] {
                let _ = fs::remove_file(path);
            }
            return Err(Report::new(format!("cannot write `{}`: {error}; nothing was written", path.display()))
                .hint("say --config with a directory that you may write to, or --dry-run to see what it would be"));
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_cannot_be_written_none_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| ToWrite { path: directory.path().join(name), text: "new".to_owned(), mode: 0o600 };
        fs::write(directory.path().join("there"), "old").unwrap();
        std::os::unix::fs::symlink("elsewhere", directory.path().join("link")).unwrap();
        for there in ["there", "link"] {
            let error = all(&[file("below/first"), file(there)]).unwrap_err().to_string();
            assert!(error.contains(there) && error.contains("nothing was written"), "{error}");
            assert!(!directory.path().join("below/first").exists() && !directory.path().join("elsewhere").exists());
        }
        assert_eq!(fs::read_to_string(directory.path().join("there")).unwrap(), "old");
        all(&[file("below/first"), file("second")]).unwrap();
    }
}
