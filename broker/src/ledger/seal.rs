//! What a revocation needs, sealed for the ledger.
//!
//! Enters: a credential or its receipt, and the row that it belongs to. Leaves: AES-256-GCM text that opens for that row only, under a key that
//! lies in a file of its own: a ledger alone, copied or backed up, holds nothing that can be used. Never: a key that others can
//! read, or a sealed text that opens in another row.

use std::io;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::Entry;
use crate::error::Error;
use crate::secret::Secret;
use crate::seed;

/// The key of a state directory.
pub(super) struct SealingKey(RandomizedNonceKey);

impl SealingKey {
    /// A key that nobody keeps, for a ledger that ends with its broker.
    pub(super) fn of_this_moment() -> Result<SealingKey, Error> {
        SealingKey::new(&*seed::drawn().map_err(|error| Error::Start(error.into()))?)
            .map_err(|error| Error::Start(error.into()))
    }

    /// Reads the key, or makes one where there is none.
    pub(super) fn load(path: &Path) -> Result<SealingKey, Error> {
        let failed = |source: io::Error| Error::SealingKey { path: path.to_owned(), source };
        SealingKey::new(&*seed::load(path).map_err(failed)?).map_err(failed)
    }

    fn new(key: &[u8; seed::LENGTH]) -> io::Result<SealingKey> {
        RandomizedNonceKey::new(&AES_256_GCM, key).map(SealingKey).map_err(io::Error::other)
    }

    /// Seals what the revocation of a row needs into it.
    pub(super) fn seal(&self, row: &Entry, credential: &Secret) -> io::Result<Vec<u8>> {
        // Sealed in place, with room for the tag, so that no copy of it is left.
        let mut text = Zeroizing::new(Vec::with_capacity(credential.expose().len() + AES_256_GCM.tag_len()));
        text.extend_from_slice(credential.expose().as_bytes());
        let nonce = self.0.seal_in_place_append_tag(Aad::from(binding(row)), &mut *text).map_err(io::Error::other)?;
        Ok([nonce.as_ref(), &text[..]].concat())
    }

    /// Opens what was sealed into this row. `None`: it was changed, is another row's, or another key's.
    pub(super) fn open(&self, row: &Entry, sealed: &[u8]) -> Option<Secret> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let open = self.0.open_in_place(nonce, Aad::from(binding(row)), &mut text).ok()?;
        std::str::from_utf8(open).ok().map(Secret::new)
    }
}

/// What of a row the sealed text is bound to: whose it is, and where it would be sent. None of these has a line break.
fn binding(row: &Entry) -> Vec<u8> {
    let Entry { lease, worker, agent, credential, revocation, .. } = row;
    let revocation = revocation.as_deref().unwrap_or_default();
    format!("exeat ledger 1\n{lease}\n{worker}\n{agent}\n{credential}\n{revocation}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use config::WorkerId;

    use super::*;

    fn row() -> Entry {
        let (agent, credential) = ("bot".parse().unwrap(), "api".parse().unwrap());
        Entry::asked(
            WorkerId::generate(),
            agent,
            credential,
            String::new(),
            Some("https://a.example/revoke".to_owned()),
        )
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_row_under_its_own_key_and_nowhere_else() {
        let (key, row) = (SealingKey::of_this_moment().unwrap(), row());
        let sealed = key.seal(&row, &Secret::new("hunter2")).unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_ne!(sealed, key.seal(&row, &Secret::new("hunter2")).unwrap(), "each has a nonce of its own");
        assert_eq!(key.open(&row, &sealed).unwrap().expose(), "hunter2");
        let elsewhere = |change: fn(&mut Entry)| {
            let mut row = row.clone();
            change(&mut row);
            key.open(&row, &sealed).is_none()
        };
        assert!(elsewhere(|row| row.lease = crate::LeaseId::generate()));
        assert!(elsewhere(|row| row.worker = WorkerId::generate()));
        assert!(elsewhere(|row| row.agent = "other".parse().unwrap()));
        assert!(elsewhere(|row| row.credential = "other".parse().unwrap()));
        assert!(elsewhere(|row| row.revocation = Some("https://b.example/revoke".to_owned())));
        assert!(SealingKey::of_this_moment().unwrap().open(&row, &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&row, &changed).is_none() && key.open(&row, &sealed[..at]).is_none(), "{at}");
        }
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_and_refused_when_others_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.key");
        let (row, made) = (row(), SealingKey::load(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = made.seal(&row, &Secret::new("x")).unwrap();
        assert!(SealingKey::load(&path).unwrap().open(&row, &sealed).is_some(), "it is another key");
        for mode in [0o640, 0o604, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(SealingKey::load(&path), Err(Error::SealingKey { .. })), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(matches!(SealingKey::load(&path), Err(Error::SealingKey { .. })));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(SealingKey::load(&path), Err(Error::SealingKey { .. })));
    }
}
