//! What an agent's policy shows of this machine, and hides of that, from here.
//!
//! Enters: the `[sandbox]` table, the directory of the start, `HOME`. Leaves: paths. Never: a pattern that came to nothing unsaid, where it was
//! to show something.

use std::path::{Path, PathBuf};

use config::{FileGlob, SandboxSettings};
use sandbox::{Expanded, Purpose, expand};

use super::no_sandbox;
use crate::report::Report;

/// Paths on this machine. What relates to the directory of the start is made absolute.
pub struct Shown {
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
    pub overlay: Vec<PathBuf>,
    pub hide: Vec<PathBuf>,
    pub home: Option<PathBuf>,
}

impl Shown {
    /// Expands all patterns, and warns of those that show nothing.
    pub fn of(settings: &SandboxSettings, directory: &Path) -> Result<Self, Report> {
        Self::expanded(settings, directory, |glob| {
            tracing::warn!(pattern = %glob, "[sandbox]: there is nothing that it could show");
        })
    }

    /// Expands all patterns; `nothing` is told of those that show nothing.
    pub fn expanded(settings: &SandboxSettings, directory: &Path, nothing: impl Fn(&FileGlob)) -> Result<Self, Report> {
        let home = home();
        let paths = |globs, purpose| -> Result<Vec<PathBuf>, Report> {
            let expanded = expand(globs, purpose, directory, home.as_deref()).map_err(no_sandbox)?;
            for Expanded { glob, paths } in &expanded {
                if paths.is_empty() && purpose == Purpose::Show {
                    nothing(glob);
                }
            }
            let mut paths: Vec<PathBuf> = expanded.into_iter().flat_map(|expanded| expanded.paths).collect();
            paths.sort();
            paths.dedup();
            Ok(paths)
        };
        Ok(Self {
            read: paths(&settings.read, Purpose::Show)?,
            write: paths(&settings.write, Purpose::Show)?,
            overlay: paths(&settings.overlay, Purpose::Show)?,
            hide: paths(&settings.hide, Purpose::Hide)?,
            home: home.clone(),
        })
    }
}

/// Where the caller lives, as they say.
fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// What each pattern of a policy comes to in `directory`, in words; and of plain paths to be shown, those that are not there.
pub fn told(settings: &SandboxSettings, directory: &Path) -> Vec<String> {
    let home = home();
    let lists: [(&str, &[FileGlob], Purpose); 4] = [
        ("read", &settings.read, Purpose::Show),
        ("write", &settings.write, Purpose::Show),
        ("overlay", &settings.overlay, Purpose::Show),
        ("hide", &settings.hide, Purpose::Hide),
    ];
    let mut told = Vec::new();
    for (list, globs, purpose) in lists {
        for glob in globs {
            let one = std::slice::from_ref(glob);
            told.push(match expand(one, purpose, directory, home.as_deref()) {
                Ok(expanded) if glob.is_plain() => match &expanded[0].paths[..] {
                    [path] if purpose == Purpose::Show && !path.exists() => {
                        format!("sandbox.{list}: `{glob}` is not there, and from here nothing starts without it")
                    }
                    _ => continue,
                },
                Ok(expanded) => format!("sandbox.{list}: `{glob}` {}", comes_to(&expanded[0].paths, directory)),
                Err(error) => format!("sandbox.{list}: {error}"),
            });
        }
    }
    told
}

fn comes_to(paths: &[PathBuf], directory: &Path) -> String {
    const MOST_TOLD: usize = 5;
    let shown = paths.iter().take(MOST_TOLD);
    let shown: Vec<String> = shown.map(|path| format!("{:?}", path.strip_prefix(directory).unwrap_or(path))).collect();
    match paths.len() {
        0 => "is nothing from here".to_owned(),
        count if count > MOST_TOLD => format!("is {count} paths from here: {}, …", shown.join(", ")),
        _ => format!("is from here: {}", shown.join(", ")),
    }
}
