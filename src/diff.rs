//! `exeat diff`: what a worker changed in directories that stayed as they were, and what becomes of that.
//!
//! Enters: a worker's layers, hostile as all that it wrote. Leaves: a line for each change, a patch, or copies; or the layers' end. Never: a link
//! followed, or a name printed that would steer a terminal.

mod apply;
mod change;
mod export;
mod patch;
mod tree;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use config::WorkerId;
use serde::Serialize;

use self::change::{Change, Changes};
pub(crate) use self::tree::remove as remove_tree;
use crate::args;
use crate::layers::{self, Layer};
use crate::out::out;
use crate::places::Places;
use crate::report::Report;
use crate::running;

/// The changes to one directory.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(serialize_with = "change::as_text")]
    tree: std::path::PathBuf,
    changes: Vec<Change>,
    /// What could not be looked at, and why.
    unread: Vec<String>,
}

/// Shows, exports or discards. The exit code is 1 where something could not be looked at or was left out.
///
/// # Errors
/// When there are no layers, or they cannot be read.
pub fn run(places: &Places, arguments: &args::Diff) -> Result<ExitCode, Report> {
    let worker = chosen(places, arguments)?;
    if arguments.discard || arguments.apply {
        has_ended(places, &worker)?;
    }
    if arguments.discard {
        return discard(places, &worker);
    }
    let mut layers = layers::of(places, &worker)?;
    if arguments.export.is_some() {
        // Of what was written everything is to be had, whatever has become of the directory.
        layers.iter_mut().for_each(|layer| layer.was = None);
    }
    if layers.is_empty() {
        return Err(none(&format!("worker {worker} has")));
    }
    let mut told = Vec::new();
    for layer in &layers {
        let Layer { tree, upper, .. } = layer;
        let Changes { changes, unread } = change::find(layer)
            .map_err(|error| Report::new(format!("cannot compare {} with {}: {error}", shown(upper), shown(tree))))?;
        told.push(Told { tree: tree.clone(), changes, unread });
    }
    let mut complete = told.iter().all(|told| told.unread.is_empty());
    let mut out = out();
    if arguments.export.is_some() || arguments.apply {
        let left_out = match &arguments.export {
            Some(directory) => export::export(directory, &layers, &told)?,
            None => apply(places, &worker, &layers, &told)?,
        };
        complete &= left_out.is_empty();
        for left_out in left_out {
            writeln!(io::stderr(), "exeat: left out: {left_out}")?;
        }
    } else if arguments.json {
        let json = serde_json::to_string(&told)?;
        match io::stdout().is_terminal() {
            true => writeln!(out, "{}", patch::harmless(json.as_bytes()))?,
            false => writeln!(out, "{json}")?,
        }
    } else if arguments.patch {
        for (layer, told) in layers.iter().zip(&told) {
            if io::stdout().is_terminal() {
                let mut patch = Vec::new();
                patch::write(&mut patch, layer, told)?;
                out.write_all(patch::harmless(&patch).as_bytes())?;
            } else {
                patch::write(&mut out, layer, told)?;
            }
        }
    } else {
        for told in &told {
            if layers.len() > 1 {
                writeln!(out, "{}:", shown(&told.tree))?;
            }
            told.changes.iter().try_for_each(|change| writeln!(out, "{change}"))?;
        }
    }
    for unread in told.iter().flat_map(|told| &told.unread) {
        writeln!(io::stderr(), "exeat: not looked at: {unread}")?;
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The worker that is named, or else the last one that has layers.
fn chosen(places: &Places, arguments: &args::Diff) -> Result<WorkerId, Report> {
    let entries = match fs::read_dir(places.workers()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    let (mut all, mut layered): (Vec<WorkerId>, Vec<WorkerId>) = Default::default();
    for entry in entries.into_iter().flatten() {
        let name = entry?.file_name();
        let Some(worker) = name.to_str().and_then(|name| name.parse::<WorkerId>().ok()) else { continue };
        all.push(worker);
        let agent = || running::who(places, &worker).map(|who| who.agent);
        let of_agent = arguments.agent.is_none() || agent() == arguments.agent;
        if of_agent && layers::directory(places, &worker).is_dir() {
            layered.push(worker);
        }
    }
    if let Some(part) = &arguments.worker {
        let worker = match layered.iter().filter(|worker| part.means(worker)).count() {
            0 => part.one_of(all.iter().copied())?,
            _ => part.one_of(layered)?,
        };
        return match all.contains(&worker) {
            true => Ok(worker),
            false => Err(Report::new(format!("there is no worker {worker} in `{}`", places.workers().display()))
                .hint("`exeat diff` without one is of the last that has layers")),
        };
    }
    let last = layered.into_iter().max().ok_or_else(|| none("there are"))?;
    // Whoever goes on with `--apply` or `--discard` has to name it, so that it is the one that was looked at.
    crate::remark(&Report::new(format!("of worker {last}")));
    Ok(last)
}

fn none(who: &str) -> Report {
    Report::new(format!("{who} no layers in this state directory"))
        .hint("`write = \"overlay\"` under [sandbox] in the agent's file makes one at each start")
}

fn has_ended(places: &Places, worker: &WorkerId) -> Result<(), Report> {
    if running::all(places)?.iter().any(|running| running.worker == *worker) {
        return Err(Report::new(format!("worker {worker} still runs")).hint(format!("`exeat stop {worker}` ends it")));
    }
    Ok(())
}

/// Puts what changed into the directories, all of it or nothing.
fn apply(places: &Places, worker: &WorkerId, layers: &[Layer], told: &[Told]) -> Result<Vec<String>, Report> {
    if let Some(unread) = told.iter().flat_map(|told| &told.unread).next() {
        return Err(Report::new(format!("nothing was applied: this could not be looked at: {unread}")));
    }
    if let Some(layer) = layers.iter().find(|layer| layer.was.is_none()) {
        let told = format!("which directory {} was when the worker began was not written down", shown(&layer.tree));
        return Err(Report::new(told)
            .hint("that is since this version: use `--export DIR` or `--patch`, and put the files in place by hand"));
    }
    let since = running::who(places, worker)
        .map(|who| who.since)
        .ok_or_else(|| Report::new(format!("worker {worker} does not say when it began")).hint("use `--export DIR`"))?;
    let mut conflicts = Vec::new();
    for (layer, told) in layers.iter().zip(told) {
        conflicts.extend(apply::conflicts(layer, told, since)?);
    }
    if !conflicts.is_empty() {
        return Err(apply::refused(&conflicts));
    }
    let left_out: Result<Vec<_>, _> = layers.iter().zip(told).map(|(layer, told)| apply::apply(layer, told)).collect();
    Ok(left_out?.concat())
}

/// Takes away what was written.
fn discard(places: &Places, worker: &WorkerId) -> Result<ExitCode, Report> {
    let directory = layers::directory(places, worker);
    if !directory.is_dir() {
        return Err(none(&format!("worker {worker} has")));
    }
    tree::remove(&directory).map_err(|error| Report::new(format!("cannot remove {}: {error}", shown(&directory))))?;
    writeln!(out(), "{worker}: discarded")?;
    Ok(ExitCode::SUCCESS)
}

/// A path as a terminal may be shown it.
fn shown(path: &Path) -> String {
    let quoted = format!("{path:?}");
    match path.to_str() {
        Some(plain) if quoted[1..quoted.len() - 1] == *plain && !plain.is_empty() => plain.to_owned(),
        _ => quoted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_name_steers_no_terminal() {
        for plain in ["a/b", "a b", "ü", "'x'"] {
            assert_eq!(shown(Path::new(plain)), plain);
        }
        for hostile in ["a\u{1b}[2J", "a\nb", "a\"b", "a\u{202e}b", "a\\b", ""] {
            let told = shown(Path::new(hostile));
            assert!(told.starts_with('"') && !told.contains(['\u{1b}', '\n', '\u{202e}']), "{told}");
        }
        assert_eq!(shown(Path::new(OsStr::from_bytes(b"a\xff"))), "\"a\\xFF\"");
    }
}
