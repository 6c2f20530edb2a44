//! A credential that an upstream answers with.
//!
//! Enters: a call that may go out, to the canary at the end of all calls, and the word that stands for a credential. Leaves: whether that word came
//! in, in whatever spelling. Never: a real credential, which the canary would have to have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::brief::{Brief, Call};
use super::super::finding::{Outcome, Probe};
use super::super::stand_in;
use super::answer::judged;
use super::carried::carried;
use super::request::{filled, with};

pub(super) const PROBES: &[Probe] = &[Probe::new(
    "placeholders/answer",
    "a credential in an answer: in its head, as it is, in base64, and in a compressed body",
    |brief| {
        carried(brief, |call| {
            Outcome::of_all([("shown", 2), ("compressed", 1)].map(|(form, times)| shown(brief, call, form, times)), "")
        })
    },
)];

/// As often as it was in the answer, its placeholder is there instead.
fn shown(brief: &Brief, call: &Call, form: &str, times: usize) -> Outcome {
    let (credential, placeholder) = stand_in::pair(&brief.nonce);
    let template = with(&[&format!("X-Probe-Answer: {form}")], "");
    let answer = call.say(filled(&template, call, &call.sent("placeholders/answer"), "").as_bytes());
    let spellings = [STANDARD.encode(&credential), credential];
    match answer {
        Ok(answer) if spellings.iter().any(|spelling| answer.text().contains(spelling)) => {
            Outcome::broke(format!("{form}: the credential came in"))
        }
        Ok(answer) if answer.text().matches(&placeholder).count() >= times => {
            Outcome::held(format!("{form}: its placeholder came in its place"))
        }
        answer => judged(form, answer),
    }
}
