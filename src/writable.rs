//! Whose word the files are that exeat goes by.
//!
//! Enters: the files of an agent or of a broker, and the state directory. Leaves: a refusal where every user of the machine could change one of them
//! or have put it there, and one remark where another user could. Never: a verdict by the mode alone: on what is mounted read-only nobody writes
//! (a ConfigMap is shown as 0777), and in a directory with the sticky bit nobody takes away what is another's, though anybody adds what is missing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use config::AgentId;
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::process::geteuid;

use crate::places::Places;
use crate::report::Report;

const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

const RULES: &str = "what agents may do";
const LOGS: &str = "their logs and leases";
/// What the authorities decide that a policy adds.
pub const TRUST: &str = "who is believed to be an upstream";

/// Why a file is not gone by.
#[derive(Debug)]
pub struct Flaw {
    /// What it is like.
    pub said: String,
    /// What to type.
    pub mend: String,
}

/// Looks at all that decides what this agent may do and what is written of it. What does not exist is nobody's.
///
/// # Errors
/// When every user of the machine can change any of it, or could have put it there.
pub fn look(places: &Places, agent: &AgentId) -> Result<(), Report> {
    let mut files = of_broker(places);
    files.extend([
        (places.config.join("agents"), RULES),
        (places.agent_file(agent), RULES),
        (places.log_file(), "what is kept of their logs"),
    ]);
    look_at(places, &files)
}

/// The same of what a broker goes by.
///
/// # Errors
/// As `look`.
pub fn look_for_broker(places: &Places) -> Result<(), Report> {
    look_at(places, &of_broker(places))
}

/// The same of the authorities that a policy adds.
///
/// # Errors
/// As `look`.
pub fn look_at_roots(places: &Places, roots: &[PathBuf]) -> Result<(), Report> {
    let files: Vec<(PathBuf, &str)> = roots.iter().map(|file| (file.clone(), TRUST)).collect();
    look_at(places, &files)
}

fn of_broker(places: &Places) -> Vec<(PathBuf, &'static str)> {
    vec![
        (places.config.clone(), RULES),
        (places.credentials_file(), RULES),
        (places.broker_file(), RULES),
        (places.state.clone(), LOGS),
    ]
}

fn look_at(places: &Places, files: &[(PathBuf, &str)]) -> Result<(), Report> {
    for (path, what) in files {
        let shown = path.display();
        if let Some(Flaw { said, mend }) = flaw(path) {
            // A volume that is made for a container is often open to all, and the container's user may not close it.
            let hint = match *path == places.state {
                true => format!("say `--state {shown}/exeat`, which exeat makes for itself, or `{mend}`"),
                false => format!("`{mend}`, or mount it read-only"),
            };
            return Err(Report::new(format!("`{shown}` {said}, and with it {what}")).hint(hint));
        }
    }
    let foreign: Vec<(&Path, u32)> = files.iter().filter_map(|(path, _)| Some((&**path, by_another(path)?))).collect();
    if let Some((first, owner)) = foreign.first() {
        let more = match foreign.len() - 1 {
            0 => "belongs".to_owned(),
            more => format!("and {more} more that exeat goes by belong"),
        };
        let whose = if foreign.iter().all(|(_, of)| of == owner) { "user" } else { "others, as user" };
        let first = first.display();
        let report =
            format!("`{first}` {more} to {whose} {owner}, who can change what agents may do or what is written of it");
        crate::remark(&Report::new(report));
    }
    Ok(())
}

/// Why nothing starts with it, where every user of the machine can change it or could have put it there.
pub fn flaw(path: &Path) -> Option<Flaw> {
    if by_everybody(path) {
        let said = "can be changed by every user of the machine".to_owned();
        return Some(Flaw { said, mend: format!("chmod o-w {}", path.display()) });
    }
    let parent = path.parent().filter(|parent| is_open(parent))?;
    let owner = by_another(path)?;
    let said = format!("belongs to user {owner}, and every user of the machine can add to its directory");
    Some(Flaw { said, mend: format!("chmod o-w {}", parent.display()) })
}

/// Whether every user of the machine can change it.
fn by_everybody(path: &Path) -> bool {
    let Ok(found) = fs::metadata(path) else { return false };
    let open = found.mode() & OTHERS_WRITE != 0 && (found.is_file() || found.mode() & STICKY == 0);
    open && !is_read_only(path)
}

/// Whether every user of the machine can put files there, though not take away those of others.
fn is_open(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| found.mode() & OTHERS_WRITE != 0) && !is_read_only(directory)
}

/// Who else than this user and root can, or could have it lead elsewhere.
fn by_another(path: &Path) -> Option<u32> {
    let owners = [fs::symlink_metadata(path).ok()?.uid(), fs::metadata(path).ok()?.uid()];
    let other = owners.into_iter().find(|owner| *owner != 0 && *owner != geteuid().as_raw())?;
    (!is_read_only(path)).then_some(other)
}

fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_counts_is_who_can_write_and_not_what_it_looks_like() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("file");
        fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for (own, expected) in [(0o644, false), (0o664, false), (0o666, true), (0o1666, true)] {
            mode(&file, own);
            assert_eq!(by_everybody(&file), expected, "{own:o}");
        }
        for (own, expected) in [(0o755, false), (0o777, true), (0o1777, false)] {
            mode(room.path(), own);
            assert_eq!(by_everybody(room.path()), expected, "{own:o}");
        }
        assert!(!by_everybody(&room.path().join("nothing")));
        assert_eq!(by_another(&file), None);
    }
}
