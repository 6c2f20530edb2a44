//! Changes as a patch that Git and patch(1) take.
//!
//! Enters: changes, their layer, the directory as it is. Leaves: unified differences of what is text. Never: the content of a file that is larger than
//! people read, or a control character in a name.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FileType;
use similar::TextDiff;

use super::change::{Change, Kind, What};
use super::{Told, tree};
use crate::layers::Layer;

/// Larger files are named only.
const LARGEST: u64 = 1 << 20;
/// For one file: two that are alike nowhere are then shown as one removed and one added.
const LONGEST: Duration = Duration::from_secs(1);

/// One side of a difference.
struct Side {
    mode: &'static str,
    /// `None`: too large.
    content: Option<Vec<u8>>,
}

/// Writes the patch for one layer.
pub(super) fn write(out: &mut impl Write, layer: &Layer, told: &Told) -> io::Result<()> {
    let (lower, upper) = (tree::stayed(layer)?, tree::open(&layer.upper)?);
    for Change { what, kind, path, .. } in &told.changes {
        if is_gits_own(path) || *kind == Kind::Other || *kind == Kind::Directory && *what != What::Deleted {
            continue;
        }
        let deleted = match *what {
            What::Deleted => files(&lower, path)?,
            _ => vec![path.clone()],
        };
        for path in deleted {
            let old = if *what == What::Added { None } else { side(&lower, &path)? };
            let new = if *what == What::Deleted { None } else { side(&upper, &path)? };
            difference(out, &path, old.as_ref(), new.as_ref())?;
        }
    }
    Ok(())
}

/// What Git keeps for itself, which it takes from no patch.
fn is_gits_own(path: &Path) -> bool {
    path.components().any(|name| name.as_os_str().eq_ignore_ascii_case(".git"))
}

/// A path, or the files below it.
fn files(root: &OwnedFd, path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let Some(name) = path.file_name() else { continue };
        let parent = tree::parent(root, &path)?;
        match tree::find(&parent, name)?.map(|found| found.kind) {
            Some(FileType::Directory) => {
                let names = tree::names(tree::directory(&parent, name)?)?;
                open.extend(names.into_iter().rev().map(|name| path.join(name)));
            }
            Some(FileType::RegularFile | FileType::Symlink) => files.push(path),
            _ => {}
        }
    }
    Ok(files)
}

fn side(root: &OwnedFd, path: &Path) -> io::Result<Option<Side>> {
    let Some(name) = path.file_name() else { return Ok(None) };
    let parent = tree::parent(root, path)?;
    let Some(found) = tree::find(&parent, name)? else { return Ok(None) };
    if found.kind == FileType::Symlink {
        let target = tree::link(&parent, name)?.into_os_string().into_vec();
        return Ok(Some(Side { mode: "120000", content: Some(target) }));
    }
    let mode = if found.mode & 0o100 == 0 { "100644" } else { "100755" };
    let mut content = Vec::new();
    // One more than may be, as it may grow meanwhile.
    tree::file(&parent, name)?.take(LARGEST + 1).read_to_end(&mut content)?;
    Ok(Some(Side { mode, content: (content.len() as u64 <= LARGEST).then_some(content) }))
}

fn difference(out: &mut impl Write, path: &Path, old: Option<&Side>, new: Option<&Side>) -> io::Result<()> {
    fn text(side: Option<&Side>) -> Option<&str> {
        let content = side.map_or(Some(&[][..]), |side| side.content.as_deref())?;
        std::str::from_utf8(content).ok().filter(|text| !text.contains('\0'))
    }
    let named = |side: char| quoted(side, path);
    // Git takes a patch whole or not at all; what stands between its parts it does not read.
    let (Some(before_text), Some(after_text)) = (text(old), text(new)) else {
        return writeln!(out, "Not in this patch, but in `--export`: {}, which is no text or large", named('b'));
    };
    writeln!(out, "diff --git {} {}", named('a'), named('b'))?;
    match (old, new) {
        (None, Some(new)) => writeln!(out, "new file mode {}", new.mode)?,
        (Some(old), None) => writeln!(out, "deleted file mode {}", old.mode)?,
        (Some(old), Some(new)) if old.mode != new.mode => {
            writeln!(out, "old mode {}\nnew mode {}", old.mode, new.mode)?;
        }
        _ => {}
    }
    // A tab ends a name that has blanks in it.
    let end = if named('a').contains(' ') { "\t" } else { "" };
    let header = |side: Option<&Side>, name: char| side.map_or("/dev/null".to_owned(), |_| named(name) + end);
    let (before, after) = (header(old, 'a'), header(new, 'b'));
    if before_text == after_text {
        return Ok(());
    }
    let difference = TextDiff::configure().timeout(LONGEST).diff_lines(before_text, after_text);
    let unified = difference.unified_diff().context_radius(3).header(&before, &after).to_string();
    out.write_all(unified.as_bytes())
}

/// A name as Git quotes it: in octal, what is no printable character of ASCII.
fn quoted(side: char, path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().all(|byte| (b' '..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\')) {
        return format!("{side}/{}", path.display());
    }
    let mut quoted = format!("\"{side}/");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => quoted += &format!("\\{byte:03o}"),
        }
    }
    quoted + "\""
}

/// For a terminal, which the content of a file could steer.
pub(super) fn harmless(patch: &[u8]) -> String {
    let text = String::from_utf8_lossy(patch);
    let plain = |character: char| matches!(character, '\n' | '\t') || !character.is_control() && !is_unseen(character);
    text.chars().map(|character| if plain(character) { character } else { '\u{fffd}' }).collect()
}

/// Those that turn the order of what is around them, or show nothing.
fn is_unseen(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn names_are_quoted_as_git_does() {
        assert_eq!(quoted('a', Path::new("x y/z")), "a/x y/z");
        assert_eq!(quoted('b', Path::new("x\n\"y")), "\"b/x\\012\\\"y\"");
        assert_eq!(quoted('a', Path::new(OsStr::from_bytes(b"\xff\x1b"))), "\"a/\\377\\033\"");
    }

    #[test]
    fn content_steers_no_terminal() {
        assert_eq!(harmless("a\tü\n\u{1b}[2J\u{202e}\r".as_bytes()), "a\tü\n\u{fffd}[2J\u{fffd}\u{fffd}");
    }
}
