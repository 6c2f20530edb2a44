//! Who may speak, beside what the kernel says of the peer: a key that lies by the socket, and a worker's session.
//!
//! Enters: a socket's path, or nothing; then what a request shows. Leaves: whether it shows the right one. Who connects to a socket
//! reads the key beside it, which is its owner's alone and new each time; whoever has only the connection, or only the path, is
//! nobody. A registered worker shows its session instead, which is no other's. Never: a comparison that takes longer the more is right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::secret::{Secret, sensitive_header};
use crate::seed::private;

/// 256 bits.
const LENGTH: usize = 32;
const SCHEME: &str = "Bearer ";

/// The key of one socket.
pub(crate) struct Admission {
    key: Secret,
}

/// Where the key of a socket is.
pub(crate) fn beside(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".key");
    path.into()
}

impl Admission {
    /// Draws a key for a socket and puts it beside it, in place of what was left there.
    pub(crate) fn make(socket: &Path) -> io::Result<Admission> {
        let (key, file) = (draw()?, beside(socket));
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Never through a link, and never into what somebody else made.
        let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        made.write_all(key.expose().as_bytes())?;
        Ok(Admission { key })
    }

    /// Whether a request shows it.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        shows(headers, &self.key)
    }
}

/// The key beside a socket, to be shown there.
pub(crate) fn read(socket: &Path) -> io::Result<HeaderValue> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut file: File = OpenOptions::new().read(true).custom_flags(flags).open(beside(socket))?;
    private(&file.metadata()?)?;
    // One byte more than there should be: a longer file is no key.
    let mut key = Zeroizing::new([0; 2 * LENGTH + 1]);
    let mut read = 0;
    while let more @ 1.. = file.read(&mut key[read..])? {
        read += more;
    }
    match read == 2 * LENGTH && key[..read].iter().all(u8::is_ascii_hexdigit) {
        true => header(&Secret::new(String::from_utf8_lossy(&key[..read]))),
        false => Err(io::Error::other("it is not the key of a broker")),
    }
}

/// A new session's secret, or a key.
pub(crate) fn draw() -> io::Result<Secret> {
    let mut drawn = Zeroizing::new([0; LENGTH]);
    aws_lc_rs::rand::fill(&mut *drawn).map_err(io::Error::other)?;
    let mut text = Zeroizing::new(String::with_capacity(2 * LENGTH));
    for byte in *drawn {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    Ok(Secret::new(std::mem::take(&mut *text)))
}

/// How it is shown.
pub(crate) fn header(secret: &Secret) -> io::Result<HeaderValue> {
    let mut text = Vec::with_capacity(SCHEME.len() + secret.expose().len());
    text.extend_from_slice(SCHEME.as_bytes());
    text.extend_from_slice(secret.expose().as_bytes());
    sensitive_header(text).ok_or_else(|| io::Error::other("it does not fit into a header"))
}

/// Whether a request shows this secret, and nothing else.
pub(crate) fn shows(headers: &HeaderMap, secret: &Secret) -> bool {
    let mut shown = headers.get_all(AUTHORIZATION).into_iter();
    let (Some(one), None) = (shown.next(), shown.next()) else { return false };
    let shown = one.as_bytes().strip_prefix(SCHEME.as_bytes()).unwrap_or_default();
    verify_slices_are_equal(shown, secret.expose().as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_the_whole_secret_alone_is_enough() {
        let secret = draw().unwrap();
        let text = secret.expose();
        assert_eq!(text.len(), 64);
        assert_ne!(text, draw().unwrap().expose());
        assert!(shows(&headers(&[&format!("Bearer {text}")]), &secret));
        for wrong in [
            vec![],
            vec![String::new()],
            vec!["Bearer ".to_owned()],
            vec![text.to_owned()],
            vec![format!("Bearer {}", &text[1..])],
            vec![format!("Bearer {text}0")],
            vec![format!("Basic {text}")],
            vec![format!("Bearer {text}"), format!("Bearer {text}")],
        ] {
            let wrong: Vec<_> = wrong.iter().map(String::as_str).collect();
            assert!(!shows(&headers(&wrong), &secret), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_read_from_a_file_that_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("broker.sock");
        assert!(read(&socket).is_err());
        let other = directory.path().join("other");
        fs::write(&other, "precious").unwrap();
        symlink(&other, beside(&socket)).unwrap();
        assert!(read(&socket).is_err(), "a link is not followed");
        let admission = Admission::make(&socket).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"precious", "nothing is written through a link");
        let shown = HeaderMap::from_iter([(AUTHORIZATION, read(&socket).unwrap())]);
        assert!(admission.admits(&shown));
        let again = Admission::make(&socket).unwrap();
        assert!(!again.admits(&shown), "a new broker has a new key");
        fs::set_permissions(beside(&socket), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&socket).unwrap_err().to_string().contains("others can read"));
    }

    #[test]
    fn what_is_not_a_key_is_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("broker.sock");
        for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(65)] {
            fs::write(beside(&socket), wrong).unwrap();
            fs::set_permissions(beside(&socket), fs::Permissions::from_mode(0o600)).unwrap();
            assert!(read(&socket).is_err(), "{wrong}");
        }
    }
}
