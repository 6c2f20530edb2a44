//! Calls that are taken back, and what becomes of others on the same connection.

use config::{Destination, Scheme};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use record::CallLog;
use tokio::io::DuplexStream;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::gathered::Gathered;
use crate::record::Before;
use crate::turn::Turns;
use crate::upstream::link::{self, Open};
use crate::upstream::{Peer, Reached};

/// What an upstream saw: paths of calls as they came, and of those that were taken back.
type Seen = Arc<Mutex<Vec<String>>>;

fn destination() -> Destination {
    Destination::parse_authority("api.example.com", 443).unwrap()
}

/// A connection, and the upstream's end of it.
async fn connected() -> (Open, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let log = Arc::new(CallLog::create(tempfile::tempdir().unwrap().path()).unwrap());
    let stream = Gathered::both_ways(ours, Before::upstream(&log));
    let link = link::http2(stream, &destination(), Turns::new(|| {}).share()).await.unwrap();
    let reached = Reached { address: "192.0.2.1:443".into(), proxy: None };
    (Open { link, peer: Arc::new(Peer { reached, tls: None }) }, theirs)
}

struct Taken(Seen, String);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(format!("{} taken back", self.1));
    }
}

/// Breaks off when it is asked for the second time.
struct Breaks(bool);

impl http_body::Body for Breaks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(Some(Err("broken off".into())));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The upstream begins to look: `/quick` is answered, `/broken` is and breaks off, anything else is not.
fn serve(theirs: DuplexStream) -> Seen {
    let seen = Seen::default();
    let shared = Arc::clone(&seen);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (seen, path) = (Arc::clone(&shared), request.uri().path().to_owned());
        async move {
            seen.lock().unwrap().push(path.clone());
            let _taken = Taken(seen, path.clone());
            let body = match &*path {
                "/quick" => Body::default(),
                "/broken" => Breaks(false).boxed_unsync(),
                _ => std::future::pending().await,
            };
            Ok::<_, std::convert::Infallible>(Response::new(body))
        }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    tokio::spawn(async move { builder.serve_connection(TokioIo::new(theirs), service).await });
    seen
}

fn count(seen: &Seen, what: &str) -> usize {
    seen.lock().unwrap().iter().filter(|seen| *seen == what).count()
}

/// What comes of a call on `open`: its status.
fn calling(open: &Open, path: &str, body: Body) -> impl Future<Output = Option<u16>> + Send + use<> {
    let mut another = open.another().expect("there is room");
    let request = Request::post(format!("https://api.example.com{path}")).body(body).unwrap();
    async move {
        let answer = another.link.send(&destination(), Scheme::Https, Box::new(request)).await;
        answer.ok().map(|answer| answer.status().as_u16())
    }
}

fn call(open: &Open, path: &str) -> JoinHandle<Option<u16>> {
    tokio::spawn(calling(open, path, Body::default()))
}

/// Everybody does what needs no wait.
async fn settled() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// Sixty calls go out and are taken back, before the upstream looks.
async fn take_back_sixty(open: &Open) {
    let calls: Vec<_> = (0..60).map(|_| call(open, "/slow")).collect();
    settled().await;
    calls.iter().for_each(JoinHandle::abort);
    settled().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_taken_back_unseen_do_not_end_the_connection_of_others() {
    let (open, theirs) = connected().await;
    let neighbour = call(&open, "/quick");
    settled().await;
    take_back_sixty(&open).await;
    let seen = serve(theirs);
    assert_eq!(neighbour.await.unwrap(), Some(200));
    tokio::time::sleep(2 * limit::RESET_WAIT).await;
    assert_eq!(count(&seen, "/slow taken back"), count(&seen, "/slow"), "each is reset in the end");
    assert!(count(&seen, "/slow") > 40);
    assert_eq!(call(&open, "/quick").await.unwrap(), Some(200));
}

#[tokio::test(start_paused = true)]
async fn nor_do_uploads_that_break_off() {
    let (open, theirs) = connected().await;
    let neighbour = call(&open, "/quick");
    settled().await;
    let uploads: Vec<_> =
        (0..60).map(|_| tokio::spawn(calling(&open, "/slow", Breaks(false).boxed_unsync()))).collect();
    settled().await;
    let seen = serve(theirs);
    assert_eq!(neighbour.await.unwrap(), Some(200));
    for upload in uploads {
        assert_eq!(upload.await.unwrap(), None);
    }
    settled().await;
    assert_eq!(count(&seen, "/slow taken back"), count(&seen, "/slow"));
    assert_eq!(call(&open, "/quick").await.unwrap(), Some(200));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_taken_back_before_it_went_out_never_goes_out() {
    let (open, theirs) = connected().await;
    for _ in 0..30 {
        let mut calling = Box::pin(calling(&open, "/slow", Body::default()));
        assert!(std::future::poll_fn(|cx| Poll::Ready(calling.as_mut().poll(cx).is_pending())).await);
    }
    let seen = serve(theirs);
    assert_eq!(call(&open, "/quick").await.unwrap(), Some(200));
    tokio::time::sleep(2 * limit::RESET_WAIT).await;
    assert_eq!(count(&seen, "/slow"), 0);
}

#[tokio::test]
async fn what_the_upstream_has_seen_or_had_time_to_see_is_reset_at_once() {
    let (open, theirs) = connected().await;
    let seen = serve(theirs);
    for wait in [false, true] {
        let calls: Vec<_> = (0..30).map(|_| call(&open, "/slow")).collect();
        settled().await;
        if wait {
            tokio::time::sleep(limit::RESET_WAIT).await;
        } else {
            assert_eq!(call(&open, "/quick").await.unwrap(), Some(200));
        }
        // Of others, that may be unseen, as many are taken back as can be at once.
        let others: Vec<_> = (0..limit::EARLY_RESETS).map(|_| call(&open, "/other")).collect();
        settled().await;
        others.iter().chain(&calls).for_each(JoinHandle::abort);
        settled().await;
        assert_eq!(count(&seen, "/slow taken back"), if wait { 60 } else { 30 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_many_were_taken_back_ends_with_the_calls_that_it_has() {
    let (open, theirs) = connected().await;
    let seen = serve(theirs);
    while !open.is_over() {
        let taken = call(&open, "/slow");
        assert_eq!(call(&open, "/quick").await.unwrap(), Some(200));
        taken.abort();
        settled().await;
        assert!(count(&seen, "/slow") <= limit::LINK_RESETS);
    }
    assert_eq!(count(&seen, "/slow taken back"), limit::LINK_RESETS);
    assert_eq!(call(&open, "/quick").await.unwrap(), Some(200), "those that it has");
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_breaks_off_itself_is_not_counted_as_taken_back() {
    let (open, theirs) = connected().await;
    serve(theirs);
    for asked_at_once in [false, true] {
        for _ in 0..limit::LINK_RESETS {
            let mut another = open.another().expect("there is room");
            let request = Request::get("https://api.example.com/broken").body(Body::default()).unwrap();
            let answer = another.link.send(&destination(), Scheme::Https, Box::new(request)).await.ok();
            let mut body = answer.expect("its head came").into_body();
            settled().await;
            if asked_at_once {
                assert!(body.whole().is_none());
            } else {
                assert!(body.frame().await.unwrap().is_err());
            }
        }
    }
    assert!(!open.is_over(), "it would take no further call");
    assert_eq!(call(&open, "/quick").await.unwrap(), Some(200));
}
