//! One connection that carries requests.
//!
//! Enters: a stream to the permitted destination, then requests. Leaves: the heads of their answers. Never: an authority other
//! than the destination's, a second authority, a wait without an end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use config::{Destination, Scheme};
use http::header::{CONNECTION, HOST, HeaderValue, TE, TRANSFER_ENCODING};
use http::{Request, Response, Uri};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::alone::{Alone, OneCall};
use super::place::{Awaited, Going, Place, Places, Room};
use super::{Body, Failure, Peer, tls, websocket};
use crate::error::Refusal;
use crate::gathered::Gathered;
use crate::limit;
use crate::turn::{InTurn, Share};

/// One connection that can carry a request.
#[derive(Debug)]
pub(super) enum Link {
    Http1(Alone),
    Http2(Shared),
}

/// A connection over HTTP/2, and room on it for a call.
#[derive(Debug)]
pub(super) struct Shared {
    sender: http2::SendRequest<Going>,
    places: Arc<Places>,
    room: Option<Room>,
}

impl Shared {
    /// Sends it, and waits for the head of its answer.
    async fn send(&mut self, destination: &Destination, request: Request<Body>) -> Result<Response<Carried>, Failure> {
        let Some(room) = self.room.take().or_else(|| self.places.room()) else {
            return Err(Failure::Unsent(Box::new(request), None));
        };
        let send = |place: &_| self.sender.try_send_request(request.map(|body| Going::new(body, place)));
        let (sent, place) = room.begin(send);
        let answer = Awaited::new(sent, Arc::clone(&place)).await.map_err(failed(destination, Going::stays))?;
        place.answered();
        Ok(answer.map(|body| Carried { body, ahead: None, place: Some(place), call: OneCall::over() }))
    }
}

/// The body of an answer, which keeps its call's place to its end.
#[derive(Debug)]
pub struct Carried {
    body: Incoming,
    /// What came before anybody asked.
    ahead: Option<Next>,
    place: Option<Arc<Place>>,
    call: OneCall,
}

/// What a body gives when it is asked.
type Next = Option<Result<Frame<Bytes>, hyper::Error>>;

impl Carried {
    /// Of a connection that carries nothing beside it.
    pub(super) fn alone(body: Incoming, call: OneCall) -> Self {
        Self { body, ahead: None, place: None, call }
    }

    /// All of it, if it is short and has come: most are here with their heads. It has nothing more then. Who waits for the rest asks again.
    pub(crate) fn whole(&mut self) -> Option<Bytes> {
        if self.ahead.is_none() {
            let mut nobody = Context::from_waker(Waker::noop());
            if let Poll::Ready(next) = self.poll_next(&mut nobody) {
                self.ahead = Some(next);
            }
        }
        let ended = self.body.is_end_stream();
        match self.ahead.take() {
            Some(Some(Ok(frame))) if ended => match frame.into_data() {
                Ok(data) => return Some(data),
                Err(other) => self.ahead = Some(Some(Ok(other))),
            },
            // It had nothing to begin with.
            Some(None) => return Some(Bytes::new()),
            ahead => self.ahead = ahead,
        }
        None
    }

    /// What its upstream has ended, by an error of its own too, is not taken back by whoever lets go of it then.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(next, Some(Ok(_))) {
            self.place = None;
            self.call.ended();
        }
        Poll::Ready(next)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if http_body::Body::is_end_stream(self) {
            self.call.ended();
        } else if let Some(place) = self.place.take() {
            place.left();
        }
    }
}

impl http_body::Body for Carried {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        match self.ahead.take() {
            Some(next) => Poll::Ready(next),
            None => self.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.body.is_end_stream()
    }

    /// Of what is left, where that can be known.
    fn size_hint(&self) -> SizeHint {
        if self.ahead.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

/// A link with the peer it leads to.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) link: Link,
    pub(super) peer: Arc<Peer>,
}

impl Open {
    /// Whether one over HTTP/1.1 takes a request now.
    pub(super) fn is_ready(&self) -> bool {
        matches!(&self.link, Link::Http1(alone) if alone.is_ready())
    }

