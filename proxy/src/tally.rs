//! What was refused in one worker, counted by what it was, for whoever started it to read at its end.
//!
//! Enters: refusals, as they go into the call log. Leaves: the most frequent of them, each with its hint. Never: more than a bounded number of
//! different ones, whatever a client thinks up; a placeholder, as the log has none; a character that a terminal acts on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::limit;

/// One kind of call that was refused, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// How often.
    pub times: u64,
    /// The call, or where the connection went.
    pub what: String,
    /// The kind of refusal, as in the log.
    pub kind: &'static str,
    /// In one line: the command that says what would allow it, or what else to do.
    pub hint: String,
}

/// What was refused, and the kind of refusal.
type Refused = (String, &'static str);

/// The refusals of a worker: how often each, and its hint.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<HashMap<Refused, (u64, String)>>);

impl Tally {
    /// One more. What is new when there are too many different ones is counted by the log alone.
    pub(crate) fn count(&self, what: &str, kind: &'static str, hint: impl FnOnce() -> String) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (plain(what), kind);
        if let Some((times, _)) = seen.get_mut(&key) {
            *times += 1;
        } else if seen.len() < limit::REFUSALS_TOLD_APART {
            seen.insert(key, (1, plain(&hint())));
        }
    }

    /// The most frequent ones, at most `most` of them.
    pub(crate) fn top(&self, most: usize) -> Vec<Counted> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = seen.iter().map(|((what, kind), (times, hint))| Counted {
            times: *times,
            what: what.clone(),
            kind,
            hint: hint.clone(),
        });
        let mut counted: Vec<Counted> = counted.collect();
        counted.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.what.cmp(&b.what)));
        counted.truncate(most);
        counted
    }
}

/// A line of printable characters, of a length that fits a sentence.
fn plain(text: &str) -> String {
    const LONGEST: usize = 700;
    let line = text.trim().lines().next().unwrap_or_default();
    let mut shown: String =
        line.chars().take(LONGEST).map(|c| if matches!(c, ' '..='~' | '‹' | '›') { c } else { '?' }).collect();
    if line.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_the_number_of_different_ones_is_bounded() {
        let tally = Tally::default();
        for n in 0..limit::REFUSALS_TOLD_APART + 50 {
            tally.count(&format!("GET https://h{n:04}.example.com/"), "host-not-listed", || "once".to_owned());
        }
        for _ in 0..3 {
            tally.count("GET https://h0007.example.com/", "host-not-listed", || panic!("it is known"));
        }
        let top = tally.top(2);
        assert_eq!((top[0].times, top[0].what.as_str()), (4, "GET https://h0007.example.com/"));
        assert_eq!((top[1].times, top[1].what.as_str()), (1, "GET https://h0000.example.com/"));
        assert_eq!(tally.top(usize::MAX).len(), limit::REFUSALS_TOLD_APART);
    }

    #[test]
    fn nothing_of_it_moves_a_cursor() {
        let tally = Tally::default();
        tally.count("GET /\u{1b}[2J\u{202e}é\rx", "malformed", || "mend\u{9b}it\nsecond line".to_owned());
        let Counted { what, hint, .. } = tally.top(1).remove(0);
        assert_eq!((what.as_str(), hint.as_str()), ("GET /?[2J???x", "mend?it"));
    }
}
