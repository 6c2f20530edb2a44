//! A call for access that exeat answers itself.
//!
//! Enters: a permitted call and its body. Leaves: the placeholder of the access that is asked for, in the record as answered here; any other
//! call as it came. Never: a byte upstream. The key that an assertion is signed with was made for the sandbox, and no issuer would take it;
//! the access itself is leased when a call carries its placeholder.

use std::ops::ControlFlow;

use bytes::Bytes;
use config::CallPermit;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};

use super::{body, start};
use crate::connection::Connection;
use crate::error::Refusal;
use crate::limit;
use crate::record::{CallRecord, Sent};
use crate::request::Call;
use crate::serve::Worker;
use crate::swap::Asserted;
use crate::tool::Asked;
use crate::upstream::Body;

/// What clients of Google take an access token to be good for, and ask again; what it really stands for is renewed by the broker.
const EXPIRES_IN: u32 = 3600;

/// Answers a call that asks for access by an assertion; gives back the body of any other.
///
/// # Errors
/// [`Refusal::Malformed`] for a body that does not come, [`Refusal::LogUnavailable`].
pub(super) async fn answer(
    worker: &Worker,
    connection: &Connection,
    call: &Call,
    permit: &CallPermit,
    body: Body,
) -> Result<ControlFlow<Response<Body>, Body>, Refusal> {
    let asserted = worker.swap.asserted(&call.head(permit.credential())).filter(|_| call.method.as_str() == "POST");
    let short = body.size_hint().upper().is_some_and(|length| length <= limit::EXAMINED_BODY);
    match asserted.filter(|_| short) {
        Some(asserted) => Box::pin(read(asserted, worker, connection, call, permit, body)).await,
        None => Ok(ControlFlow::Continue(body)),
    }
}

async fn read(
    asserted: Asserted,
    worker: &Worker,
    connection: &Connection,
    call: &Call,
    permit: &CallPermit,
    body: Body,
) -> Result<ControlFlow<Response<Body>, Body>, Refusal> {
    let (form, trailers) = body::whole(body).await?;
    if !asserted.is_in(&form) {
        let rest = Full::new(form).with_trailers(async move { trailers.map(Ok) });
        return Ok(ControlFlow::Continue(rest.map_err(|never| match never {}).boxed_unsync()));
    }
    let start = start(worker, connection, call, permit, None, &Asked::default());
    let record = CallRecord::start(&connection.account, start, Sent::default())?;
    let access = serde_json::json!({
        "access_token": asserted.access().value(),
        "token_type": "Bearer",
        "expires_in": EXPIRES_IN,
    });
    let mut response =
        Response::new(Full::new(Bytes::from(access.to_string())).map_err(|never| match never {}).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    record.answered_here(
        200,
        format!("with the placeholder of credential `{}`; nothing was sent", asserted.credential()),
    );
    Ok(ControlFlow::Break(response))
}
