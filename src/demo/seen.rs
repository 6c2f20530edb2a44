//! What the demo's server saw, against what should have reached it.
//!
//! Enters: the server's report and what the script tried. Leaves: a verdict on each promise about what goes out. Never: a look at
//! what exeat says of itself; the server is a witness of its own.

use serde::{Deserialize, Serialize};

use super::narrator::Narrator;
use super::steps::{self, Tried};
use crate::report::Report;

/// Everything that reached the server.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    /// What the API was asked, in order.
    pub(super) requests: Vec<Request>,
    /// Access tokens that were given out.
    pub(super) issued: Vec<String>,
    /// Access tokens that were given back.
    pub(super) revoked: Vec<String>,
    /// Datagrams.
    pub(super) datagrams: Vec<String>,
}

/// One request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) method: String,
    /// Host and path.
    pub(super) to: String,
    /// Head and body as they came.
    pub(super) text: String,
    /// Whether it carried an access token that was live.
    pub(super) live: bool,
}

/// Says what arrived, and judges it.
pub(super) fn narrate(narrator: &mut Narrator, seen: &Seen, tried: &Tried) -> Result<(), Report> {
    narrator.step("The API's own view of it: only what was allowed has arrived")?;
    for request in &seen.requests {
        let with = if request.live { "with a live access token" } else { "without one" };
        narrator.output(&format!("{:<6} {:<32} {with}", request.method, request.to))?;
    }
    let arrived = seen.requests.iter().map(|request| (format!("{} {}", request.method, request.to), request.live));
    let expected = steps::arrivals().map(|arrival| (arrival.call.to_owned(), arrival.live));
    narrator.verdict(arrived.eq(expected), "these calls and no others, the access token where the policy puts it")?;

    let placeholders = seen.requests.iter().filter(|request| request.text.contains(&tried.placeholder)).count();
    narrator.verdict(placeholders == 0, "no request held a placeholder")?;
    narrator.verdict(seen.datagrams.is_empty(), "no datagram arrived")?;

    let inside = seen.issued.iter().filter(|access| tried.output.contains(*access)).count();
    narrator.verdict(inside == 0, "the script never got to see an access token")?;

    let revoked = !seen.issued.is_empty() && seen.issued.iter().all(|access| seen.revoked.contains(access));
    let counted =
        format!("access tokens issued: {}, revoked when the worker ended: {}", seen.issued.len(), seen.revoked.len());
    narrator.verdict(revoked, &counted)?;
    Ok(())
}
