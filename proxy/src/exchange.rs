//! One request after the other on one connection, a line per step.
//!
//! Enters: a connection in the clear. Leaves: an answer to each request, streaming, or a refusal that can be read. Never: a byte
//! upstream without permit, record and swap; an answer that was not scrubbed.

mod assertion;
mod attempt;
mod body;
mod coded;
mod frames;
mod kept;
mod resting;
mod serving;
mod signed;
mod swapped;
mod watched;
mod websocket;

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use broker::{Lease, Lent};
use config::CallPermit;
use http::header::{ALT_SVC, CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use record::{CallStart, CredentialUse, Observed};

use self::attempt::{Attempt, Attempted};
use self::body::examine;
pub use self::coded::CodedWatch;
pub use self::frames::{Counted, Seen};
pub use self::serving::serve;
use self::signed::Signing;
pub use self::websocket::{Frames, NoFrame, Part};
use crate::coding::NoRoom;
use crate::connection::Connection;
use crate::error::Refusal;
use crate::leave::Leave;
use crate::memory::Sending;
use crate::record::{CallRecord, Recorded, milliseconds};
use crate::request::{Call, Came, Told, ask_for_all, remove_any, strip_hop, transfer_coded};
use crate::respond::Reader;
use crate::scrub::ScrubbedBody;
use crate::serve::Worker;
use crate::swap::{Messages, Plan};
use crate::tool::{Asked, Listing};
use crate::trace::Trace;
use crate::upstream::{Answer, Body, Carried};
use crate::{authorize, respond, scrub, tool, trace};

/// Answers one request, whatever comes of it.
async fn answer(
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let came = Came::of(&request, &worker.swap);
    let reader = Reader::of(request.version(), request.headers());
    let to_head = request.method() == http::Method::HEAD;
    let response = match call(&worker, &connection, request).await {
        Ok(response) => response,
        Err(refusal) => {
            let Connection { account, seat, destination, .. } = &*connection;
            worker.refuse_in_turn(account, seat, &destination.to_string(), Some(came.told()), &refusal).await;
            answered(&refusal, reader)
        }
    };
    // RFC 9110 section 9.3.2; over HTTP/2 a body would be sent.
    Ok(if to_head { response.map(|_| empty()) } else { response })
}

/// The life of a request. What few requests need is in a box: all that a request may have to wait for has its place in the future, which is
/// made and moved for each.
async fn call(
    worker: &Arc<Worker>,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let busy = connection.seat.busy();
    if connection.account.waits() {
        Box::pin(connection.account.turn(&worker.stop)).await;
    }
    worker.goes_on()?;
    connection.verdict.clone()?;
    let (mut call, rest) = Call::read(request, connection, &worker.swap)?;
    let policy = worker.policy.current();
    let permit = authorize::call(&policy, &call, &worker.swap)?;
    worker.rates.admit(permit.counts_against(), permit.rate())?;
    let injected = authorize::inject(&mut call, &permit, &worker.swap)?;
    let signed = signed::signature(&mut call, permit.credential(), &worker.swap)?;
    let head = call.head(permit.credential());
    let plan = worker.swap.plan(&head)?;
    let body = Sending::new(rest.body, &connection.seat, &worker.memory);
    let body = body.map_err(|error: hyper::Error| error.into()).boxed_unsync();
    let body = match assertion::answer(worker, connection, &call, &permit, body).await? {
        ControlFlow::Continue(body) => body,
        ControlFlow::Break(response) => return Ok(response),
    };
    let (signing, body) = signed::verified(signed, &call, &worker.room, body).await?;
    let form = authorize::form(&policy, &permit, &call);
    let watched = form.is_some();
    let mut body = examine(body, &head, &worker.swap, &worker.room, form).await?;
    let mut asked = Asked::default();
    if permit.protocol().is_some() {
        let (upload, came) = (body.upload(), body.unswapped());
        let judged = tool::judge(&worker.room, &worker.swap, &permit, &call, rest.upgrade.is_some(), came);
        let judged = Box::pin(judged).await;
        let (judged, asks) = judged.map_err(|refusal| upload.or(refusal))?;
        (body, asked) = (examine(judged, &head, &worker.swap, &worker.room, None).await?, asks);
    }
    let messages = rest.upgrade.is_some().then(|| Box::new(worker.swap.messages(&head)));
    let in_messages = messages.as_deref().and_then(Messages::plan).cloned();
    let (upload, plans) = (body.upload(), [plan, body.plan().cloned(), in_messages, signed::plan(signing.as_deref())]);
    let lent = lend(worker, &permit, plans.iter().flatten().next(), signing.as_deref()).await?;
    let used = lent.as_ref().map(|lent| credential(lent, plans.iter().flatten(), injected));
    let lease = lent.map(|lent| lent.lease);
    let carries = lease.as_ref().map(|lease| lease.credential.clone());
    let looked = (permit.protocol().cloned(), watched || body.is_empty());
    let again = authorize::again(&call, carries, looked);
    let (policy, permit) = authorize::anew(worker, &call, (policy, permit), &again)?;
    let permit = Arc::new(permit);
    let again = authorize::by_the_same_way(again, &permit);
    let leave = Leave::new(worker, busy, Arc::clone(&policy), lease.clone(), again);
    let (body, kept) = body.into_body(lease.as_deref().filter(|_| signing.is_none()))?;
    let upgrade = rest.upgrade.is_some();
    let (permit, policy, plans) = (&*permit, &policy, &plans);
    let attempt = Attempt { worker, connection, call: &call, permit, policy, plans, upgrade, asked: &asked };
    // What signs is not sent, so it goes into no part of the request, and no range of an answer can show it.
    let mut request = attempt.request(&leave, body, lease.as_deref().filter(|_| signing.is_none()))?;
    if signing.is_none() && worker.swap.goes_to(&call.destination) {
        // It may have been kept there, by an earlier call that carried it.
        ask_for_all(request.headers_mut());
    }
    let mut request = signed::again(signing, request, &call, lease.as_deref(), &worker.room, &upload).await?;
    let start = start(worker, connection, &call, permit, used, &asked);
    // It may have waited long for what it needs, a person among that.
    worker.goes_on()?;
    let mut record = CallRecord::start(&connection.account, start, upload.sent())?;
    if upload.streams() {
        let alert = Box::new(alert(worker, connection, &call));
        request = request.map(|body| record.share(body, leave.clone().withdrawn(), alert));
    }
    let sent = attempt.send(&leave, Box::new(request)).await;
    let carried = lease.clone().filter(|_| plans[0].is_some() || upload.sent().has_swapped());
    let (sent, leave, lease) = match (sent, carried) {
        (Ok(answered), Some(lease)) if answered.response.status() == StatusCode::UNAUTHORIZED => {
            let with = Attempted { lease, kept: &kept, upload: &upload };
            Box::pin(attempt.again(answered, with, leave, &mut record)).await
        }
        (sent, _) => (sent, leave, lease),
    };
    worker.count_observed(permit, sent.as_ref().err());
    match sent {
        Ok(answer) => {
            let (seat, to) = (Arc::clone(&connection.seat), connection.destination.clone());
            let asked_for = |(client, messages)| {
                let unread = worker.memory.wait(&seat);
                Box::new(websocket::Asked { client, messages, lease, seat, to, unread })
            };
            let socket = rest.upgrade.zip(messages).map(asked_for);
            let asked = (socket, asked.listing);
            Ok(passed_on(worker, connection, &call, answer, asked, (leave, record)).await)
        }
        Err(refusal) => {
            // Nothing goes upstream that the log does not have.
            let written = worker.log.commit().map_err(|error| Refusal::LogUnavailable(error.to_string()));
            let refusal = written.err().unwrap_or_else(|| upload.or(refusal).scrubbed(&worker.known.scrub()));
            Ok(refused(&refusal, &call, record))
        }
    }
}

/// The credential for the placeholder that was found. From here on every answer is scrubbed of it.
async fn lend(
    worker: &Worker,
    permit: &CallPermit,
    plan: Option<&Plan>,
    signing: Option<&Signing>,
) -> Result<Option<Lent>, Refusal> {
    let Some(plan) = plan else { return Ok(None) };
    let lent = worker.broker.lend(plan.credential(), permit.destination()).await;
    let lent = lent.map_err(|error| Refusal::not_lent(plan.credential(), error))?;
    match signing {
        Some(signing) => signing.remember(&worker.known, &lent.lease)?,
        None => worker.known.remember(&lent.lease, lent.lease.secret.expose(), plan.placeholder().value())?,
    }
    Ok(Some(lent))
}

/// The request as it goes upstream: what was judged, and the credential in its place.
fn outgoing(
    worker: &Worker,
    call: &Call,
    body: Body,
    plan: Option<&Plan>,
    lease: Option<&Lease>,
    upgrade: bool,
    asked: &Asked,
) -> Result<Request<Body>, Refusal> {
    let (mut parts, body) = call.request(body)?.into_parts();
    if upgrade {
        websocket::upgrade(&mut parts.headers);
    }
    if !worker.known.scrub().is_empty() {
        scrub::accept(&mut parts.headers);
    }
    asked.accept(&mut parts.headers);
    if lease.is_some() {
        // An upstream that echoes could be asked for the credential a byte at a time, which no scrub sees whole.
        ask_for_all(&mut parts.headers);
    }
    trace::pass_on(&mut parts.headers, call.trace.as_ref(), &worker.swap);
    if let (Some(plan), Some(lease)) = (plan, lease) {
        plan.apply(&mut parts, lease.secret.expose()).map_err(|error| Refusal::CredentialUnavailable {
            credential: plan.credential().clone(),
            reason: error.to_string(),
        })?;
    }
    Ok(Request::from_parts(parts, body))
}

/// What was leased, and the places it goes to.
fn credential<'a>(
    Lent { lease, waited }: &Lent,
    plans: impl Iterator<Item = &'a Plan>,
    injected: bool,
) -> CredentialUse {
    CredentialUse {
        name: lease.credential.to_string(),
        lease: lease.id.to_string(),
        places: plans.flat_map(Plan::places).map(|&place| place.into()).collect(),
        injected,
        waited_ms: waited.map(milliseconds),
    }
}

