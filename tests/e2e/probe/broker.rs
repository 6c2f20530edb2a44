//! Where the broker is a service of its own, the way to its socket is tried: the one that the worker itself goes.
//!
//! Enters: a broker that listens, and whether the policy shows the directory above its socket's. Leaves: what `exeat probe` says of it. Never: a
//! verdict on a socket at which nobody answers out here.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::sabotaged::supervised;
use super::{exeat, findings, probe};
use crate::broker_service::serve_at;
use crate::harness::{Exeat, Live, Upstream};

/// A broker for the agent, its socket, and what has a policy show all that is around it.
fn serving(upstream: &Upstream) -> (Exeat, Live, String, String) {
    let team = exeat(upstream);
    let directory = team.path("service");
    fs::create_dir(&directory).unwrap();
    let (live, socket) = serve_at(&team, directory.join("broker.sock"));
    // No mode keeps anybody away: of a root that starts a worker, the command is another user.
    for (path, mode) in [(team.path(""), 0o755), (directory.clone(), 0o755), (socket.clone().into(), 0o666)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let shown = format!("read = [\"{}\"]", directory.parent().unwrap().display());
    (team, live, socket, shown)
}

#[test]
fn its_socket_is_held_whether_or_not_what_is_around_it_is_shown() {
    let upstream = Upstream::start();
    let (_team, _live, socket, shown) = serving(&upstream);
    std::thread::scope(|scope| {
        for shown in ["", &shown] {
            let (upstream, socket) = (&upstream, &socket);
            scope.spawn(move || {
                let (run, document) = probe(&exeat(upstream).sandbox(shown), &["--broker", socket]);
                assert_eq!(run.code, Some(0), "{shown}: {run:#?}");
                let (verdict, seen) = &findings(&document).0["network/broker-socket"];
                assert_eq!((&**verdict, &**seen), ("held", "No such file or directory"), "{shown}: {document:#}");
            });
        }
    });
}

#[test]
fn its_socket_is_reached_where_nothing_covers_its_directory() {
    let upstream = Upstream::start();
    let (_team, _live, socket, shown) = serving(&upstream);
    let exeat = supervised(exeat(&upstream).sandbox(&shown), "covers");
    let (run, document) = probe(&exeat, &["--broker", &socket]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    let found = findings(&document);
    assert_eq!(
        found.with("broke"),
        ["isolation/secret-file", "network/broker-socket"],
        "{:?}",
        found.0["network/broker-socket"]
    );
}
