//! What the files rely on beside themselves, as whoever checks sees it: who else could change them, and the files and variables that they name.
//!
//! Enters: the configuration directory, policies, credentials. Leaves: a note for each. Never: a secret that was read; a verdict: where exeat runs,
//! and for the user it runs as, it may be otherwise.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use config::{Credentials, Policy, Source};

use crate::places::Places;
use crate::writable::{Flaw, TRUST, flaw};

const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;

/// All there is to say.
pub(super) fn notes(places: &Places, policies: &[Policy], credentials: Option<&Credentials>) -> Vec<String> {
    let mut notes = changeable(places, policies);
    notes.extend(policies.iter().flat_map(roots));
    notes.extend(credentials.into_iter().flat_map(secrets));
    notes
}

/// What every user of the machine could change, and thereby what agents may do and get, or what they did.
fn changeable(places: &Places, policies: &[Policy]) -> Vec<String> {
    let own = [places.config.clone(), places.config.join("agents"), places.credentials_file(), places.broker_file()];
    let files = own.into_iter().chain(policies.iter().map(|policy| PathBuf::from(policy.file())));
    let rules = files.map(|file| (file, "what agents may do"));
    let trusted = policies.iter().flat_map(|policy| policy.extra_roots().to_vec());
    let trusted = trusted.map(|file| (file, TRUST));
    let logs = [(places.state.clone(), "their logs and leases"), (places.log_file(), "what is kept of their logs")];
    let told = rules.chain(trusted).chain(logs).filter_map(|(file, what)| Some((flaw(&file)?, file, what)));
    let told = told.map(|(Flaw { said, mend }, file, what)| {
        let file = file.display();
        format!("`{file}` {said}, and with it {what}: `exeat run` does not start with it: `{mend}`")
    });
    told.collect()
}

/// The authorities that a policy adds, without which nothing starts.
fn roots(policy: &Policy) -> impl Iterator<Item = String> {
    policy.extra_roots().iter().filter_map(|root| {
        let why = opened(root).err()?;
        Some(format!("{}: upstream.roots: {why}: nothing starts without it", policy.file()))
    })
}

/// The long-lived secrets, without which a lease is refused.
fn secrets(credentials: &Credentials) -> Vec<String> {
    let mut notes = Vec::new();
    for credential in credentials.iter() {
        let name = credential.grant.credential();
        for source in credential.issuer.sources() {
            let why = match source {
                Source::File(file) => unfit(file),
                Source::Env(variable) if std::env::var_os(variable).is_none() => {
                    Some(format!("`{variable}` is not set here"))
                }
                _ => None,
            };
            notes.extend(why.map(|why| {
                format!(
                    "{}: {name}: {why}: while that is so, a broker of this user lends it to nobody",
                    credential.written.file()
                )
            }));
        }
    }
    notes
}

/// What a file that can be read is like, or why it cannot. A pipe would be waited for, for ever.
fn opened(file: &Path) -> Result<Metadata, String> {
    let shown = file.display();
    let found = fs::metadata(file).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    if !found.is_file() {
        return Err(format!("`{shown}` is not a regular file"));
    }
    File::open(file).and_then(|opened| opened.metadata()).map_err(|error| format!("`{shown}` cannot be read: {error}"))
}

/// Why a secret's file would not be taken.
fn unfit(file: &Path) -> Option<String> {
    let shown = file.display();
    let mode = match opened(file) {
        Err(why) => return Some(why),
        Ok(found) => found.permissions().mode(),
    };
    let open = mode & (OTHERS_READ | OTHERS_WRITE) != 0;
    open.then(|| format!("every user of the machine can read or write `{shown}` (`chmod o= {shown}`)"))
}
