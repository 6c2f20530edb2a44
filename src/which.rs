//! Which worker is meant: its id, or how that begins or ends.
//!
//! Enters: what was typed, and the workers that there are. Leaves: the one that it means. Never: one of two that it could mean.

use std::str::FromStr;

use config::WorkerId;

use crate::report::Report;

/// What is said of an id that could mean several.
const SHOWN: usize = 5;
/// Of fewer characters at the end, a slip of the finger means another.
const SHORTEST: usize = 4;
/// An id begins with the time: of fewer characters, the beginning is that of every worker of a minute, or of ten years.
const SHORTEST_BEGINNING: usize = 12;

/// An id, or a part of one, without hyphens and in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPart(String);

impl WorkerPart {
    /// Whether it is this one's id, or a part of it that is long enough.
    pub fn means(&self, worker: &WorkerId) -> bool {
        let (Self(part), id) = (self, worker.to_string().replace('-', ""));
        (part.len() >= SHORTEST_BEGINNING && id.starts_with(part)) || id.ends_with(part)
    }

    /// The one of these that it means; a whole id is one, whether it is among them or not.
    ///
    /// # Errors
    /// When it means none of them, or several.
    pub fn one_of(&self, workers: impl IntoIterator<Item = WorkerId>) -> Result<WorkerId, Report> {
        let Self(part) = self;
        let mut found: Vec<WorkerId> = Vec::new();
        if let Ok(worker) = part.parse() {
            return Ok(worker);
        }
        for worker in workers {
            if self.means(&worker) {
                found.push(worker);
            }
        }
        match &found[..] {
            [worker] => Ok(*worker),
            [] if part.len() < SHORTEST_BEGINNING => Err(Report::new(format!("no worker's id ends with `{part}`"))
                .hint("ids begin with the time: of the beginning write twelve characters or more")),
            [] => Err(Report::new(format!("no worker's id begins or ends with `{part}`"))),
            several => {
                let names: Vec<String> = several.iter().take(SHOWN).map(ToString::to_string).collect();
                let more = if several.len() > SHOWN { ", …" } else { "" };
                Err(Report::new(format!("`{part}` is part of the ids of {} workers", several.len()))
                    .hint(format!("write more of it: {}{more}", names.join(", "))))
            }
        }
    }
}

impl FromStr for WorkerPart {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = text.replace('-', "").to_ascii_lowercase();
        let is_id = part.len() >= SHORTEST && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id
            .then_some(WorkerPart(part))
            .ok_or("write the id, or at least four characters of its end or twelve of its beginning")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_means_one_worker_or_says_which_it_could_mean() {
        let ids: Vec<WorkerId> = ["0198aaaa-0000-7000-8000-00000000abcd", "0198bbbb-0000-7000-8000-00001111abcd"]
            .map(|id| id.parse().unwrap())
            .into();
        let one = |text: &str| text.parse::<WorkerPart>().unwrap().one_of(ids.clone());
        assert_eq!((one("0198aaaa-0000").unwrap(), one("1111ABCD").unwrap()), (ids[0], ids[1]));
        for time in ["0198", "0198aa", "0198aaaa-000"] {
            assert!(format!("{:?}", one(time).unwrap_err()).contains("twelve characters"), "{time}");
        }
        assert_eq!(one(&ids[1].to_string()).unwrap(), ids[1]);
        let ambiguous = one("abcd").unwrap_err();
        assert!(format!("{ambiguous:?}").contains("0198bbbb-0000"), "{ambiguous:?}");
        assert!(one("ffff").unwrap_err().to_string().contains("ends with `ffff`"));
        for bad in ["", "abc", "01-9", "wxyz", "../.."] {
            assert!(bad.parse::<WorkerPart>().is_err(), "{bad}");
        }
    }
}
