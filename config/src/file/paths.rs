//! Paths as written.
//!
//! Enters: a field. Leaves: its paths, relative ones as they are. Never: a path looked at.

use std::path::PathBuf;

use super::reader::{Field, Reader};
use crate::error::{Malformed, quoted};

/// A list of paths, as written.
pub(super) fn read_paths(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Vec<PathBuf>> {
    let paths = reader.values(field, parse_path)?;
    Some(paths.into_iter().map(PathBuf::from).collect())
}

/// The one thing that a path of the kernel can't have is a NUL.
pub(super) fn parse_path(text: &str) -> Result<String, Malformed> {
    if text.contains('\0') {
        return Err(Malformed::new(format!("{} is not a path", quoted(text)), "a path has no NUL character"));
    }
    Ok(text.to_owned())
}
