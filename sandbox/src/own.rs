//! What exeat itself goes by, wherever the links on the way to it lead.
//!
//! For: `plan`. In: its paths, what is shown. Out: what is to be covered. Never: a start with what the command could put in the place of one of them,
//! in the link on the way to it, or in what it leads to: exeat would go by that, at once or at the next start.

use crate::{
    cover,
    error::{Error, Step},
    filesystem,
    plan::Bind,
    secrets,
    trail::Trail,
};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Where they are.
pub(crate) fn places(own: &[PathBuf], binds: &[Bind]) -> Result<BTreeSet<PathBuf>, Error> {
    let follow = |path: &PathBuf| Trail::of(path).map_err(|error| cover::unseen(path, error));
    let trails: Vec<Trail> = own.iter().map(follow).collect::<Result<_, _>>()?;
    let directories: BTreeSet<&Path> = trails.iter().map(|trail| &*trail.end).filter(|end| end.is_dir()).collect();
    // A directory is covered in its place, and so is all that is in it.
    let loose = |place: &Path| !directories.iter().any(|directory| place.starts_with(directory));
    let shown = |place: &Path| binds.iter().any(|bind| place.starts_with(&bind.source));
    let written =
        |place: &Path| binds.iter().any(|bind| bind.write && bind.layer.is_none() && place.starts_with(&bind.source));
    let mut found = BTreeSet::new();
    for (path, Trail { links, end }) in own.iter().zip(&trails) {
        if let Some(link) = links.iter().find(|link| loose(link) && written(link)) {
            return Err(Step::Plan.failed("go by a link that the command could change,").on(link.display()).hint_at(
                format!("`{}` is reached by it: name the place that it leads to, or {ELSEWHERE}", path.display()),
            ));
        }
        match fs::symlink_metadata(end) {
            Ok(file) if file.is_dir() || !loose(end) => drop(found.insert(end.clone())),
            Ok(_) if written(end) => return Err(could_be_written(end, &format!("what `{}` leads to", path.display()))),
            // The system's own are for everybody to read.
            Ok(_) if filesystem::is_program(end) => {}
            Ok(_) => drop(found.insert(end.clone())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cover::unseen(end, error)),
            Err(_) if loose(end) && shown(end) => {
                return Err(Step::Plan
                    .failed("hide what is not there yet, and would be in sight once it is,")
                    .on(end.display())
                    .hint_at("make it beforehand, or have it where the policy shows nothing"));
            }
            Err(_) => {}
        }
    }
    let others = secrets::other_names(binds, &found)?;
    if let Some(other) = others.iter().find(|other| loose(other) && written(other)) {
        return Err(could_be_written(other, "another name of one of exeat's own files"));
    }
    found.extend(others);
    Ok(found)
}

/// What may be seen, but neither changed nor replaced. What a directory among `own` holds is covered with it.
pub(crate) fn keep(relied_on: &[PathBuf], own: &[PathBuf], binds: &[Bind]) -> Result<(), Error> {
    let covered: Vec<PathBuf> =
        own.iter().filter_map(|path| Some(Trail::of(path).ok()?.end)).filter(|end| end.is_dir()).collect();
    let writable: Vec<&Bind> = binds.iter().filter(|bind| bind.write && bind.layer.is_none()).collect();
    let written = |place: &Path| {
        let within = |bind: &&Bind| place.starts_with(&bind.source) || place.starts_with(&bind.target);
        writable.iter().any(within) && !covered.iter().any(|directory| place.starts_with(directory))
    };
    let mut kept = BTreeSet::new();
    for path in relied_on {
        // Where the way to it is closed, what it is called has to do.
        let trail = Trail::of(path).unwrap_or_else(|_| Trail { links: Vec::new(), end: path.clone() });
        if let Some(place) = trail.links.iter().chain([&trail.end]).find(|place| written(place)) {
            let failed = Step::Plan.failed("go by what the command could change or replace,").on(place.display());
            return Err(failed.hint_at(format!("exeat runs it or believes it, as `{}`: {ELSEWHERE}", path.display())));
        }
        if !filesystem::is_program(&trail.end) {
            kept.insert(trail.end);
        }
    }
    match secrets::other_names(binds, &kept)?.iter().find(|other| written(other)) {
        Some(other) => Err(could_be_written(other, "another name of a file that exeat runs or believes")),
        None => Ok(()),
    }
}

const ELSEWHERE: &str = "have it where the policy does not let the command write";

/// It could be covered; but whoever puts another in its place outside takes the cover away.
fn could_be_written(end: &Path, what: &str) -> Error {
    let failed = Step::Plan.failed("go by a file that the command could write to,").on(end.display());
    failed.hint_at(format!("it is {what}: {ELSEWHERE}"))
}
