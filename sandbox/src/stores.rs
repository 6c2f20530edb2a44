//! The worker's authority in the stores that some clients keep in the home, and look nowhere else.
//!
//! For: `filesystem`. In: the worker's certificate. Out: NSS's database (Chromium and others), a link in Mono's directory. Never: a key,
//! or anything in what the policy shows of the machine: where that is in the way, the store is left as it is.

use crate::{
    certificate::{self, Certificate},
    error::{Error, Step},
    filesystem::HOME,
    nss,
    plan::Plan,
    trust::WORKER,
};
use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::Path,
};

/// Where NSS is asked to look by its users. Chromium looks in `.local/share/pki/nssdb` if this is missing.
const NSS: &str = ".pki/nssdb";
/// A directory of links by hash.
const MONO: &str = ".config/.mono/new-certs/Trust";
/// Whoever has it has Mono.
const WITH_MONO: &str = "/usr/lib/mono";

/// Writes them for the user that we are.
pub(crate) fn write(worker: &str, plan: &Plan) -> Result<(), Error> {
    let certificates = certificate::from_pem(worker.as_bytes());
    let Some(ours) = certificates.first() else { return Ok(()) };
    if let Some(database) = nss::database_of(ours) {
        in_store(NSS, plan, |store| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(store.join("cert9.db"))?;
            file.write_all(&database)
        })?;
    }
    if let Some(hash) = Some(ours).filter(|_| Path::new(WITH_MONO).exists()).and_then(Certificate::subject_hash) {
        in_store(MONO, plan, |store| symlink(WORKER, store.join(format!("{hash:08x}.0"))))?;
    }
    Ok(())
}

/// Writes into a directory of the home, for the user alone like the home itself, unless it is the machine's.
fn in_store(below: &str, plan: &Plan, write: impl Fn(&Path) -> io::Result<()>) -> Result<(), Error> {
    let store = Path::new(HOME).join(below);
    let shown = |target: &Path| store.starts_with(target) || target.starts_with(&store);
    if plan.binds.iter().any(|bind| shown(&bind.target)) {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&store);
    made.and_then(|()| write(&store)).map_err(|error| {
        Step::Filesystem.failed("write a store of trusted certificates").on(store.display()).because(error)
    })
}
