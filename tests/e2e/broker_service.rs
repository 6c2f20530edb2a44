//! The broker as a service of its own: many workers, one place that knows the secrets.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::credentials::leased;
use crate::harness::{Exeat, Live, TokenEndpoint, Upstream, within};

/// Starts `exeat broker serve` on this installation's credentials.
pub fn serve(exeat: &Exeat) -> (Live, String) {
    serve_at(exeat, exeat.path("broker.sock"))
}

/// The same, at a socket of the caller's choice.
pub fn serve_at(exeat: &Exeat, socket: PathBuf) -> (Live, String) {
    let socket = socket.into_os_string().into_string().unwrap();
    let live = exeat.exeat(&["broker", "serve", "--socket", &socket]);
    within(Duration::from_secs(10), "the broker's socket", || fs::metadata(&socket).is_ok());
    (live, socket)
}

const CALL: &str = "curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo";

#[test]
fn a_worker_gets_its_credentials_from_it() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let team = leased(&upstream, &issuer);
    let (_serving, socket) = serve(&team);
    // The worker's own installation has no credentials.toml at all.
    let exeat =
        Exeat::new().allow_with("api.example.com", &upstream, "credential = \"api\"").option(&["--broker", &socket]);
    let run = exeat.sh(CALL).ok();
    assert_eq!(upstream.only().header("authorization"), Some(&*format!("Bearer {}", issuer.issued()[0])));
    within(Duration::from_secs(5), "the lease revoked", || issuer.all_revoked());
    assert_eq!(run.log.end().revoked, 1);
}

#[test]
fn workers_share_nothing_but_the_broker() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let team = leased(&upstream, &issuer);
    let (_serving, socket) = serve(&team);
    let exeat =
        Exeat::new().allow_with("api.example.com", &upstream, "credential = \"api\"").option(&["--broker", &socket]);
    let script = format!("echo $API_KEY; {CALL} >/dev/null; echo called; sleep 2");
    let mut first = exeat.start(&["sh", "-c", &script]);
    first.wait_for("called");
    let second = exeat.sh(&script).ok();
    let first = first.finish().ok();
    assert_ne!(first.stdout.lines().next(), second.stdout.lines().next(), "each has its own placeholder");
    assert_eq!(issuer.issued().len(), 2, "each has its own lease");
}

#[test]
fn an_agent_that_no_credential_lists_gets_none() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let team = leased(&upstream, &issuer);
    let (_serving, socket) = serve(&team);
    let exeat = Exeat::new().allow("api.example.com", &upstream).option(&["--broker", &socket]);
    fs::copy(exeat.policy_file(), exeat.config("agents/stranger.toml")).unwrap();
    let run =
        exeat.exeat(&["run", "--agent", "stranger", "--broker", &socket, "--", "sh", "-c", "echo [$API_KEY]"]).finish();
    assert_eq!(run.ok().stdout, "[]\n");
    assert_eq!(issuer.asked(), 0);
}

#[test]
fn when_it_is_told_to_stop_it_revokes_what_is_out() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let team = leased(&upstream, &issuer);
    let (serving, socket) = serve(&team);
    let exeat =
        Exeat::new().allow_with("api.example.com", &upstream, "credential = \"api\"").option(&["--broker", &socket]);
    let mut live = exeat.start(&["sh", "-c", &format!("{CALL}; echo called; sleep 30")]);
    live.wait_for("called");
    serving.signal(Signal::TERM);
    serving.finish().ok();
    assert!(issuer.all_revoked());
    assert!(fs::metadata(&socket).is_err(), "the socket is left");
}

#[test]
fn a_worker_that_is_killed_loses_its_leases_there_too() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let team = leased(&upstream, &issuer);
    let (_serving, socket) = serve(&team);
    let exeat =
        Exeat::new().allow_with("api.example.com", &upstream, "credential = \"api\"").option(&["--broker", &socket]);
    let mut live = exeat.start(&["sh", "-c", &format!("{CALL}; echo called; sleep 30")]);
    live.wait_for("called");
    live.signal(Signal::KILL);
    within(Duration::from_secs(10), "the lease revoked", || issuer.all_revoked());
}

#[test]
fn its_socket_is_its_owners_alone_and_not_in_the_sandbox() {
    let upstream = Upstream::start();
    let team = leased(&upstream, &TokenEndpoint::start(300));
    let (_serving, socket) = serve(&team);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let key = format!("{socket}.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let exeat = Exeat::new().option(&["--broker", &socket]);
    exeat.run(&["test", "-e", &socket, "-o", "-e", &key]).ended_with(1);
}

#[test]
fn it_is_kept_from_the_sandbox_by_whatever_path_it_is_named() {
    let team = leased(&Upstream::start(), &TokenEndpoint::start(300));
    let (_serving, socket) = serve(&team);
    // A directory that is shown to the agent must not be the broker's.
    let beside = format!("cd '{}' && exec \"$@\"", team.path("").display());
    let exeat = Exeat::new().option(&["--broker", "broker.sock"]).through(&["sh", "-c", &beside, "sh"]);
    let run = exeat.run(&["true"]);
    assert!(run.stderr.contains("start from another directory"), "{run:#?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link.sock");
    symlink(&socket, &link).unwrap();
    let exeat =
        Exeat::new().sandbox(&format!("read = [{:?}]", team.path(""))).option(&["--broker", link.to_str().unwrap()]);
    let run = exeat.run(&["sh", "-c", &format!("test -e '{socket}' && echo seen")]);
    assert!(!run.stdout.contains("seen"), "{run:#?}");
    assert!(run.code == Some(1) || run.stderr.contains("start from another directory"), "{run:#?}");
}

#[test]
fn who_has_not_the_key_is_told_where_it_is() {
    let upstream = Upstream::start();
    let team = leased(&upstream, &TokenEndpoint::start(300));
    let (_serving, socket) = serve(&team);
    fs::remove_file(format!("{socket}.key")).unwrap();
    let run = Exeat::new().option(&["--broker", &socket]).run(&["true"]);
    assert_ne!(run.code, Some(0), "{run:#?}");
    assert!(run.stderr.contains("broker.sock.key"), "{run:#?}");
}

#[test]
fn where_none_serves_a_run_says_how_one_would() {
    let nowhere = Exeat::new().option(&["--broker", "/nonexistent/exeat.sock"]);
    let run = nowhere.sh("true").ended_with(125);
    assert!(
        run.stderr.contains("no broker on `/nonexistent/exeat.sock`")
            && run.stderr.contains("hint: `exeat broker serve"),
        "{run:#?}"
    );
}

#[test]
fn a_second_broker_does_not_take_the_socket_away() {
    let upstream = Upstream::start();
    let team = leased(&upstream, &TokenEndpoint::start(300));
    let (_serving, socket) = serve(&team);
    let run = Exeat::new().exeat(&["broker", "serve", "--socket", &socket]).finish();
    assert_ne!(run.code, Some(0), "{run:#?}");
    assert!(run.stderr.contains(&socket), "{run:#?}");
}
