//! From a permit to the answer of the one upstream it names.
//!
//! Enters: a [`CallPermit`] and the request as it shall be sent. Leaves: the answer's head and streaming body, with the address
//! and TLS it came over. Never: a destination that is not in the permit, an address that was not checked, a peer that did not
//! prove its name, a TLS version that the client itself would have refused.

mod alone;
mod connect;
mod dial;
mod link;
mod place;
mod pool;
mod roots;
mod tls;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use config::{CallPermit, Route, Scheme};
use http::{Request, Response, Version};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub use self::link::Carried;
use self::link::{Link, Open};
pub(crate) use self::link::{authority, describe};
use self::pool::{Key, Pool};
pub use self::roots::{Roots, RootsError, system_bundle};
pub use self::tls::Offer;
use self::tls::{NoTls, Protocols, Tls};
use crate::error::Refusal;
use crate::gathered::Gathered;
use crate::hello::Prefixed;
use crate::memory::{self, Memory};
use crate::record::Before;
use crate::seats::Seat;
use crate::turn::Share;
use crate::{resolve, terminate};
use record::{CallLog, TlsLeg};

/// What goes wrong inside a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body on its way, of whatever kind.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// The upstream side of one worker: roots, session cache, connections.
#[derive(Debug)]
pub struct Upstream {
    tls: Tls,
    pool: Arc<Pool>,
    /// For what is read from any of them.
    memory: Arc<Memory>,
    log: Arc<CallLog>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// What is offered upstream.
    pub(crate) offer: Offer,
    /// Whether it speaks HTTP/2.
    pub(crate) http2: bool,
    /// In whose turns it is served; those of a new connection upstream are in the same lane.
    pub(crate) share: &'a Arc<Share>,
    /// Its place.
    pub(crate) seat: &'a Seat,
}

/// An answer's head, and its body as it comes.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub response: Response<Carried>,
    /// Who gave it.
    pub peer: Arc<Peer>,
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// How it was reached.
    pub reached: Reached,
    /// What was agreed; none for plain HTTP.
    pub tls: Option<Arc<TlsLeg>>,
}

/// How the other end was reached.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The address that was dialled: the upstream's own, or its proxy's.
    pub address: Arc<str>,
    /// The house's proxy, where there is one in between.
    pub proxy: Option<String>,
}

/// How a request did not get an answer.
enum Failure {
    /// Not a byte of it was sent: it may be tried on another connection. The refusal, where the upstream told why.
    Unsent(Box<Request<Body>>, Option<Refusal>),
    /// The upstream may have seen it.
    Failed(Refusal),
}

impl Upstream {
    /// An upstream side that trusts these roots.
    pub(crate) fn new(roots: Roots, log: Arc<CallLog>, memory: Arc<Memory>) -> Self {
        Self { tls: Tls::new(roots), pool: Arc::default(), memory, log }
    }

