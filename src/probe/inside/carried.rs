//! Attempts that exeat may mend: what goes out has to be the one request that was judged.
//!
//! Enters: a call that may go out, to the canary at the end of all calls, and something with more than one reading. Leaves: whether the canary
//! heard what exeat had judged, and nothing beside it. Never: a call with a credential of its own, which would be leased for it.

use std::io;

use super::super::brief::{Brief, Call};
use super::super::evidence::SENT;
use super::super::finding::Outcome;
use super::super::heard::{Heard, Request, hex};
use super::super::upstream::RECALL;
use super::answer::{Answer, judged};
use super::request::filled;

/// Fields that concern one hop, or that an attempt has `Connection` name; none of them goes further.
const ONE_HOP: [&str; 9] = [
    "authorization",
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "upgrade",
    "x-probe-hop",
];

/// An attempt at a call that may go out.
pub(super) fn carried(brief: &Brief, attempt: impl FnOnce(&Call) -> Outcome) -> Outcome {
    let none =
        "no rule lets out an ordinary call for which nothing is leased, so that nothing may go out to the canary";
    brief.carried.as_ref().map_or_else(|| Outcome::not_applicable(none), attempt)
}

/// Requests of templates, each with the body that one who reads them aright finds.
pub(super) fn as_judged(brief: &Brief, id: &str, templates: &[(&str, &str)]) -> Outcome {
    carried(brief, |call| {
        let other = format!("other.{}", brief.unlisted);
        let tries = templates.iter().map(|(template, body)| {
            let answer = call.say(filled(template, call, &call.sent(id), &other).as_bytes());
            heard_as_judged(brief, call, id, body, answer)
        });
        Outcome::of_all(tries, "")
    })
}

/// The outcome of something of which each part has to be refused, or to be heard as it was judged.
pub(super) fn heard_as_judged(brief: &Brief, call: &Call, id: &str, body: &str, answer: io::Result<Answer>) -> Outcome {
    match answer {
        Ok(answer) if !answer.is_refusal() && !answer.parts().is_empty() => {
            let outcome = |part: Answer| match part.heard(&brief.nonce) {
                Some(_) if part.text().to_ascii_lowercase().contains("\nalt-svc:") => {
                    Outcome::broke("the answer led to another server (Alt-Svc)")
                }
                Some(heard) => one(&heard, call, id, body),
                None => judged("", Ok(part)),
            };
            Outcome::of_all(answer.parts().into_iter().map(outcome), "")
        }
        answer => judged("", answer),
    }
}

/// Whether what the canary heard is the one request.
fn one(heard: &Heard, call: &Call, id: &str, body: &str) -> Outcome {
    let [request] = &heard.requests[..] else {
        return Outcome::broke(format!("the canary heard {} requests", heard.requests.len()));
    };
    let line = format!("{} {} HTTP/1.1", call.method, call.sent(id));
    let host = request.field("host").unwrap_or_default();
    let passed = ONE_HOP.into_iter().find(|name| request.field(name).is_some());
    match () {
        () if !heard.rest.is_empty() => Outcome::broke("the canary heard more behind the request"),
        () if request.line != line => Outcome::broke(format!("the canary heard `{}`", request.line)),
        () if ![call.authority(), call.in_the_clear(), format!("{}:{}", call.host, call.port)]
            .contains(&host.to_owned()) =>
        {
            Outcome::broke(format!("the canary heard it for `{host}`"))
        }
        () if passed.is_some() => Outcome::broke(format!("`{}` was passed on", passed.unwrap_or_default())),
        () if request.body != hex(body.as_bytes()) || !request.whole || !request.trailers.is_empty() => {
            Outcome::broke("the canary heard another body")
        }
        () => Outcome::held("went out as the one request that was judged"),
    }
}

/// What the canary heard and has not answered since this was last asked.
pub(super) fn unanswered(brief: &Brief, call: &Call) -> io::Result<Vec<Request>> {
    debug_assert!(RECALL.starts_with(SENT));
    let secret = &brief.canaries.recall;
    let (method, path, host) = (&call.method, &call.path, call.authority());
    let request = format!("{method} {path}?{RECALL}{secret} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = call.say(request.as_bytes())?;
    let told = answer.parts().iter().find_map(|part| part.heard(&brief.nonce));
    told.map(|heard| heard.unanswered).ok_or_else(|| io::Error::other(format!("the canary was not asked: {answer}")))
}
