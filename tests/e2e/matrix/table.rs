//! The table of clients in the README, and what a run found.
//!
//! Enters: a client, the README as it was when this was built. Leaves: a failure where its line says anything else than what was
//! found; or, where `EXEAT_WRITE_MATRIX` names a file with such a table, that line in it. Never: a version compared; a
//! distribution has a new one any day.

use std::env;
use std::fs;
use std::sync::Mutex;

use super::client::Client;

const README: &str = include_str!("../../../README.md");
/// The file to write to, relative to the checkout.
const WRITE: &str = "EXEAT_WRITE_MATRIX";
const BEGIN: &str = "<!-- clients -->\n";
const END: &str = "<!-- /clients -->";
const HEAD: &str = "| client | here with | call works | credential swapped | speaks |\n|---|---|---|---|---|\n";
/// The file is read, changed and written by one test at a time.
static WRITING: Mutex<()> = Mutex::new(());

/// Runs a client and holds the README against what was found. `names` are all clients, in order.
pub fn check(client: &Client, names: &[&str]) {
    let written = env::var_os(WRITE);
    let found = client.measure(written.is_some());
    if let Some(file) = written {
        let [call, credential, http] = &found.cells;
        let line = format!("| {} | {} | {call} | {credential} | {http} |", client.name(), found.version);
        let one = WRITING.lock().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, put(&text, client.name(), &line, names)).unwrap();
        drop(one);
        assert_ne!(found.version, "", "the version is not to be had: {:#?}", found.run);
        return;
    }
    let told = lines(README).find(|line| cells(line).next() == Some(client.name()));
    let told =
        told.unwrap_or_else(|| panic!("`{}` is not in the README's table: tests/README.md says how", client.name()));
    let told: Vec<&str> = cells(told).skip(2).collect();
    assert_eq!(told, found.cells, "what the README says, and what was found: {:#?}", found.run);
}

/// Fails unless the README's table has exactly these clients, each with a version.
pub fn check_names(names: &[&str]) {
    if env::var_os(WRITE).is_some() {
        return; // it is being made so
    }
    let told: Vec<&str> = lines(README).filter_map(|line| cells(line).next()).collect();
    assert_eq!(told, names);
    assert!(lines(README).all(|line| cells(line).nth(1).is_some_and(|version| !version.is_empty())));
}

fn table(text: &str) -> &str {
    let (_, rest) = text.split_once(BEGIN).expect("there is no table of clients");
    rest.split_once(END).expect("the table of clients has no end").0
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    table(text).lines().skip(HEAD.lines().count()).filter(|line| !line.is_empty())
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.trim_matches('|').split('|').map(str::trim)
}

/// The text with this line in its table, where the order wants it.
fn put(text: &str, name: &str, line: &str, names: &[&str]) -> String {
    let others = lines(text).filter(|other| cells(other).next() != Some(name));
    let known = others.filter(|other| cells(other).next().is_some_and(|other| names.contains(&other)));
    let mut rows: Vec<&str> = known.chain([line]).collect();
    rows.sort_by_key(|row| names.iter().position(|name| cells(row).next() == Some(name)));
    let table_of_it = format!("{HEAD}{}\n", rows.join("\n"));
    text.replace(&format!("{BEGIN}{}{END}", table(text)), &format!("{BEGIN}{table_of_it}{END}"))
}
