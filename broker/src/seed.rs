//! 32 secret bytes in a file of their own, from which a key of this broker is made.
//!
//! Enters: a path. Leaves: what the file has, or what was drawn for it where there was none. Never: bytes that others could read, or have
//! put there.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use zeroize::Zeroizing;

/// As AES-256 and Ed25519 have it.
pub(crate) const LENGTH: usize = 32;

/// Reads the file, or makes it where there is none.
pub(crate) fn load(path: &Path) -> io::Result<Zeroizing<[u8; LENGTH]>> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).and_then(|()| read(path)),
        read => read,
    }
}

/// Bytes that nobody keeps.
pub(crate) fn drawn() -> io::Result<Zeroizing<[u8; LENGTH]>> {
    let mut key = Zeroizing::new([0; LENGTH]);
    aws_lc_rs::rand::fill(&mut *key).map_err(io::Error::other)?;
    Ok(key)
}

/// Reads a file that nobody else may read.
fn read(path: &Path) -> io::Result<Zeroizing<[u8; LENGTH]>> {
    let mut file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    private(&file.metadata()?)?;
    let mut key = Zeroizing::new([0; LENGTH]);
    match file.metadata()?.len() == LENGTH as u64 {
        true => file.read_exact(&mut *key).map(|()| key),
        false => Err(io::Error::other(format!("it has not the {LENGTH} bytes of a key"))),
    }
}

/// Refuses a file that is another's, that others can read or write, or that is no file.
pub(crate) fn private(found: &Metadata) -> io::Result<()> {
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("others can read or write it (mode {:o})", found.mode() & 0o777)));
    }
    match [geteuid().as_raw(), 0].contains(&found.uid()) || geteuid().is_root() {
        true => Ok(()),
        false => Err(io::Error::other(format!("it belongs to another user ({})", found.uid()))),
    }
}

/// Makes the key whole or not at all; of two brokers that make it at once, one wins.
fn make(path: &Path) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = Path::new(&draft);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    file.write_all(&*drawn()?)?;
    file.sync_all()?;
    let linked = fs::hard_link(draft, path);
    fs::remove_file(draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}