    /// Sends `request` where `permit` says and waits for the head of the answer. A new connection speaks what
    /// the client does, whose bodies then need not be framed anew; HTTP/2 as well where nothing else is spoken there.
    ///
    /// # Errors
    /// A refusal with [`Fault::Upstream`](crate::error::Fault::Upstream), or [`Refusal::ForbiddenAddress`].
    pub(crate) async fn send(
        &self,
        permit: &CallPermit,
        caller: Caller<'_>,
        mut request: Box<Request<Body>>,
    ) -> Result<Answer, Refusal> {
        let _pass = self.memory.call(caller.seat).await;
        let key = Key::of(permit, caller.offer);
        while let Some(open) = self.pool.take(&key) {
            match self.over(&key, open, request).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Unsent(unsent, _)) => request = unsent,
                Err(Failure::Failed(refusal)) => return Err(refusal),
            }
        }
        // Not every call has to hold the room that a handshake takes.
        let open = Box::pin(self.connect_as(permit, caller)).await?;
        let open = match open.another() {
            Some(another) => {
                self.pool.put(&key, open);
                another
            }
            None => open,
        };
        self.over(&key, open, request).await.map_err(|failure| failure.final_for(permit))
    }

    /// Sends a request that opens a WebSocket, on a connection of its own: over HTTP/2 where the client asked that way and the
    /// upstream can, otherwise over HTTP/1.1. An answer that agrees has the status 101 either way.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub(crate) async fn send_alone(
        &self,
        permit: &CallPermit,
        caller: Caller<'_>,
        mut request: Box<Request<Body>>,
    ) -> Result<Answer, Refusal> {
        let _pass = self.memory.call(caller.seat).await;
        let extended = if caller.http2 { self.connect_extended(permit, caller).await? } else { None };
        let (open, accept) = match extended {
            Some(open) => (open, None),
            None => (self.connect(permit, caller, Protocols::Http1).await?, websocket::key(request.headers_mut())),
        };
        let (peer, mut link) = (open.peer, open.link);
        let sent = link.send(permit.destination(), permit.scheme(), request).await;
        let response = sent.map_err(|failure| failure.final_for(permit))?;
        if matches!(link, Link::Http1(_)) && !websocket::is_meant(&response, accept.as_ref()) {
            let reason = "it agreed to a WebSocket, but not to this one (Sec-WebSocket-Accept)".to_owned();
            return Err(Refusal::UpstreamAnswer { destination: permit.destination().clone(), reason });
        }
        Ok(Answer { response, peer })
    }

    /// A connection that takes WebSockets over HTTP/2, if the upstream has such.
    async fn connect_extended(&self, permit: &CallPermit, caller: Caller<'_>) -> Result<Option<Open>, Refusal> {
        if permit.scheme() == Scheme::Http {
            return Ok(None);
        }
        let dialled = self.dial(permit.route()).await?;
        let (stream, peer) = self.secure(dialled, permit, caller.offer, Protocols::Any).await?;
        if !peer.speaks_http2() {
            return Ok(None);
        }
        let stream = Gathered::both_ways(stream, self.before()).within(&self.memory);
        let link = link::extended(stream, permit.destination(), caller.share.beside()).await?;
        Ok(link.map(|link| Open { link, peer }))
    }

    /// A connection to where `route` leads, for bytes that are not looked at.
    ///
    /// # Errors
    /// A refusal with [`Fault::Upstream`](crate::error::Fault::Upstream), or [`Refusal::ForbiddenAddress`].
    pub async fn dial(&self, route: Route<'_>) -> Result<(Prefixed<TcpStream>, Reached), Refusal> {
        self.log.commit().map_err(|error| Refusal::LogUnavailable(error.to_string()))?;
        if let Some(proxy) = route.proxy() {
            resolve::for_proxy(route, proxy).await?;
            let (stream, address) = connect::through(proxy, route).await?;
            return Ok((
                stream,
                Reached { address: address.to_string().into(), proxy: Some(proxy.place().to_string()) },
            ));
        }
        let addresses = resolve::addresses(route).await?;
        let (stream, address) = dial::any_of(route.destination(), &addresses).await?;
        Ok((Prefixed::new(Bytes::new(), stream), Reached { address: address.to_string().into(), proxy: None }))
    }

    async fn over(&self, key: &Key, open: Open, request: Box<Request<Body>>) -> Result<Answer, Failure> {
        let Open { mut link, peer } = open;
        let response = link.send(&key.destination, key.scheme, request).await?;
        // hyper would go on in the version of the last answer, in which a body of unknown length has no end and is left out.
        if let Link::Http1(alone) = link
            && response.version() != Version::HTTP_10
        {
            self.pool.put_when_ready(key, alone, Arc::clone(&peer));
        }
        Ok(Answer { response, peer })
    }

    /// A connection that speaks what the client does, or what else is spoken there.
    async fn connect_as(&self, permit: &CallPermit, caller: Caller<'_>) -> Result<Open, Refusal> {
        if !caller.http2 {
            match self.connect(permit, caller, Protocols::Http1).await {
                // It is reached by another connection: this one has ended.
                Err(NoTls::Protocol(_)) => {}
                connected => return Ok(connected?),
            }
        }
        Ok(self.connect(permit, caller, Protocols::Any).await?)
    }

    /// Resolves, checks, dials the checked address, verifies.
    async fn connect(&self, permit: &CallPermit, caller: Caller<'_>, protocols: Protocols) -> Result<Open, NoTls> {
        let destination = permit.destination();
        self.memory.took(memory::BEGUN);
        let (stream, reached) = self.dial(permit.route()).await?;
        if permit.scheme() == Scheme::Http {
            let peer = Arc::new(Peer { reached, tls: None });
            let stream = Gathered::reads(stream, self.before()).within(&self.memory);
            return Ok(Open { link: link::http1(stream, destination, caller.share.beside()).await?, peer });
        }
        let (stream, peer) = self.secure((stream, reached), permit, caller.offer, protocols).await?;
        let link = if peer.speaks_http2() {
            let stream = Gathered::both_ways(stream, self.before()).within(&self.memory);
            link::http2(stream, destination, caller.share.beside()).await?
        } else {
            let stream = Gathered::reads(stream, self.before()).within(&self.memory);
            link::http1(stream, destination, caller.share.beside()).await?
        };
        Ok(Open { link, peer })
    }

    /// What has to be in the log before anything is written to a connection.
    fn before(&self) -> Before {
        Before::upstream(&self.log)
    }

    async fn secure(
        &self,
        (stream, reached): (Prefixed<TcpStream>, Reached),
        permit: &CallPermit,
        offer: Offer,
        protocols: Protocols,
    ) -> Result<(TlsStream<Prefixed<TcpStream>>, Arc<Peer>), NoTls> {
        let certificate = permit.route().client_certificate().map(|certificate| &**certificate);
        let stream =
            self.tls.handshake(permit.destination(), stream.reading_ahead(), offer, protocols, certificate).await?;
        let tls = Some(Arc::new(terminate::leg(stream.get_ref().1)));
        Ok((stream, Arc::new(Peer { reached, tls })))
    }
}

impl Peer {
    fn speaks_http2(&self) -> bool {
        self.tls.as_ref().and_then(|leg| leg.alpn.as_deref()) == Some("h2")
    }
}

impl Failure {
    fn final_for(self, permit: &CallPermit) -> Refusal {
        match self {
            Self::Failed(refusal) | Self::Unsent(_, Some(refusal)) => refusal,
            Self::Unsent(_, None) => Refusal::UpstreamAnswer {
                destination: permit.destination().clone(),
                reason: "it closed the connection before the request".to_owned(),
            },
        }
    }
}
