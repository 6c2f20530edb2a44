//! Whose word the files are that exeat goes by.
//!
//! Enters: the files of an agent, and the state directory. Leaves: a refusal where every user of the machine could change one of them, and a
//! remark where another user could. Never: a verdict by the mode alone: on what is mounted read-only nobody writes (a ConfigMap is shown as 0777), and in
//! a directory with the sticky bit nobody takes away what is another's.

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

/// Looks at all that decides what this agent may do and what is written of it. What does not exist is nobody's.
///
/// # Errors
/// When every user of the machine can change any of it, as ssh and sudo have it.
pub fn look(places: &Places, agent: &AgentId) -> Result<(), Report> {
    let rules = "what agents may do";
    let files: [(PathBuf, &str); 7] = [
        (places.config.clone(), rules),
        (places.config.join("agents"), rules),
        (places.agent_file(agent), rules),
        (places.credentials_file(), rules),
        (places.broker_file(), rules),
        (places.log_file(), "what is kept of their logs"),
        (places.state.clone(), "their logs and leases"),
    ];
    for (path, what) in &files {
        let shown = path.display();
        if by_everybody(path) {
            let report = format!("`{shown}` can be changed by every user of the machine, and with it {what}");
            return Err(Report::new(report).hint(format!("`chmod o-w {shown}`, or mount it read-only")));
        }
        if let Some(owner) = by_another(path) {
            let report = format!("`{shown}` belongs to user {owner}, who can change it, and with it {what}");
            crate::remark(&Report::new(report));
        }
    }
    Ok(())
}

/// Whether every user of the machine can change it.
pub fn by_everybody(path: &Path) -> bool {
    let Ok(found) = fs::metadata(path) else { return false };
    let open = found.mode() & OTHERS_WRITE != 0 && (found.is_file() || found.mode() & STICKY == 0);
    open && !is_read_only(path)
}

/// Who else than this user and root can.
fn by_another(path: &Path) -> Option<u32> {
    let owner = fs::metadata(path).ok()?.uid();
    (owner != 0 && owner != geteuid().as_raw() && !is_read_only(path)).then_some(owner)
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
