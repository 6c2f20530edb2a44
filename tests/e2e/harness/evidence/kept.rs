//! State directories as text, and where they are kept until every test has run.
//!
//! Enters: a directory. Leaves: its files in one text, each below a line with its name; compressed ones as what they are made of. Where
//! `EXEAT_EVIDENCE` names a directory, one file there for each, packed. Never: a link that is followed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The line above each file begins with it.
pub const HEADING: &str = "\n\u{1}==> ";
/// What the files end in that have credentials, a JSON text each line.
pub const CREDENTIALS: &str = "credentials.jsonl";
/// What the files end in that have a state directory.
pub const PACKED: &str = "state.zst";
/// What the file ends in that has what was wrong.
pub const FLAWS: &str = "flaws.txt";

static DIRECTORY: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("EXEAT_EVIDENCE").map(PathBuf::from));
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Where evidence is kept, if it is.
pub(super) fn directory() -> Option<&'static Path> {
    DIRECTORY.as_deref()
}

/// Files of the test's own user that nobody may read, as overlayfs makes some, are made readable.
pub(super) fn open_up(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            let _ = fs::set_permissions(entry.path(), Permissions::from_mode(0o700));
            open_up(&entry.path());
        }
    }
}

/// All files below it. One that goes away meanwhile is a broker's that outlives its run, and is not there any more.
pub(super) fn packed(directory: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    add(directory, directory, &mut text);
    text
}

fn add(root: &Path, directory: &Path, text: &mut Vec<u8>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let name = path.strip_prefix(root).unwrap_or(&path);
        text.extend(format!("{HEADING}{}\n", name.display()).as_bytes());
        if metadata.is_dir() {
            add(root, &path, text);
        } else if metadata.is_symlink() {
            let to = fs::read_link(&path).unwrap_or_default();
            text.extend(to.as_os_str().as_encoded_bytes());
        } else if metadata.is_file() {
            read(&path, &metadata, text);
        }
    }
}

fn read(path: &Path, metadata: &fs::Metadata, text: &mut Vec<u8>) {
    if metadata.mode() & 0o400 == 0 {
        let _ = fs::set_permissions(path, Permissions::from_mode(0o600));
    }
    let Ok(mut file) = File::open(path) else { return };
    if path.extension().is_some_and(|extension| extension == "zst") {
        // One that was cut off by a kill is read as far as it goes.
        let _ = zstd::Decoder::new(file).map(|mut plain| plain.read_to_end(text));
    } else {
        let _ = file.read_to_end(text);
    }
}

/// Keeps it for the end, if anything is.
pub(super) fn keep(packed: &[u8]) {
    let Some(directory) = directory() else { return };
    if packed.is_empty() {
        return;
    }
    let (number, thread) = (NUMBER.fetch_add(1, Ordering::Relaxed), std::thread::current());
    let test = thread.name().unwrap_or("unnamed").replace("::", ".");
    let path = directory.join(format!("{}-{number:04}-{test}.{PACKED}", std::process::id()));
    let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    zstd::stream::copy_encode(packed, file, 1).unwrap();
}

/// Keeps what was wrong: a thread that nobody joins tells nobody.
pub(super) fn note(flaws: &[String]) {
    let Some(directory) = directory() else { return };
    let path = directory.join(format!("{}.{FLAWS}", std::process::id()));
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    for flaw in flaws {
        file.write_all(format!("{test}: {flaw}\n").as_bytes()).unwrap();
    }
}