    /// The same connection over HTTP/2 with a place on it for one more call, if it has one.
    pub(super) fn another(&self) -> Option<Self> {
        let Link::Http2(Shared { sender, places, .. }) = &self.link else { return None };
        let shared = Shared { sender: sender.clone(), places: Arc::clone(places), room: Some(places.room()?) };
        sender.is_ready().then(|| Self { link: Link::Http2(shared), peer: Arc::clone(&self.peer) })
    }

    /// Whether one over HTTP/2 takes no more calls.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.link, Link::Http2(shared) if shared.sender.is_closed() || shared.places.is_worn())
    }

    /// Whether one over HTTP/2 has calls.
    pub(super) fn is_busy(&self) -> bool {
        matches!(&self.link, Link::Http2(shared) if shared.places.is_busy())
    }
}

impl Link {
    pub(super) async fn send(
        &mut self,
        destination: &Destination,
        scheme: Scheme,
        mut request: Box<Request<Body>>,
    ) -> Result<Response<Carried>, Failure> {
        let extended = matches!(self, Self::Http2(_)) && websocket::is_opened(&request);
        match self {
            Self::Http1(_) => for_http1(&mut request, destination, scheme),
            Self::Http2(_) => for_http2(&mut request, destination, scheme),
        }
        .map_err(|error| Failure::Failed(Refusal::Malformed(error.to_string())))?;
        let sending = async {
            match self {
                Self::Http1(alone) => alone.send(destination, *request).await,
                Self::Http2(shared) => shared.send(destination, *request).await,
            }
        };
        let silent =
            || Refusal::UpstreamSilent { destination: destination.clone(), waited: limit::ANSWER_WAIT.as_secs() };
        let answer = tokio::time::timeout(limit::ANSWER_WAIT, sending).await;
        let mut answer = answer.map_err(|_| Failure::Failed(silent()))??;
        if extended {
            websocket::unextend(&mut answer);
        }
        Ok(answer)
    }
}

/// Why a request has no answer; the request, with its own body, where not a byte of it was sent.
pub(super) fn failed<B>(
    destination: &Destination,
    stays: impl FnOnce(B) -> Body,
) -> impl FnOnce(TrySendError<Request<B>>) -> Failure {
    |mut error| match error.take_message() {
        Some(request) => Failure::Unsent(Box::new(request.map(stays)), told(destination, error.error())),
        None => Failure::Failed(no_http(destination)(error.error())),
    }
}

/// An error with its causes in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The authority as a server expects it: without the scheme's own port.
pub(crate) fn authority(destination: &Destination, scheme: Scheme) -> String {
    let mut text = destination.to_string();
    if destination.port() == scheme.default_port() {
        text.truncate(text.rfind(':').unwrap_or(text.len()));
    }
    text
}

/// Origin form with one `Host` (RFC 9112 section 3.2.1).
fn for_http1(request: &mut Request<Body>, to: &Destination, scheme: Scheme) -> Result<(), http::Error> {
    let target = request.uri().path_and_query().cloned();
    let target = target.unwrap_or(http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(target);
    *request.version_mut() = http::Version::HTTP_11;
    if request.headers().contains_key(TE) {
        request.headers_mut().append(CONNECTION, HeaderValue::from_static("te"));
    }
    // Unless told how to frame it, hyper leaves out the body of a GET whose length it does not know.
    if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let host = HeaderValue::try_from(authority(to, scheme))?;
    request.headers_mut().insert(HOST, host);
    Ok(())
}

/// All four pseudo-header fields and no `Host` (RFC 9113 section 8.3.1).
fn for_http2(request: &mut Request<Body>, to: &Destination, scheme: Scheme) -> Result<(), http::Error> {
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() =
        Uri::builder().scheme(scheme.as_str()).authority(authority(to, scheme)).path_and_query(path).build()?;
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().remove(HOST);
    if websocket::is_opened(request) {
        websocket::extend(request);
    }
    Ok(())
}

fn no_http(destination: &Destination) -> impl Fn(&hyper::Error) -> Refusal {
    |error| {
        told(destination, error)
            .unwrap_or_else(|| Refusal::UpstreamAnswer { destination: destination.clone(), reason: describe(error) })
    }
}

/// What a TLS alert told that came after the handshake, if that is what went wrong.
fn told(destination: &Destination, error: &hyper::Error) -> Option<Refusal> {
    let (reason, remedy) = tls::late(error)?;
    Some(Refusal::UpstreamTls { destination: destination.clone(), reason, remedy })
}

/// HTTP/1.1 over `stream`.
pub(super) async fn http1<S>(stream: Gathered<S>, destination: &Destination, share: Arc<Share>) -> Result<Link, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limit::ANSWER_HEAD_BYTES);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| no_http(destination)(&error))?;
    let work = share.spawn(connection.with_upgrades());
    Ok(Link::Http1(Alone::new(sender, work)))
}

