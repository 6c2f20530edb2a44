//! A secret in the kernel's keyrings (keyrings(7)).
//!
//! Enters: the description of a key of the type `user`. Leaves: its payload, from the session's keyring, or else from the user's. Never: a
//! key that every user may read or change, or one that a request would make first.

use linux_keyutils::{Key, KeyError, KeyRing, KeyRingIdentifier};
use zeroize::Zeroizing;

use crate::program::MAX_OUTPUT;

/// Of a key's permissions, reading and writing by others: the last byte, as keyctl_setperm(3) has it.
const OPEN_TO_ALL: u32 = 0x02 | 0x04;

/// Reads a key. Blocks for as long as a system call takes.
pub(super) fn read(description: &str) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    let key = find(description)?;
    // Without leave to look at it, nobody else's leave can be known; its owner has that, unless it was taken away.
    if key.metadata()?.get_perms().bits() & OPEN_TO_ALL != 0 {
        return Err(KeyringError::OpenToAll);
    }
    let mut payload = Zeroizing::new(vec![0; MAX_OUTPUT + 1]);
    let length = key.read(&mut *payload)?;
    payload.truncate(length);
    Ok(payload)
}

fn find(description: &str) -> Result<Key, KeyringError> {
    let session = KeyRing::from_special_id(KeyRingIdentifier::Session, false).and_then(|ring| ring.search(description));
    match session {
        Ok(key) => return Ok(key),
        Err(KeyError::KeyDoesNotExist) => {}
        Err(error) => return Err(error.into()),
    }
    // A service's session has no link to its user's keyring, and what is not in reach of a thread cannot be read by it: the thread
    // gets a link, which goes with it.
    KeyRing::from_special_id(KeyRingIdentifier::Thread, true)?.link_keyring_id(KeyRingIdentifier::User)?;
    Ok(KeyRing::from_special_id(KeyRingIdentifier::User, false)?.search(description)?)
}

/// Why a key could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error("every user of the machine can read or change it: `keyctl setperm KEY 0x3f010000`")]
    OpenToAll,
    #[error("neither the session's keyring nor the user's has it: `keyctl padd user DESCRIPTION @u`")]
    NotThere,
    #[error("{}", said(*.0))]
    Kernel(KeyError),
}

impl From<KeyError> for KeyringError {
    fn from(error: KeyError) -> KeyringError {
        match error {
            KeyError::KeyDoesNotExist => KeyringError::NotThere,
            error => KeyringError::Kernel(error),
        }
    }
}

/// In words, as the library has them in the names of its errors only.
fn said(error: KeyError) -> String {
    match error {
        KeyError::AccessDenied | KeyError::PermissionDenied => {
            "the kernel does not let this user look at it or read it".to_owned()
        }
        KeyError::KeyExpired => "it has expired".to_owned(),
        KeyError::KeyRevoked => "it was revoked".to_owned(),
        KeyError::Unknown(number) => format!("the kernel has no keyrings here (error {number})"),
        other => format!("the kernel refuses it ({other:?})"),
    }
}

#[cfg(test)]
mod tests {
    use linux_keyutils::{KeyPermissionsBuilder, Permission};
    use uuid::Uuid;

    use super::*;

    /// A key of the test's own, gone afterwards.
    struct Added(Key, String);

    impl Added {
        fn to(ring: KeyRingIdentifier, payload: &[u8]) -> Added {
            let description = format!("exeat-test:{}", Uuid::new_v4());
            let ring = KeyRing::from_special_id(ring, false).unwrap();
            Added(ring.add_key(&*description, payload).unwrap(), description)
        }
    }

    impl Drop for Added {
        fn drop(&mut self) {
            let _ = self.0.invalidate();
        }
    }

    #[test]
    fn a_key_of_the_session_or_of_the_user_is_read() {
        for ring in [KeyRingIdentifier::Session, KeyRingIdentifier::User] {
            let key = Added::to(ring, b"of the keyring");
            // In a thread that has nothing yet, as the broker's.
            let description = key.1.clone();
            let read = std::thread::spawn(move || read(&description)).join().unwrap();
            assert_eq!(&*read.unwrap(), b"of the keyring", "{ring:?}");
            key.0.update(b"rotated").unwrap();
            assert_eq!(&*super::read(&key.1).unwrap(), b"rotated");
        }
    }

    #[test]
    fn what_is_not_there_or_was_revoked_or_others_may_read_is_refused_in_words() {
        assert!(matches!(read("exeat-test:nothing"), Err(KeyringError::NotThere)));
        let key = Added::to(KeyRingIdentifier::User, b"x");
        let _ = read(&key.1).unwrap();
        for others in [Permission::READ, Permission::WRITE] {
            let builder = KeyPermissionsBuilder::builder().posessor(Permission::ALL).user(Permission::ALL);
            key.0.set_perms(builder.world(others).build()).unwrap();
            assert!(matches!(read(&key.1), Err(KeyringError::OpenToAll)));
        }
        key.0.revoke().unwrap();
        let refused = read(&key.1).unwrap_err();
        assert!(matches!(refused, KeyringError::Kernel(KeyError::KeyRevoked) | KeyringError::NotThere), "{refused:?}");
    }
}
