//! What of exeat's own no command may see, or change.
//!
//! Enters: where things are. Leaves: paths, which the sandbox hides wherever links on the way to them lead: policies, logs, the broker's socket and
//! the key beside it. Never: what a policy names, or another file (`named`).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use config::AgentId;

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
    if let Some(socket) = socket {
        // A bare name is in the directory where this was started.
        let socket = std::path::absolute(socket)?;
        let both = [Some(socket.clone()), fs::canonicalize(&socket).ok()].into_iter().flatten();
        own.extend(both.filter_map(|socket| socket.parent().map(Path::to_owned)));
        own.push(socket);
    }
    Ok(own)
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