fn start(
    worker: &Worker,
    connection: &Connection,
    call: &Call,
    permit: &CallPermit,
    credential: Option<CredentialUse>,
    asked: &Asked,
) -> CallStart {
    CallStart {
        call: worker.next_call(),
        connection: connection.account.number,
        scheme: call.scheme.as_str().into(),
        to: call.destination.to_string(),
        method: call.method.clone().into(),
        path: call.path.to_string(),
        query: call.query.as_deref().map(|query| worker.redact_query(query)),
        tool: asked.name.as_deref().map(|name| worker.swap.redact(name)),
        http: spelt(call.version),
        rule: permit.rule().to_string(),
        policy: Arc::clone(permit.policy()),
        credential,
        client_certificate: permit.route().client_certificate().map(|shown| shown.fingerprint()),
        client_tls: connection.tls.clone(),
        observed: permit.observed().map(|denial| Observed {
            kind: denial.kind().as_str().to_owned(),
            reason: worker.swap.redact(&denial.reason()),
        }),
        trace: call.trace.as_ref().map(Trace::record),
    }
}

/// As hyper tells it.
fn spelt(version: Version) -> Cow<'static, str> {
    match version {
        Version::HTTP_11 => "HTTP/1.1".into(),
        Version::HTTP_2 => "HTTP/2.0".into(),
        other => format!("{other:?}").into(),
    }
}

