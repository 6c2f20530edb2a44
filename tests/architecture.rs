//! The walls between the crates, read from `cargo metadata`, and the house rules that a tool can hold.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may depend on whom (ARCHITECTURE.md).
const ARROWS: [(&str, &[&str]); 6] = [
    ("exeat-config", &[]),
    ("exeat-record", &[]),
    ("exeat-broker", &["exeat-config", "exeat-record"]),
    ("exeat-sandbox", &["exeat-config"]),
    ("exeat-proxy", &["exeat-broker", "exeat-config", "exeat-record"]),
    ("exeat", &["exeat-broker", "exeat-config", "exeat-proxy", "exeat-record", "exeat-sandbox"]),
];

#[test]
fn arrows_point_one_way() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let members: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(members, ARROWS.iter().map(|(name, _)| *name).collect());
    for package in &metadata.packages {
        let (_, allowed) = ARROWS.iter().find(|(name, _)| package.name.as_str() == *name).unwrap();
        let found: Vec<&str> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| dependency.name.as_str())
            .filter(|name| members.contains(name))
            .collect();
        for dependency in found {
            assert!(allowed.contains(&dependency), "{} may not depend on {dependency}", package.name);
        }
    }
}

#[test]
fn no_wall_can_be_taken_away_from_what_anybody_uses() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let having: Vec<&str> = metadata
        .packages
        .iter()
        .filter(|package| package.features.contains_key("sabotage"))
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(having, ["exeat-proxy", "exeat"]);
    assert!(metadata.packages.iter().all(|package| !package.features.contains_key("default")));
    let directory = tempfile::tempdir().unwrap();
    let built = |assertions: &str| {
        let mut rustc = Command::new(Path::new(env!("CARGO")).with_file_name("rustc"));
        rustc.args([
            "--edition=2024",
            "--crate-type=lib",
            "--emit=metadata",
            "--cfg=feature=\"sabotage\"",
            assertions,
            "--out-dir",
        ]);
        let output = rustc.arg(directory.path()).arg(root().join("proxy/src/sabotage.rs")).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (with, without) = (built("-Cdebug-assertions=yes"), built("-Cdebug-assertions=no"));
    assert!(with.0, "{with:?}");
    assert!(!without.0 && without.1.contains("is not built without debug assertions"), "{without:?}");
}

#[test]
fn one_tls_stack_and_one_crypto_backend() {
    // Not the lock file: that also lists what only a feature nobody turns on would bring.
    let tree =
        Command::new(env!("CARGO")).args(["tree", "--workspace", "--prefix=none", "--target=all"]).output().unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.lines().any(|line| line.starts_with("aws-lc-rs v")), "{tree}");
    for banned in ["openssl-sys", "native-tls", "ring", "rustables"] {
        assert!(!tree.lines().any(|line| line.starts_with(&format!("{banned} v"))), "{banned} came in");
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} does not open with what enters, what leaves, what never", file.display());
    }
}

#[test]
fn unsafe_code_is_in_one_place() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let used = text.lines().any(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        let allowed = file.starts_with(root().join("sandbox/src/sys")) || file.ends_with("sandbox/src/sys.rs");
        assert!(!used || allowed, "{} has unsafe code", file.display());
    }
}

#[test]
fn no_file_is_longer_than_four_hundred_lines() {
    for file in sources() {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines: split it by noun", file.display());
    }
}

/// Both pages that say which test shows what.
#[test]
fn every_test_that_a_page_names_is_there() {
    for page in ["README.md", "tests/README.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|word| word.contains(".rs")).collect();
        assert!(named.len() > 10, "{page} names {named:?}");
        let missing: Vec<String> = named.into_iter().filter_map(missing).collect();
        assert!(missing.is_empty(), "{page} names what is not there: {missing:#?}");
    }
}

#[test]
fn a_test_that_is_made_up_is_missed_wherever_it_would_be() {
    for word in [
        "nowhere.rs",
        "tls.rs::nothing_of_the_kind",
        "tls.rs::a_certificate_that",
        "tls.rs::nothing_of_the_…",
        "floods/nowhere.rs",
        "floods/coded.rs::nothing_of_the_kind",
        "sandbox/tests/hidden.rs::nothing_of_the_kind",
        "sandbox/src/nowhere.rs",
        "proxy:request/nowhere.rs",
        "proxy:request/behind.rs::nothing_of_the_kind",
    ] {
        assert!(missing(word).is_some(), "{word}");
    }
}

/// Why there is no such test. It is named by its file, from the root or among the end-to-end tests, or, behind a package and a colon, among
/// that one's sources; by its name behind that, of which `…` leaves out the end.
fn missing(word: &str) -> Option<String> {
    let (file, test) = word.split_once("::").unwrap_or((word, ""));
    let places = match file.split_once(':') {
        Some((package, file)) => vec![format!("{package}/src/{file}")],
        None if file.contains('/') => vec![file.to_owned(), format!("tests/e2e/{file}")],
        None => vec![format!("tests/e2e/{file}")],
    };
    let Some(code) = places.iter().find_map(|place| fs::read_to_string(root().join(place)).ok()) else {
        return Some(format!("{file}, as a file"));
    };
    let beginning = match test.strip_suffix('…') {
        Some(beginning) => format!("fn {beginning}"),
        None if test.is_empty() => return None,
        None => format!("fn {test}("),
    };
    (!code.contains(&beginning)).then(|| format!("{test}, in {file}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file of the six packages.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> =
        ["src", "config/src", "record/src", "broker/src", "proxy/src", "sandbox/src"].map(|d| root().join(d)).into();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}
