//! A call's own name: its worker's last characters, and the number of its first record.
//!
//! Enters: the directories of workers; a name as typed. Leaves: as few characters as tell these workers apart; the worker and the number that
//! a name means. Never: one of two workers that it could mean.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use record::read::WorkerLog;

use crate::report::Report;

/// Enough for some hundred workers, and as many as a person takes in at once.
const SHORTEST: usize = 6;
/// What is said of an id that could mean several.
const SHOWN: usize = 5;

/// A call, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallId {
    worker: String,
    /// The number of a record.
    pub seq: u64,
}

impl CallId {
    /// The log that it is in.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn log<'l>(&self, logs: &'l [WorkerLog]) -> Result<&'l WorkerLog, Report> {
        let whole = |log: &&WorkerLog| hex(log.worker()) == self.worker;
        if let Some(log) = logs.iter().find(whole) {
            return Ok(log);
        }
        let found: Vec<&WorkerLog> = logs.iter().filter(|log| means(&self.worker, log.worker())).collect();
        match &found[..] {
            [log] => Ok(log),
            [] => Err(Report::new(format!("no worker's id ends or begins with `{}`", self.worker))
                .hint("`exeat calls` has the id of each call in its first column")),
            several => {
                let names: Vec<_> = several.iter().take(SHOWN).map(|log| name(log.worker()).to_string()).collect();
                Err(Report::new(format!("`{}` is part of the ids of {} workers", self.worker, several.len()))
                    .hint(format!("write more of it: {}", names.join(", "))))
            }
        }
    }
}

impl FromStr for CallId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write WORKER/NUMBER, such as 3fa2c1/12: `exeat calls` has it in its first column";
        let (worker, seq) = text.rsplit_once('/').ok_or(wrong)?;
        let worker = worker.replace('-', "").to_ascii_lowercase();
        let is_id = worker.len() >= 4 && worker.bytes().all(|byte| byte.is_ascii_hexdigit());
        let seq = seq.parse().ok().filter(|_| is_id && seq.bytes().all(|byte| byte.is_ascii_digit())).ok_or(wrong)?;
        Ok(CallId { worker, seq })
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.worker, self.seq)
    }
}

/// Whether a part of an id, without hyphens and in small letters, is how that of the worker with this directory begins or ends.
pub fn means(part: &str, worker: &Path) -> bool {
    let id = hex(worker);
    id.starts_with(part) || id.ends_with(part)
}

/// The short names of the workers with these directories, in their order.
pub fn short<'w>(workers: impl Iterator<Item = &'w Path> + Clone) -> Vec<String> {
    let ids: Vec<String> = workers.map(hex).collect();
    let longest = ids.iter().map(String::len).max().unwrap_or(SHORTEST);
    let end = |id: &String, length: usize| id[id.len().saturating_sub(length)..].to_owned();
    let tells_apart = |length: &usize| {
        let mut seen = HashSet::new();
        ids.iter().all(|id| seen.insert(&id[id.len().saturating_sub(*length)..]))
    };
    let length = (SHORTEST..=longest).find(tells_apart).unwrap_or(longest);
    ids.iter().map(|id| end(id, length)).collect()
}

fn name(worker: &Path) -> std::borrow::Cow<'_, str> {
    worker.file_name().unwrap_or_default().to_string_lossy()
}

/// An id without what divides it. The name of a directory that is no worker's is cut at no letter.
fn hex(worker: &Path) -> String {
    name(worker).chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_tells_the_workers_apart_that_there_are() {
        let names = |ids: &[&str]| short(ids.iter().map(Path::new));
        assert_eq!(names(&["/w/0198-aaaa-11112222", "/w/0198-bbbb-33334444"]), ["112222", "334444"]);
        assert_eq!(names(&["/w/0198-aaaa-11112222", "/w/0198-bbbb-11112222"]), ["a11112222", "b11112222"]);
        assert_eq!(names(&["/w/ab", "/w/ä"]), ["ab", ""]);
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn an_id_is_a_worker_and_a_number() {
        let id: CallId = "0198AAAA-1111/12".parse().unwrap();
        assert_eq!((id.worker.as_str(), id.seq), ("0198aaaa1111", 12));
        assert!(means("0198", Path::new("/w/0198-ab")) && means("8ab", Path::new("/w/0198-ab")));
        assert!(!means("198", Path::new("/w/0198-ab")));
        for bad in ["", "12", "/12", "abc/1", "abcd/", "abcd/-1", "abcd/+1", "wxyz/1", "abcd/1/x"] {
            assert!(bad.parse::<CallId>().is_err(), "{bad}");
        }
    }
}