/// The answer without credentials, carrying the record of its call to its end.
async fn passed_on(
    worker: &Arc<Worker>,
    connection: &Connection,
    call: &Call,
    answer: Answer,
    (socket, listing): (Option<Box<websocket::Asked>>, Option<Listing>),
    (leave, mut record): (Leave, CallRecord),
) -> Response<Body> {
    let Answer { mut response, peer } = answer;
    record.answered(response.status().as_u16(), &peer.reached, peer.tls.clone());
    record.stands_on(&leave);
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let upgrades = socket.map(|asked| (asked, hyper::upgrade::on(&mut response)));
    let (mut parts, body) = response.into_parts();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    if transfer_coded(&parts.headers) {
        let reason = "its body has a transfer coding that nobody asked for".to_owned();
        return refused(&Refusal::UpstreamAnswer { destination: call.destination.clone(), reason }, call, record);
    }
    strip_hop(&mut parts.headers);
    // With UDP refused, an advertised HTTP/3 would only cost the client a timeout.
    remove_any(&mut parts.headers, &[ALT_SVC]);
    let scrub = worker.known.scrub();
    let plan = match scrub.prepare(&mut parts, call.method.as_str() == "HEAD", &record.scrubbed()) {
        Ok(plan) => plan,
        Err(error) => {
            let refusal = Refusal::Unscrubbable { destination: call.destination.clone(), reason: error.to_string() };
            return refused(&refusal, call, record);
        }
    };
    if !switched && upgrades.is_some() && call.version == Version::HTTP_2 && parts.status.is_success() {
        // Passed on, it would say that there is a WebSocket.
        let reason = format!("it was asked for a WebSocket and answered {}", parts.status.as_u16());
        return refused(&Refusal::UpstreamAnswer { destination: call.destination.clone(), reason }, call, record);
    }
    let mut body = plan.wrap(body);
    body.settle(Carried::whole);
    if body.is_coded() {
        body = match Box::pin(with_room(worker, call, &leave, body)).await {
            Ok(body) => body,
            Err(refusal) => return refused(&refusal, call, record),
        };
    }
    // One that is read whole first, for what it lists, has a place of its own.
    let body = if listing.is_some() { leave.clone().hold(body) } else { leave.clone().offer(body, call.version) };
    match (switched, upgrades) {
        (false, _) => match listing {
            None => Response::from_parts(parts, Recorded::new(body, record).boxed_unsync()),
            Some(listing) => {
                let listing = listing.over(&worker.room, &mut parts, body, record.stopped());
                match Box::pin(listing).await {
                    Ok(body) => {
                        let body = leave.offer(body, call.version);
                        Response::from_parts(parts, Recorded::new(body, record).boxed_unsync())
                    }
                    Err(objection) => refused(&Refusal::Tool(Box::new(objection)), call, record),
                }
            }
        },
        (true, Some((asked, upstream))) => {
            websocket::agree_with(call.version, &mut parts);
            let carried = websocket::carry(*asked, upstream, scrub, (leave, record));
            let alert = alert(worker, connection, call);
            connection.share.spawn(async move {
                if let Some(misdirected) = carried.await {
                    alert(&misdirected.into());
                }
            });
            Response::from_parts(parts, empty())
        }
        (true, None) => {
            let reason = "it switched protocols without being asked".to_owned();
            refused(&Refusal::UpstreamAnswer { destination: call.destination.clone(), reason }, call, record)
        }
    }
}

