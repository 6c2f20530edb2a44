//! A call that its agent signed, on its way to be signed anew.
//!
//! Enters: a permitted call, then its body, then the request as it is to go. Leaves: the call without the placeholder of the pair's id,
//! which is looked for everywhere else; the body, whole where only it can tell its digest; the request, signed. Never: a body that is held
//! without a place, or beyond the bound.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use broker::{KeyPair, Lease};
use bytes::Bytes;
use config::CredentialName;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Request};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::body::Upload;
use crate::error::Refusal;
use crate::limit;
use crate::request::Call;
use crate::scrub::Known;
use crate::sign::{Chunks, Claim, Payload, Unsigned, Verified};
use crate::swap::{Pair, Plan, Swap};
use crate::tool::{Place, Room, up_to};
use crate::upstream::{self, Body, BoxError};

/// What goes out under another signature: the parameters of a link that are ours to write.
const OURS: [&str; 3] = ["x-amz-credential", "x-amz-signature", "x-amz-security-token"];

/// As long as AWS's ids are. Stores of one's own know shorter ones, like `admin`, and an id is no secret.
const SCRUBBED_ID: usize = 16;

/// A call with a signature that was not checked yet.
pub(super) struct Signed {
    pair: Pair,
    claim: Claim,
    headers: HeaderMap,
    query: String,
}

/// A call whose signature is the agent's.
pub(super) struct Signing {
    pair: Pair,
    verified: Verified,
}

/// Takes the signature out of a call whose rule names a key pair; `None` where there is none.
///
/// # Errors
/// [`Refusal::Signature`]
pub(super) fn signature(
    call: &mut Call,
    permitted: Option<&CredentialName>,
    swap: &Swap,
) -> Result<Option<Signed>, Refusal> {
    let Some(pair) = swap.pair(&call.head(permitted)) else { return Ok(None) };
    let Some(headers) = call.signed_head.take() else { return Ok(None) };
    let refused = refused(&pair);
    let query = call.query.clone().unwrap_or_default();
    let claim = Claim::read(&headers, &query, Timestamp::now()).map_err(&refused)?;
    let Some(claim) = claim else { return Ok(None) };
    if claim.id != pair.id.value() {
        return Err(refused(Unsigned::OtherPair));
    }
    drop(refused);
    call.headers.remove("x-amz-security-token");
    if claim.is_link {
        let ours = |part: &&str| {
            let name = percent_decode_str(part.split('=').next().unwrap_or_default()).decode_utf8_lossy();
            OURS.iter().any(|known| name.eq_ignore_ascii_case(known))
        };
        let kept: Vec<&str> = query.split('&').filter(|part| !ours(part)).collect();
        call.query = Some(kept.join("&"));
    } else {
        call.headers.remove(AUTHORIZATION);
    }
    Ok(Some(Signed { pair, claim, headers: *headers, query }))
}

/// Checks the signature of a call that has one.
///
/// # Errors
/// As [`Signed::verify`].
pub(super) async fn verified(
    signed: Option<Signed>,
    call: &Call,
    room: &Room,
    body: Body,
) -> Result<(Option<Box<Signing>>, Body), Refusal> {
    match signed {
        Some(signed) => {
            let (signing, body) = Box::pin(signed.verify(call, room, body)).await?;
            Ok((Some(Box::new(signing)), body))
        }
        None => Ok((None, body)),
    }
}

/// What is leased for the signature, if there is one.
pub(super) fn plan(signing: Option<&Signing>) -> Option<Plan> {
    signing.map(|signing| signing.pair.plan.clone())
}

/// Signs the request of a call that was signed. Nothing of it may change from here on.
///
/// # Errors
/// As [`Signing::sign`].
pub(super) async fn again(
    signing: Option<Box<Signing>>,
    request: Request<Body>,
    call: &Call,
    lease: Option<&Lease>,
    room: &Room,
    upload: &Upload,
) -> Result<Request<Body>, Refusal> {
    match signing {
        Some(signing) => Box::pin(signing.sign(request, call, lease, room, upload)).await,
        None => Ok(request),
    }
}

impl Signed {
    /// Checks the signature; for that, reads a body whole whose digest nothing says.
    ///
    /// # Errors
    /// [`Refusal::Signature`], [`Refusal::Malformed`] for a body that does not come.
    async fn verify(self, call: &Call, room: &Room, mut body: Body) -> Result<(Signing, Body), Refusal> {
        let Self { pair, mut claim, headers, query } = self;
        let refused = refused(&pair);
        if claim.payload == Payload::Unsaid {
            let length = body.size_hint().upper().unwrap_or(u64::MAX);
            let most = limit::SIGNED_BODY;
            let short = usize::try_from(length).ok().filter(|length| *length <= most).unwrap_or(most);
            let place = place(room, short).await.map_err(&refused)?;
            let whole = up_to(place, body, most).await?.ok_or_else(|| refused(Unsigned::LongBody))?;
            claim = claim.over(whole.bytes());
            body = whole.into_body();
        }
        let path = call.path.as_str();
        let verified = claim.verify(pair.secret.value(), &call.method, path, &query, &headers).map_err(&refused)?;
        drop(refused);
        Ok((Signing { pair, verified }, body))
    }
}

