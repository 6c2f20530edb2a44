//! How much of a text is written where whoever is logged chose it.
//!
//! Enters: an event, whose texts have nothing in them that is not to be in a log. Leaves: the same with no text longer than [`LONGEST_TEXT`], and of
//! each that was its length and SHA-256, so that who has the whole can prove that it was this one. Never: a part of a text that does not say that
//! it is one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Line};
use crate::hash::Hash;

/// Longer than the paths and queries of nearly all calls, and short enough that a record is no file. What is cut ends in [`ENDING`], which is in it.
pub const LONGEST_TEXT: usize = 4 * 1024;
/// What a text ends in that was cut.
pub const ENDING: char = '…';

/// What was cut in a record, by the names of the fields.
pub type Cuts = BTreeMap<Cow<'static, str>, Whole>;

/// A text before it was cut, as it would have been written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Whole {
    /// Its length in bytes, in UTF-8.
    pub bytes: u64,
    /// The SHA-256 of these.
    pub sha256: Hash,
}

impl Line {
    /// Whether these fields, by their names, have all that they had.
    pub fn is_whole(&self, fields: &[&str]) -> bool {
        !fields.iter().any(|field| self.cut.contains_key(*field))
    }
}

/// What was cut, for a person: `path (61440 bytes, SHA-256 …)`.
pub fn told(cuts: &Cuts) -> Option<String> {
    let one = |(field, Whole { bytes, sha256 }): (&Cow<'static, str>, &Whole)| {
        format!("{field} ({bytes} bytes, SHA-256 {sha256})")
    };
    (!cuts.is_empty()).then(|| cuts.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Cuts what is too long. Names, ids, addresses and words of exeat's own have bounds where they are parsed.
pub(crate) fn cut(event: &mut Event) -> Cuts {
    let mut cuts = Cuts::new();
    let mut within = |field, text: &mut String| {
        if text.len() > LONGEST_TEXT {
            cuts.insert(Cow::Borrowed(field), shorten(text));
        }
    };
    match event {
        Event::CallStart(start) => {
            if start.method.len() > LONGEST_TEXT {
                within("method", start.method.to_mut());
            }
            within("path", &mut start.path);
            start.query.iter_mut().for_each(|query| within("query", query));
            start.tool.iter_mut().for_each(|tool| within("tool", tool));
            start.observed.iter_mut().for_each(|observed| within("observed", &mut observed.reason));
        }
        Event::CallEnd(end) => end.reason.iter_mut().for_each(|reason| within("reason", reason)),
        Event::Refused(refused) => {
            within("to", &mut refused.to);
            refused.method.iter_mut().for_each(|method| within("method", method));
            refused.path.iter_mut().for_each(|path| within("path", path));
            refused.tool.iter_mut().for_each(|tool| within("tool", tool));
            within("reason", &mut refused.reason);
            refused.hint.iter_mut().for_each(|hint| within("hint", hint));
        }
        Event::NameAsked(asked) => within("name", &mut asked.name),
        Event::SegmentKept(kept) => within("reason", &mut kept.reason),
        // What starts a worker, its command above all, is its operator's to choose, and so is a policy.
        Event::WorkerStart(_)
        | Event::SegmentStart(_)
        | Event::TunnelStart(_)
        | Event::CallRetried(_)
        | Event::PolicyReloaded { .. }
        | Event::PolicyRejected { .. }
        | Event::WorkerEnd(_) => {}
    }
    cuts
}

fn shorten(text: &mut String) -> Whole {
    let whole = Whole { bytes: text.len() as u64, sha256: Hash::of(text.as_bytes()) };
    text.truncate(text.floor_char_boundary(LONGEST_TEXT - ENDING.len_utf8()));
    text.push(ENDING);
    text.shrink_to_fit();
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{NameAsked, Refused};

    fn asked(name: String) -> (Cuts, String) {
        let mut event = Event::NameAsked(NameAsked { name, kind: "A".to_owned() });
        let cuts = cut(&mut event);
        let Event::NameAsked(asked) = event else { panic!("{event:?}") };
        (cuts, asked.name)
    }

    #[test]
    fn a_text_is_cut_between_characters_says_so_and_can_be_proven() {
        assert_eq!(asked("a".repeat(LONGEST_TEXT)), (Cuts::new(), "a".repeat(LONGEST_TEXT)));
        let whole = "ä".repeat(LONGEST_TEXT);
        let (cuts, text) = asked(whole.clone());
        assert_eq!(cuts["name"], Whole { bytes: whole.len() as u64, sha256: Hash::of(whole.as_bytes()) });
        let kept = text.strip_suffix(ENDING).unwrap();
        assert!(text.len() <= LONGEST_TEXT && whole.starts_with(kept) && kept.len() > LONGEST_TEXT - 6);
        // What is written is not cut again.
        assert_eq!(asked(text.clone()), (Cuts::new(), text));
    }

    #[test]
    fn no_text_of_a_refusal_is_longer_than_that() {
        let long = || "x".repeat(1 << 20);
        let mut event = Event::Refused(Refused {
            connection: 1,
            to: long(),
            scheme: None,
            method: Some(long()),
            path: Some(long()),
            tool: Some(long()),
            kind: "malformed".to_owned(),
            status: None,
            reason: long(),
            rule: None,
            policy: None,
            hint: Some(long()),
            trace: None,
            alert: false,
        });
        let cuts = cut(&mut event);
        let fields: Vec<&str> = cuts.keys().map(AsRef::as_ref).collect();
        assert_eq!(fields, ["hint", "method", "path", "reason", "to", "tool"]);
        assert!(serde_json::to_string(&event).unwrap().len() < 7 * LONGEST_TEXT);
    }
}
