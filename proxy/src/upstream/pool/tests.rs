//! What is kept where there is no room for all.

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::turn::Turns;
use crate::upstream::{Body, Reached};

/// Where `name` is.
fn place(name: usize) -> Key {
    Key {
        destination: format!("n{name}.example.com:443").parse().unwrap(),
        scheme: Scheme::Https,
        dial: None,
        ranges: Vec::new(),
        proxy: None,
        offer: Offer { tls12: true, hybrid: false },
        certificate: None,
    }
}

/// A connection over HTTP/1.1 that waits for a call, and its other end.
async fn open(turns: &Arc<Turns>) -> (Open, DuplexStream) {
    let (here, there) = duplex(1024);
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(here)).await.unwrap();
    let work = turns.share().spawn(connection);
    sender.ready().await.unwrap();
    let reached = Reached { address: "192.0.2.1:443".into(), proxy: None };
    (Open { link: Link::Http1(Alone::new(sender, work)), peer: Arc::new(Peer { reached, tls: None }) }, there)
}

#[tokio::test]
async fn a_new_place_has_the_room_of_the_one_that_was_not_used_for_longest() {
    let (turns, pool) = (Turns::new(|| {}), Arc::new(Pool::default()));
    let mut ends = Vec::new();
    for name in 0..limit::IDLE_DESTINATIONS {
        let (open, end) = open(&turns).await;
        pool.put(&place(name), open);
        ends.push(end);
    }
    // The first one is needed once more.
    let first = pool.take(&place(0)).unwrap();
    pool.put(&place(0), first);
    let (open, _end) = open(&turns).await;
    pool.put(&place(limit::IDLE_DESTINATIONS), open);

    assert!(pool.take(&place(1)).is_none());
    for name in [0, 2, limit::IDLE_DESTINATIONS - 1, limit::IDLE_DESTINATIONS] {
        assert!(pool.take(&place(name)).is_some(), "{name}");
    }
    assert_eq!(pool.links().idle, limit::IDLE_DESTINATIONS - 4);
    assert_eq!(pool.links().of.len(), limit::IDLE_DESTINATIONS);
}

#[tokio::test]
async fn one_more_link_has_the_room_of_the_one_that_was_not_used_for_longest() {
    let (turns, pool) = (Turns::new(|| {}), Arc::new(Pool::default()));
    let mut ends = Vec::new();
    for number in 0..=limit::IDLE_LINKS {
        let (open, end) = open(&turns).await;
        // One elsewhere is older than all but the first two.
        pool.put(&place(usize::from(number == 2)), open);
        ends.push(end);
    }
    let kept = |name| pool.links().of[&place(name)].idle.len();
    assert_eq!((kept(0), kept(1), pool.links().idle), (limit::IDLE_LINKS - 1, 1, limit::IDLE_LINKS));
    for left in [(limit::IDLE_LINKS - 1, 1), (limit::IDLE_LINKS, 0)] {
        let (open, end) = open(&turns).await;
        pool.put(&place(0), open);
        ends.push(end);
        assert_eq!((kept(0), kept(1), pool.links().idle), (left.0, left.1, limit::IDLE_LINKS));
    }
}
