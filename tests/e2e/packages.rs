//! Package managers install through exeat, from whichever registry this machine reaches.
//!
//! No registry is named here. The package manager says where its registry is; which hosts that leads to, the log of refused
//! calls says: the first run has an empty allowlist, each later one the hosts that the one before was refused.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Exeat, Run, output, python_tools, tools};

/// A package's index, its files, and a redirect between them: more hosts than this, and something else is wrong.
const ROUNDS: usize = 5;

/// Runs `script` until nothing it needs is refused. Fails when the first run, which may call nobody, succeeds.
fn learn_and_run(script: &str) -> Run {
    let mut hosts = BTreeSet::<String>::new();
    for round in 0..ROUNDS {
        let exeat =
            Exeat::new().sandbox(&format!("read = [\"{}\"]", tools().display())).limit(Duration::from_secs(240));
        let exeat = hosts.iter().fold(exeat, |exeat, host| exeat.rule(&rule(host)));
        let run = exeat.sh(script);
        if run.code == Some(0) {
            assert!(round > 0, "installed with an empty allowlist: {run:#?}");
            return run;
        }
        let refused = run.log.refusals().into_iter().filter(|refused| refused.kind == "host-not-listed");
        let asked_for: BTreeSet<String> = refused.map(|refused| refused.to.clone()).collect();
        assert!(!asked_for.is_subset(&hosts), "not installed, and nothing was refused: {run:#?}");
        hosts.extend(asked_for);
    }
    panic!("still refused after {ROUNDS} rounds: {hosts:?}");
}

/// Allows one host, at the addresses that it has on this machine: behind a mirror they may be reserved ones.
fn rule(destination: &str) -> String {
    let addresses: BTreeSet<String> =
        destination.to_socket_addrs().unwrap().map(|address| format!("\"{}\"", address.ip())).collect();
    let addresses = addresses.into_iter().collect::<Vec<_>>().join(", ");
    format!("[[allow]]\nto = \"{destination}\"\nmethods = [\"GET\", \"HEAD\"]\naddresses = [{addresses}]\n")
}

/// Installs one package with pip and prints its version.
pub fn pip() -> String {
    let python = python_tools();
    let index = Command::new(&python).args(["-m", "pip", "config", "get", "global.index-url"]).output().unwrap();
    let index = if index.status.success() {
        format!("--index-url {}", String::from_utf8(index.stdout).unwrap().trim())
    } else {
        String::new()
    };
    let pip = format!("{python} -m pip --isolated --disable-pip-version-check --retries 0");
    format!(
        "{pip} install --no-cache-dir --no-deps --target lib {index} six==1.16.0 && PYTHONPATH=lib python3 -c 'import six; print(six.__version__)'"
    )
}

#[test]
fn pip_installs_a_package() {
    let run = learn_and_run(&pip());
    assert!(run.stdout.ends_with("1.16.0\n"), "{run:#?}");
    assert!(run.log.calls().len() > 1);
}

/// Installs one package with npm and prints what it says.
pub fn npm() -> String {
    let registry = output(&["npm", "config", "get", "registry"]);
    format!(
        "npm install --no-audit --no-fund --fetch-retries 0 --registry {registry} is-number@7.0.0 \
         && node -e 'console.log(require(\"is-number\")(\"7\"))'"
    )
}

#[test]
fn npm_installs_a_package() {
    let run = learn_and_run(&npm());
    assert!(run.stdout.ends_with("true\n"), "{run:#?}");
    assert!(run.log.calls().len() > 1);
}