impl Signing {
    /// From here on every answer is scrubbed of the pair.
    ///
    /// # Errors
    /// [`Refusal::CredentialUnavailable`] where what was leased is no pair.
    pub fn remember(&self, known: &Known, lease: &Arc<Lease>) -> Result<(), Refusal> {
        let pair = self.leased(lease)?;
        let (id, secret) = (self.pair.id.value(), self.pair.secret.value());
        if pair.id.len() >= SCRUBBED_ID {
            known.remember(lease, &pair.id, id)?;
        }
        known.remember(lease, pair.secret.expose(), secret)?;
        if let Some(session) = &pair.session {
            known.remember(lease, session.expose(), secret)?;
        }
        Ok(())
    }

    /// Signs the request, and the chunks of its body where the agent did.
    ///
    /// # Errors
    /// [`Refusal::Signature`], [`Refusal::CredentialUnavailable`].
    async fn sign(
        self,
        request: Request<Body>,
        call: &Call,
        lease: Option<&Lease>,
        room: &Room,
        upload: &Upload,
    ) -> Result<Request<Body>, Refusal> {
        let none = || Refusal::CredentialUnavailable {
            credential: self.pair.plan.credential().clone(),
            reason: "nothing was leased to sign with".to_owned(),
        };
        let pair = self.leased(lease.ok_or_else(none)?)?;
        let (mut parts, body) = request.into_parts();
        let host = HeaderValue::from_str(&upstream::authority(&call.destination, call.scheme));
        let host = host.map_err(|error| Refusal::Malformed(format!("host: {error}")))?;
        let resigned = self.verified.sign(&mut parts, &host, body.size_hint().exact(), &pair);
        let refused = refused(&self.pair);
        let resigned = resigned.map_err(&refused)?;
        let Some(chunks) = Chunks::behind(self.verified, resigned) else { return Ok(Request::from_parts(parts, body)) };
        let _place = place(room, limit::SIGNED_CHUNK).await.map_err(&refused)?;
        drop(refused);
        let credential = self.pair.plan.credential().clone();
        let body = Resigning { body, chunks, credential, upload: upload.clone(), _place };
        Ok(Request::from_parts(parts, body.boxed_unsync()))
    }

    fn leased(&self, lease: &Lease) -> Result<KeyPair, Refusal> {
        let unusable = |reason| Refusal::CredentialUnavailable {
            credential: lease.credential.clone(),
            reason: format!("credential `{}` cannot sign: {reason}", lease.credential),
        };
        KeyPair::read(&lease.secret).map_err(unusable)
    }
}

/// A place for so many bytes, for as long as they are held.
async fn place(room: &Room, bytes: usize) -> Result<Place, Unsigned> {
    tokio::time::timeout(limit::EXAMINED_BODY_WAIT, room.signed(bytes)).await.map_err(|_| Unsigned::Busy)
}

fn refused(pair: &Pair) -> impl Fn(Unsigned) -> Refusal + use<> {
    let credential = pair.plan.credential().clone();
    move |why| Refusal::Signature { credential: credential.clone(), why }
}

/// A body whose chunks are signed anew as they pass.
struct Resigning {
    body: Body,
    chunks: Chunks,
    credential: CredentialName,
    upload: Upload,
    _place: Place,
}

impl Resigning {
    fn broken_off(&self, why: Unsigned) -> BoxError {
        self.upload.break_off(Refusal::Signature { credential: self.credential.clone(), why })
    }
}

impl http_body::Body for Resigning {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose() {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            match frame.map(Frame::into_data) {
                None if self.chunks.has_ended() => return Poll::Ready(None),
                Some(Err(trailers)) if self.chunks.has_ended() => return Poll::Ready(Some(Ok(trailers))),
                None | Some(Err(_)) => {
                    let why = Unsigned::Form("its body breaks off before the last of its signed chunks");
                    return Poll::Ready(Some(Err(self.broken_off(why))));
                }
                Some(Ok(bytes)) => match self.chunks.push(bytes) {
                    Ok(signed) if signed.is_empty() => {}
                    Ok(signed) => return Poll::Ready(Some(Ok(Frame::data(signed)))),
                    Err(why) => return Poll::Ready(Some(Err(self.broken_off(why)))),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.has_ended() && self.body.is_end_stream()
    }

    /// The same chunks with signatures of the same length.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
