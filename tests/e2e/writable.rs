//! Nothing starts by the word of a file that everybody could have written.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::Exeat;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn nothing_starts_by_what_every_user_could_change() {
    let exeat = Exeat::new();
    exeat.run(&["true"]).ok();
    let agents = exeat.policy_file().parent().unwrap().to_owned();
    let (config, state) = (agents.parent().unwrap().to_owned(), exeat.state());
    for (path, open, proper) in
        [(exeat.policy_file(), 0o666, 0o644), (agents, 0o777, 0o755), (config, 0o777, 0o755), (state, 0o777, 0o700)]
    {
        mode(&path, open);
        let run = exeat.sh("echo ran").ended_with(125);
        let said = format!("`{}` can be changed by every user of the machine", path.display());
        assert!(run.stderr.contains(&said) && run.stderr.contains("chmod o-w") && run.stdout.is_empty(), "{run:#?}");
        mode(&path, proper);
        exeat.run(&["true"]).ok();
    }
}

#[test]
fn what_only_looks_open_is_taken() {
    let exeat = Exeat::new();
    let config = exeat.policy_file().parent().unwrap().parent().unwrap().to_owned();
    // Nobody takes away or replaces what is another's there.
    mode(&config, 0o1777);
    let run = exeat.sh("echo ran").ok();
    assert!(run.stdout == "ran\n" && !run.stderr.contains("can be changed"), "{run:#?}");
    // As a ConfigMap is shown: open to all by its mode, and nobody can write to it.
    mode(&config, 0o777);
    mode(&exeat.policy_file(), 0o666);
    exeat.sh("echo ran").ended_with(125);
    let read_only = format!("mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}'", config.display());
    let exeat = exeat.through_mounts(&read_only);
    let run = exeat.sh("echo ran").ok();
    assert!(run.stdout == "ran\n" && !run.stderr.contains("can be changed"), "{run:#?}");
}