/// HTTP/2 over `stream`.
pub(super) async fn http2<S>(stream: Gathered<S>, destination: &Destination, share: Arc<Share>) -> Result<Link, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(stream, destination, &mut builder(&share)).await?;
    share.spawn(connection);
    Ok(shared(sender))
}

/// HTTP/2 over `stream`, if the upstream's first settings say that it takes WebSockets over it (RFC 8441).
pub(super) async fn extended<S>(
    stream: Gathered<S>,
    destination: &Destination,
    share: Arc<Share>,
) -> Result<Option<Link>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Until there are settings there is leave for no stream; with them comes another number, or none.
    let (sender, connection) = handshake(stream, destination, builder(&share).initial_max_send_streams(0)).await?;
    let settings = async move {
        // hyper tells what they are, and not when they come: within a round trip.
        while !connection.is_extended_connect_protocol_enabled() {
            if connection.current_max_send_streams() > 0 || sender.is_closed() {
                return None;
            }
            tokio::time::sleep(limit::SETTINGS_LOOK).await;
        }
        Some((sender, connection))
    };
    let can = tokio::time::timeout(limit::UPSTREAM_HANDSHAKE_WAIT, settings).await.ok().flatten();
    Ok(can.map(|(sender, connection)| {
        share.spawn(connection);
        shared(sender)
    }))
}

type Connection<S> = http2::Connection<TokioIo<Gathered<S>>, Going, InTurn>;

fn builder(share: &Arc<Share>) -> http2::Builder<InTurn> {
    let mut builder = http2::Builder::new(InTurn(Arc::clone(share)));
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limit::ANSWER_HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(limit::UPSTREAM_STREAM_WINDOW)
        .initial_connection_window_size(limit::UPSTREAM_CONNECTION_WINDOW)
        .max_frame_size(limit::FRAME);
    builder
}

async fn handshake<S>(
    stream: Gathered<S>,
    destination: &Destination,
    builder: &mut http2::Builder<InTurn>,
) -> Result<(http2::SendRequest<Going>, Connection<S>), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    builder.handshake(TokioIo::new(stream)).await.map_err(|error| no_http(destination)(&error))
}

fn shared(sender: http2::SendRequest<Going>) -> Link {
    Link::Http2(Shared { sender, places: Places::new(), room: None })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use record::CallLog;

    use super::*;
    use crate::record::Before;

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_never_answers_is_a_gateway_timeout() {
        let destination = Destination::parse_authority("api.example.com", 443).unwrap();
        let (ours, _theirs) = tokio::io::duplex(64 * 1024);
        let log = Arc::new(CallLog::create(tempfile::tempdir().unwrap().path()).unwrap());
        let share = crate::turn::Turns::new(|| {}).share();
        let stream = Gathered::reads(ours, Before::upstream(&log));
        let mut link = http1(stream, &destination, share).await.unwrap();
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::get("https://api.example.com/").body(body).unwrap();
        let Err(Failure::Failed(refusal)) = link.send(&destination, Scheme::Https, Box::new(request)).await else {
            panic!("it was answered");
        };
        assert_eq!(crate::respond::row(&refusal).0, http::StatusCode::GATEWAY_TIMEOUT, "{refusal}");
    }
}
