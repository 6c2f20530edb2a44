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
fn a_volume_that_is_open_to_all_holds_a_state_directory_of_its_own() {
    let exeat = Exeat::new();
    let volume = exeat.state();
    mode(&volume, 0o777);
    let run = exeat.run(&["true"]).ended_with(125);
    let below = format!("{}/exeat", volume.display());
    assert!(run.stderr.contains(&format!("--state {below}")) && !run.stderr.contains("read-only"), "{run:#?}");
    exeat.exeat(&["--state", &below, "run", "--agent", "bot", "--", "true"]).finish().ok();
    assert_eq!(fs::metadata(&below).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn nor_does_a_broker_or_by_authorities_that_every_user_could_change() {
    let exeat = Exeat::new();
    let config = exeat.policy_file().parent().unwrap().parent().unwrap().to_owned();
    mode(&config.join("ca.pem"), 0o666);
    let run = exeat.run(&["true"]).ended_with(125);
    assert!(run.stderr.contains("ca.pem` can be changed by every user of the machine, and with it who is"), "{run:#?}");
    let noted = exeat.exeat(&["check"]).finish().ok().stdout;
    assert!(noted.contains("ca.pem` can be changed") && noted.contains("`exeat run` does not start"), "{noted}");
    mode(&config.join("ca.pem"), 0o644);
    let exeat = exeat.fixed("api", "s3cret-of-the-broker", "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n");
    mode(&config.join("credentials.toml"), 0o666);
    let socket = config.join("socket");
    let run = exeat.exeat(&["broker", "serve", "--socket", socket.to_str().unwrap()]).finish().ended_with(125);
    assert!(run.stderr.contains("credentials.toml` can be changed by every user of the machine"), "{run:#?}");
    assert!(!socket.exists());
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

/// Only root can make what is another's. To who is not, in a user namespace, the files of root outside are another's: nobody's,
/// which the number of who runs this may be as well.
#[test]
fn what_another_user_put_into_an_open_directory_is_not_taken_and_elsewhere_told_of_in_one_line() {
    let exeat = Exeat::new();
    exeat.run(&["true"]).ok();
    let config = exeat.policy_file().parent().unwrap().parent().unwrap().to_owned();
    let broker = config.join("broker.toml");
    if !rustix::process::geteuid().is_root() {
        std::os::unix::fs::symlink("/etc/passwd", &broker).unwrap();
        mode(&config, 0o1777);
        let run =
            exeat.through(&["unshare", "--user", "--map-user=4321", "--map-group=4321"]).sh("echo ran").ended_with(125);
        assert!(run.stderr.contains("every user of the machine can add") && run.stdout.is_empty(), "{run:#?}");
        return;
    }
    let given = |path: &Path, owner| std::os::unix::fs::chown(path, Some(owner), None).unwrap();
    fs::write(&broker, "").unwrap();
    for path in [&broker, &exeat.policy_file()] {
        given(path, 1234);
    }
    let run = exeat.run(&["true"]).ok();
    let told: Vec<&str> = run.stderr.lines().filter(|line| line.contains("user 1234")).collect();
    assert!(told.len() == 1 && told[0].contains("and 1 more"), "{run:#?}");
    mode(&config, 0o1777);
    let run = exeat.sh("echo ran").ended_with(125);
    let said = format!("`{}` belongs to user 1234, and every user of the machine can add", broker.display());
    assert!(run.stderr.contains(&said) && run.stdout.is_empty(), "{run:#?}");
    given(&broker, 0);
    exeat.run(&["true"]).ok();
    // A link of another's to what is one's own.
    let own = config.join("own.toml");
    fs::rename(&broker, &own).unwrap();
    std::os::unix::fs::symlink(&own, &broker).unwrap();
    std::os::unix::fs::lchown(&broker, Some(1234), None).unwrap();
    exeat.run(&["true"]).ended_with(125);
}
