//! One connection from the sandbox, a line per step.
//!
//! Enters: a socket that one of the worker's listeners accepted. Leaves: answers, and a record of what went no further.
//! Never: a byte upstream before the connection's destination, its server name and each request agree.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use config::{ConnectPermit, Destination, Host, Policy, Scheme, TlsMode, TunnelPermit};
use record::TlsLeg;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::error::Refusal;
use crate::hello::{self, Hello, HelloError, Unreadable};
use crate::memory::Socket;
use crate::names::AddressMap;
use crate::record::Account;
use crate::seats::Seat;
use crate::serve::Worker;
use crate::turn::Share;
use crate::upstream::{Offer, describe};
use crate::{authorize, exchange, limit, terminate, tunnel};

/// Where an accepted socket was going before it was turned here.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its way into the call log.
    pub(crate) account: Arc<Account>,
    /// The name and port, or the literal address and port.
    pub destination: Destination,
    /// Whether the address is one of the name server's, but was never given out.
    pub unknown: bool,
    /// Its place.
    pub(crate) seat: Arc<Seat>,
    /// In whose turns it is served.
    pub(crate) share: Arc<Share>,
}

/// A connection whose side towards the client is in the clear.
#[derive(Debug)]
pub struct Connection {
    /// Its way into the call log.
    pub(crate) account: Arc<Account>,
    /// Where it goes.
    pub destination: Destination,
    /// `https` where the client spoke TLS.
    pub scheme: Scheme,
    /// What the client's TLS agreed on.
    pub tls: Option<Arc<TlsLeg>>,
    /// What is offered to upstreams.
    pub offer: Offer,
    /// Why no request on it can go further, if so.
    pub verdict: Result<(), Refusal>,
    /// Its place.
    pub(crate) seat: Arc<Seat>,
    /// In whose turns it is served.
    pub(crate) share: Arc<Share>,
}

/// Serves one connection to its end. What it becomes has a place of its own (`Box::pin`): while it waits for its first bytes it is small.
///
/// # Errors
/// The refusal of a connection on which no request could be answered; the caller records it.
pub(crate) async fn run(worker: Arc<Worker>, stream: Socket, accepted: Accepted) -> Result<(), Refusal> {
    // The server may have to speak first, so nothing is waited for.
    if let Some(permit) = unread(&worker, &accepted).filter(|(_, permit)| permit.mode() == TlsMode::Tcp) {
        return Box::pin(tunnel::carry(&worker, stream, &accepted, permit)).await;
    }
    let server_first = limit::SERVER_FIRST.contains(&accepted.destination.port());
    let wait = if server_first { limit::HELLO_WAIT_SERVER_FIRST } else { limit::HELLO_WAIT };
    let begun = Instant::now();
    let (hello, stream) = match hello::receive(stream, limit::HELLO_BYTES, wait).await {
        Ok(received) => received,
        // It gave up first, as it has less patience.
        Err((HelloError::Silent, _)) if server_first && begun.elapsed() >= limit::PORT_PROBE => {
            return Err(Refusal::NothingSaid(accepted.destination, begun.elapsed().as_secs()));
        }
        // A probe that asks only whether the port is open: nothing was called.
        Err((HelloError::Silent, _)) => return Ok(()),
        // What is opened ahead where the web is says nothing either, and is not to be carried unread for it.
        Err((HelloError::Late(0), _)) if !limit::WEB.contains(&accepted.destination.port()) => {
            return Err(Refusal::NothingSaid(accepted.destination, wait.as_secs()));
        }
        Err((error, stream)) => {
            if matches!(error, HelloError::Unreadable(Unreadable::Ssh)) {
                Box::pin(hello::disconnect_ssh(stream, &accepted.destination)).await;
            }
            return Err(Refusal::NotHttp(error.to_string()));
        }
    };
    let tunnel = unread(&worker, &accepted);
    let mut verdict = authorize::connection(&accepted, &hello);
    if tunnel.is_some() {
        verdict = verdict.and_then(|()| authorize::unread(&accepted, &hello));
    }
    // What names no server, or another, is answered and thereby refused, as everywhere else.
    if let (Some(permit), Hello::Tls { .. }, Ok(())) = (tunnel, &hello, &verdict) {
        return Box::pin(tunnel::carry(&worker, stream, &accepted, permit)).await;
    }
    let (scheme, offer) = (authorize::scheme(&hello), authorize::offer(&hello));
    let Accepted { account, destination, seat, share, .. } = accepted;
    let mut connection = Connection { account, destination, scheme, tls: None, offer, verdict, seat, share };
    let Hello::Tls { server_name, .. } = hello else {
        let http2 = matches!(hello, Hello::Http2Preface);
        return Box::pin(exchange::serve(worker, connection, stream, http2)).await;
    };
    let host = server_name.map_or_else(|| connection.destination.host().clone(), Host::Name);
    let leaf = match worker.leaves.configuration(&host, SystemTime::now()) {
        Ok(leaf) => leaf,
        Err(error) => {
            let none = Refusal::NoLeaf(connection.destination, describe(&error));
            let refusal = connection.verdict.err().unwrap_or(none);
            Box::pin(terminate::refuse(stream, &refusal)).await;
            return Err(refusal);
        }
    };
    // It has room for a whole handshake, which is over before long.
    let stream = match Box::pin(terminate::finish(stream.reading_ahead(), leaf, &connection.destination)).await {
        // Handed on, it leaves no room behind.
        Ok(stream) => Box::new(stream),
        // What would have been refused anyhow matters more than that the answer could not be read.
        Err(unfinished) => return Err(connection.verdict.err().unwrap_or(unfinished)),
    };
    let leg = terminate::leg(stream.get_ref().1);
    let http2 = leg.alpn.as_deref() == Some("h2");
    connection.tls = Some(Arc::new(leg));
    if !http2 {
        return Box::pin(exchange::serve(worker, connection, stream, false)).await;
    }
    // hyper waits for the preface for as long as it takes.
    match Box::pin(hello::receive(stream, limit::HELLO_BYTES, limit::HELLO_WAIT)).await {
        Ok((Hello::Http2Preface, stream)) => Box::pin(exchange::serve(worker, connection, stream, true)).await,
        Ok(_) => Err(Refusal::NotHttp("it agreed on HTTP/2 and speaks something else".to_owned())),
        Err((HelloError::Silent, _)) => Ok(()),
        Err((error, _)) => Err(Refusal::NotHttp(error.to_string())),
    }
}

