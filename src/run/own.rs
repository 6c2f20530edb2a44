//! What of exeat's own no command may see, or change.
//!
//! Enters: where things are. Leaves: paths, which the sandbox hides wherever links on the way to them lead: policies, the files that hold secrets,
//! logs, the broker's socket and the key beside it. Never: what a policy names; a look into one of them that holds a secret.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use config::{AgentId, Credentials, IdentityKeys, IdentitySettings, LogSettings, Receiver, Source};

use crate::places::Places;

/// All of it.
///
/// # Errors
/// When one of the directories cannot be read.
pub fn of(places: &Places, agent: &AgentId, socket: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let agents = places.config.join("agents");
    let mut own = vec![places.agent_file(agent), places.credentials_file(), places.broker_file(), places.log_file()];
    own.extend(elsewhere(&agents)?);
    own.extend(elsewhere(&places.state)?);
    own.extend([places.config.clone(), agents, places.state.clone()]);
    own.extend(secrets(places));
    if let Some(socket) = socket {
        // A bare name is in the directory where this was started.
        let socket = std::path::absolute(socket)?;
        let both = [Some(socket.clone()), fs::canonicalize(&socket).ok()].into_iter().flatten();
        own.extend(both.filter_map(|socket| socket.parent().map(Path::to_owned)));
        own.push(socket);
    }
    Ok(own)
}

/// The files that the broker, and who ships the log, read secrets from. Of a file with mistakes nothing is known: whoever goes by it says so.
fn secrets(places: &Places) -> Vec<PathBuf> {
    let file = |source: &Source| match source {
        Source::File(file) => Some(file.clone()),
        Source::Env(_) | Source::Command(_) | Source::Systemd(_) | Source::Keyring(_) | Source::Vault(_) => None,
    };
    let mut found = Vec::new();
    let credentials = Credentials::load(places.credentials_file());
    let sources = credentials.iter().flat_map(Credentials::iter).flat_map(|credential| credential.issuer.sources());
    found.extend(sources.filter_map(file));
    match IdentitySettings::load(places.broker_file()).map(|settings| settings.keys) {
        Ok(IdentityKeys::File { path, .. }) => found.push(path),
        Ok(IdentityKeys::Given { es256, rs256 }) => found.extend(es256.iter().chain(&rs256).filter_map(file)),
        Ok(IdentityKeys::Unsaid { .. }) | Err(_) => {}
    }
    for target in LogSettings::load(places.log_file()).into_iter().flat_map(|settings| settings.ship) {
        if let Receiver::Otlp { headers, .. } = &target.receiver {
            found.extend(headers.values().filter_map(file));
        }
    }
    found
}

/// What lies elsewhere, too: by a link, or by another name. Whoever may not list a directory has put nothing into it.
fn elsewhere(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue }; // gone by now
        if metadata.is_symlink() || metadata.is_file() && metadata.nlink() > 1 {
            found.push(entry.path());
        }
    }
    Ok(found)
}
