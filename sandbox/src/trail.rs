//! The way to a file, link by link.
//!
//! For: `own`, and whoever keeps a file under watch. In: a path. Out: each link on the way, and where the way ends, whether or not anything is
//! there. Never: a look at what that is.

use rustix::io::Errno;
use std::{
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// The kernel follows no more.
const MOST_LINKS: usize = 40;

/// All that decides what is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// The links, as they are followed; no link is on the way to one of them but those before it.
    pub links: Vec<PathBuf>,
    /// Where they lead.
    pub end: PathBuf,
}

impl Trail {
    /// Follows an absolute path.
    ///
    /// # Errors
    /// Where a directory on the way is closed, or links lead round in a circle.
    pub fn of(path: &Path) -> io::Result<Self> {
        let (mut links, mut end) = (Vec::new(), PathBuf::from("/"));
        let mut left: Vec<OsString> = backwards(path).collect();
        while let Some(name) = left.pop() {
            if name == ".." {
                end.pop();
                continue;
            }
            let place = end.join(name);
            match fs::read_link(&place) {
                Ok(_) if links.len() == MOST_LINKS => return Err(Errno::LOOP.into()),
                Ok(target) => {
                    if target.is_absolute() {
                        end = PathBuf::from("/");
                    }
                    left.extend(backwards(&target));
                    links.push(place);
                }
                Err(error) => match Errno::from_io_error(&error) {
                    // No link; or nothing is there, and so no link further on.
                    Some(Errno::INVAL | Errno::NOENT) => end = place,
                    _ => return Err(error),
                },
            }
        }
        Ok(Self { links, end })
    }
}

/// The names in it, the last one first.
fn backwards(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_link_is_told_in_its_place_and_the_end_also_where_nothing_is() {
        let directory = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir_all(top.join("c")).unwrap();
        symlink(top.join("a"), top.join("c/whole")).unwrap();
        symlink("../../c/whole/b/../missing/x", top.join("a/b/relative")).unwrap();
        let trail = Trail::of(&top.join("c/./whole/b/relative/y")).unwrap();
        let expected = ["c/whole", "a/b/relative", "c/whole"].map(|link| top.join(link));
        assert_eq!(trail, Trail { links: expected.to_vec(), end: top.join("a/missing/x/y") });
        symlink("circle", top.join("circle")).unwrap();
        assert_eq!(Errno::from_io_error(&Trail::of(&top.join("circle")).unwrap_err()), Some(Errno::LOOP));
        fs::write(top.join("file"), "").unwrap();
        assert_eq!(Errno::from_io_error(&Trail::of(&top.join("file/x")).unwrap_err()), Some(Errno::NOTDIR));
    }
}