/// The body of an answer once there is room to decode it in, for which it waits as long as the call has its leave.
async fn with_room<B>(
    worker: &Worker,
    call: &Call,
    leave: &Leave,
    mut body: ScrubbedBody<B>,
) -> Result<ScrubbedBody<B>, Refusal> {
    let none = |none: NoRoom| Refusal::Unscrubbable { destination: call.destination.clone(), reason: none.to_string() };
    leave.during(pin!(body.within(worker.room.decoders()))).await?.map_err(none)?;
    Ok(body)
}

/// Records what a call that has begun turned out to carry off.
fn alert(worker: &Arc<Worker>, connection: &Connection, call: &Call) -> impl FnOnce(&Refusal) + Send + 'static {
    let (worker, account, to) = (Arc::clone(worker), Arc::clone(&connection.account), call.destination.to_string());
    let trace = call.trace.as_ref().and_then(Trace::below);
    let told = Told { method: call.method.to_string(), path: call.path.to_string(), trace };
    move |refusal| worker.refuse(&account, &to, Some(told), refusal)
}

/// A call that has begun and gets no answer from its upstream. Its end says why.
fn refused(refusal: &Refusal, call: &Call, record: CallRecord) -> Response<Body> {
    record.refused(respond::row(refusal).0.as_u16(), refusal);
    answered(refusal, Reader::of(call.version, &call.headers))
}

fn answered(refusal: &Refusal, reader: Reader) -> Response<Body> {
    let mut response = respond::refuse(refusal, reader);
    if matches!(refusal, Refusal::Malformed(_)) {
        // Where a request with no single reading ends, nobody can say either. HTTP/2, which can, ignores the field.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

fn empty() -> Body {
    http_body_util::Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync()
}
