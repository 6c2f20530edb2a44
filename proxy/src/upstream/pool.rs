//! Connections that wait for their next request.
//!
//! Enters: links whose last answer was read to its end, and HTTP/2 links at once. Leaves: a link to exactly the destination,
//! address and ranges of a permit. Never: a link that some other rule's address list had allowed, or more idle ones than bound.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use config::{CallPermit, ClientCertificate, Destination, Scheme, UpstreamProxy};
use hyper::client::conn::http1;
use ipnet::IpNet;

use super::link::{Link, Open};
use super::{Body, Floor, Peer};
use crate::limit;

/// What two calls must share to share a connection: everything that decided which address was dialled, and how safely.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) destination: Destination,
    pub(super) scheme: Scheme,
    dial: Option<SocketAddr>,
    ranges: Vec<IpNet>,
    proxy: Option<Arc<UpstreamProxy>>,
    floor: Floor,
    certificate: Option<Arc<ClientCertificate>>,
}

impl Key {
    pub(super) fn of(permit: &CallPermit, floor: Floor) -> Self {
        let route = permit.route();
        Self {
            destination: permit.destination().clone(),
            scheme: permit.scheme(),
            dial: route.dial(),
            ranges: route.ranges().to_vec(),
            proxy: route.proxy().cloned(),
            floor,
            certificate: route.client_certificate().cloned(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<HashMap<Key, Vec<(Open, Instant)>>>,
}

impl Pool {
    /// A link that is open, has room and is not too old, the most recently used first. One over HTTP/2 without room goes on with
    /// the calls it has, and ends with them.
    pub(super) fn take(&self, key: &Key) -> Option<Open> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let links = idle.get_mut(key)?;
        while let Some((mut open, since)) = links.pop() {
            if since.elapsed() < limit::IDLE_WAIT && open.claim() {
                return Some(open);
            }
        }
        // The key stays: whoever takes the only link brings it back in a moment.
        None
    }

    pub(super) fn put(&self, key: &Key, open: Open) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !idle.contains_key(key) && idle.len() >= limit::IDLE_DESTINATIONS {
            idle.retain(|_, links| links.last().is_some_and(|(_, since)| since.elapsed() < limit::IDLE_WAIT));
            if idle.len() >= limit::IDLE_DESTINATIONS {
                return;
            }
        }
        let links = match idle.get_mut(key) {
            Some(links) => links,
            None => idle.entry(key.clone()).or_default(),
        };
        if matches!(open.link, Link::Http2(_)) {
            links.retain(|(other, _)| !matches!(other.link, Link::Http2(_)));
        }
        if links.len() < limit::IDLE_PER_DESTINATION {
            links.push((open, Instant::now()));
        }
    }

    /// Puts a link back once its answer was read to the end; the wait ends with the connection at the latest. A short answer is read
    /// with its head.
    pub(super) fn put_when_ready(self: &Arc<Self>, key: &Key, mut sender: http1::SendRequest<Body>, peer: Arc<Peer>) {
        if sender.is_ready() {
            return self.put(key, Open { link: Link::Http1(sender), peer });
        }
        let (pool, key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                pool.put(&key, Open { link: Link::Http1(sender), peer });
            }
        });
    }
}