/// The policy's leave to carry a connection unread, where it has one.
fn unread(worker: &Worker, accepted: &Accepted) -> Option<(Arc<Policy>, TunnelPermit)> {
    let policy = worker.policy.current();
    let permit = policy.connect(&accepted.destination).ok().filter(|_| !accepted.unknown);
    permit.and_then(ConnectPermit::tunnel).map(|permit| (policy, permit))
}

/// What comes of a connection that was accepted.
///
/// # Errors
/// As [`destination`].
pub(crate) fn accepted(stream: &TcpStream, worker: &Worker, seat: Arc<Seat>) -> Result<Accepted, Refusal> {
    let (destination, unknown) = destination(&SockRef::from(stream), worker)?;
    let permit = worker.policy.current().connect(&destination).ok().filter(|_| !unknown);
    let share = worker.turns.share_of(permit.as_ref().map(ConnectPermit::rule));
    let account = Account::new(&worker.pace, seat.number());
    Ok(Accepted { account, destination, unknown, seat, share })
}

/// Where a socket was going, and whether that is an address of the name server's which was never given out.
///
/// # Errors
/// [`Refusal::OwnListener`] for a connection to the sandbox's own loopback, which is never for the proxy;
/// [`Refusal::NotHttp`] for one that is gone already.
pub(crate) fn destination(socket: &SockRef<'_>, worker: &Worker) -> Result<(Destination, bool), Refusal> {
    let own = socket.local_addr().map(|own| own.as_socket());
    let own = own.map_err(|error| Refusal::NotHttp(error.to_string()))?;
    let own = own.ok_or_else(|| Refusal::NotHttp("it came from nowhere".to_owned()))?;
    // Without NAT in the way (listeners on the policy's ports) the socket's own address is the original one.
    let original = match own {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    let address = original.ok().and_then(|address| address.as_socket()).unwrap_or(own);
    let ip = address.ip().to_canonical();
    if ip.is_loopback() {
        return Err(Refusal::OwnListener(address));
    }
    let (host, unknown) = match ip {
        IpAddr::V4(v4) if AddressMap::holds(v4) => match worker.names.name_of(v4, Instant::now()) {
            Some(name) => (Host::Name(name), false),
            None => (Host::Address(ip), true),
        },
        ip => (Host::Address(ip), false),
    };
    Ok((Destination::new(host, address.port()), unknown))
}
