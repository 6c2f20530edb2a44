//! Calls inside a request's body: where a rule has `mcp` or `graphql`, the body is judged like the head.
//!
//! Enters: a permit, and the body of its request after the search for placeholders. Leaves: the same bytes, and what they ask
//! for; or an [`Objection`]. Never: a byte upstream of a body that was not read whole, or that has more than one reading.
//!
//! What goes upstream is the bytes that came, not a re-serialisation: they are what the search for placeholders has seen, and a
//! body with a second reading (keys that come twice, in another case or escaped, bytes behind the end) is refused.

mod answer;
mod document;
mod events;
mod graphql;
mod json;
mod listed;
mod listing;
mod mcp;
mod message;
mod mirror;
mod objection;
mod posted;
mod query;
mod room;
mod walk;

use config::{CallPermit, Protocol};
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, HeaderValue};

pub(crate) use self::answer::answer;
pub use self::events::Events;
pub use self::json::Json;
pub use self::listing::Listing;
pub use self::message::{Unreadable, read};
pub use self::objection::Objection;
pub(crate) use self::posted::up_to;
pub(crate) use self::room::Place;
pub use self::room::Room;

use self::objection::Why;
use crate::error::Refusal;
use crate::request::{Call, ask_for_all};
use crate::swap::Swap;
use crate::upstream::Body;

/// What a body that was judged asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// The tools or operations, as the log names them.
    pub name: Option<String>,
    /// What of the answer's lists may be seen.
    pub listing: Option<Listing>,
}

impl Asked {
    /// Asks for an answer that can be read whole, where it has to be.
    pub(crate) fn accept(&self, headers: &mut HeaderMap) {
        if self.listing.is_some() {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            ask_for_all(headers);
        }
    }
}

/// Judges the body of a permitted request by the protocol of its rule. Where the rule looks into no bodies, nothing is asked for.
///
/// # Errors
/// [`Refusal::Tool`]; [`Refusal::Malformed`] for a body that does not come.
pub async fn judge(
    room: &Room,
    swap: &Swap,
    permit: &CallPermit,
    call: &Call,
    upgrade: bool,
    body: Body,
) -> Result<(Body, Asked), Refusal> {
    let Some(protocol) = permit.protocol() else { return Ok((body, Asked::default())) };
    let refused = |why: Why| Refusal::Tool(Box::new(Objection::new(permit.rule(), protocol, why)));
    if upgrade {
        let what = "a WebSocket, whose messages are not judged here";
        return Err(refused(Why::form(what, "send each call as a POST request")));
    }
    let posted = posted::whole(room, body).await?.map_err(refused)?;
    let asked = match protocol {
        Protocol::Mcp(rule) => mcp::judge(permit.rule(), rule, swap, call, &posted.bytes).await,
        Protocol::GraphQl(rule) => graphql::judge(rule, swap, call, &posted.bytes).await,
    };
    Ok((posted.into_body(), asked.map_err(refused)?))
}

/// A placeholder may stand in an argument or a variable. In what is judged, something else would be sent than was judged.
fn as_it_is(swap: &Swap, text: &str) -> Result<(), Why> {
    if swap.redact(text) == text {
        Ok(())
    } else {
        Err(Why::shape("a placeholder stands in what says which call it is"))
    }
}
