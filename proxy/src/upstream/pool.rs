//! Connections that wait for their next request.
//!
//! Enters: links whose last answer was read to its end, and HTTP/2 links at once. Leaves: a link to exactly the destination,
//! address and ranges of a permit. Never: a link that some other rule's address list had allowed, or more idle ones than bound.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use config::{CallPermit, ClientCertificate, Destination, Scheme, UpstreamProxy};
use ipnet::IpNet;

use super::alone::Alone;
use super::link::{Link, Open};
use super::{Offer, Peer};
use crate::limit;

/// What two calls must share to share a connection: everything that decided which address was dialled, and how safely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) destination: Destination,
    pub(super) scheme: Scheme,
    dial: Option<SocketAddr>,
    ranges: Vec<IpNet>,
    proxy: Option<Arc<UpstreamProxy>>,
    offer: Offer,
    certificate: Option<Arc<ClientCertificate>>,
}

impl Hash for Key {
    /// Of those with one destination there is mostly one.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.destination.hash(state);
    }
}

impl Key {
    pub(super) fn of(permit: &CallPermit, offer: Offer) -> Self {
        let route = permit.route();
        Self {
            destination: permit.destination().clone(),
            scheme: permit.scheme(),
            dial: route.dial(),
            ranges: route.ranges().to_vec(),
            proxy: route.proxy().cloned(),
            offer,
            certificate: route.client_certificate().cloned(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    links: Mutex<Links>,
}

#[derive(Debug, Default)]
struct Links {
    of: HashMap<Key, Kept>,
    /// How many over HTTP/1.1, of all keys.
    idle: usize,
    /// Whether somebody looks for those that nobody needs.
    thinning: bool,
}

/// What leads to one place, each since when it was last used.
#[derive(Debug, Default)]
struct Kept {
    /// Over HTTP/1.1, without a call: the last in line is the first to be used.
    idle: VecDeque<(Open, Instant)>,
    /// Over HTTP/2, with calls or without.
    shared: Vec<(Open, Instant)>,
}

impl Kept {
    /// When any of them was last used; never, where none is there.
    fn used(&self) -> Option<Instant> {
        self.idle.iter().chain(&self.shared).map(|(_, since)| *since).max()
    }

    /// A place on the first link that has one, so that what few calls need is few links.
    fn share(&mut self) -> Option<Open> {
        self.shared.retain(|(open, since)| !open.is_over() && (since.elapsed() < limit::IDLE_WAIT || open.is_busy()));
        self.shared.iter_mut().find_map(|(open, since)| {
            let another = open.another()?;
            *since = Instant::now();
            Some(another)
        })
    }
}

/// Takes out what leads to the place that was not used for longest.
fn longest_unused(of: &mut HashMap<Key, Kept>) -> Option<Kept> {
    let key = of.iter().min_by_key(|(_, kept)| kept.used())?.0.clone();
    of.remove(&key)
}

/// Takes out the link over HTTP/1.1 that was not used for longest.
fn oldest(of: &mut HashMap<Key, Kept>) -> Option<Open> {
    let lines = of.values_mut().map(|kept| &mut kept.idle);
    let line = lines.filter(|line| !line.is_empty()).min_by_key(|line| line.front().map(|(_, since)| *since))?;
    line.pop_front().map(|(open, _)| open)
}

impl Pool {
    /// A link that is open, has room and is not too old: one over HTTP/2 first, then the most recently used.
    pub(super) fn take(&self, key: &Key) -> Option<Open> {
        let mut links = self.links();
        let Links { of, idle, .. } = &mut *links;
        let kept = of.get_mut(key)?;
        if let Some(shared) = kept.share() {
            return Some(shared);
        }
        while let Some((open, since)) = kept.idle.pop_back() {
            *idle -= 1;
            if since.elapsed() < limit::IDLE_WAIT && open.is_ready() {
                return Some(open);
            }
        }
        // The key stays: whoever takes the only link brings it back in a moment.
        None
    }

    /// Keeps a link: one over HTTP/1.1 that has no call, or one over HTTP/2. Where there is no room, what was not used for longest goes.
    pub(super) fn put(self: &Arc<Self>, key: &Key, open: Open) {
        // Let go of once the lock is.
        let _over;
        let mut links = self.links();
        let Links { of, idle, thinning } = &mut *links;
        let crowded = of.len() >= limit::IDLE_DESTINATIONS && !of.contains_key(key);
        _over = (
            crowded.then(|| longest_unused(of)).flatten().inspect(|place| *idle -= place.idle.len()),
            (*idle >= limit::IDLE_LINKS).then(|| oldest(of)).flatten().inspect(|_| *idle -= 1),
        );
        let kept = match of.get_mut(key) {
            Some(kept) => kept,
            None => of.entry(key.clone()).or_default(),
        };
        let now = Instant::now();
        match &open.link {
            Link::Http1(alone) => {
                alone.rests();
                kept.idle.push_back((open, now));
                *idle += 1;
                if kept.idle.len() > limit::IDLE_AT_REST && !std::mem::replace(thinning, true) {
                    tokio::spawn(Arc::clone(self).thin());
                }
            }
            Link::Http2(_) if kept.shared.len() < limit::UPSTREAM_LINKS => kept.shared.push((open, now)),
            // It ends with the calls it has.
            Link::Http2(_) => {}
        }
    }

    /// Lets go of those that many clients needed at once and that none does any more.
    async fn thin(self: Arc<Self>) {
        loop {
            tokio::time::sleep(limit::REST).await;
            let mut over = Vec::new();
            let mut links = self.links();
            let Links { of, idle, thinning } = &mut *links;
            for kept in of.values_mut() {
                let most = kept.idle.len().saturating_sub(limit::IDLE_AT_REST);
                let unused =
                    kept.idle.iter().take(most).take_while(|(_, since)| since.elapsed() >= limit::REST).count();
                over.extend(kept.idle.drain(..unused));
            }
            *idle -= over.len();
            *thinning = of.values().any(|kept| kept.idle.len() > limit::IDLE_AT_REST);
            let more = *thinning;
            drop(links);
            drop(over);
            if !more {
                return;
            }
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a link back once its answer was read to the end; the wait ends with the connection at the latest. A short answer is read
    /// with its head.
    pub(super) fn put_when_ready(self: &Arc<Self>, key: &Key, mut alone: Alone, peer: Arc<Peer>) {
        if alone.is_ready() {
            return self.put(key, Open { link: Link::Http1(alone), peer });
        }
        let (pool, key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            if alone.ready().await {
                pool.put(&key, Open { link: Link::Http1(alone), peer });
            }
        });
    }
}

#[cfg(test)]
mod tests;
