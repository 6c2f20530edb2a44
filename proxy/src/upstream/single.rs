//! A connection over HTTP/1.1: one call at a time, which moves its bytes itself.
//!
//! Enters: a request. Leaves: the head of its answer. A task of its own has the rest of a long answer, and a connection that rests. Never: a
//! connection that nobody moves while somebody waits for it, or one that ends unseen and is used again.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};

use super::Body;
use crate::turn::Share;

/// What reads from the connection and writes to it, until it ends.
pub(super) type Mover = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The connection.
pub(super) struct Single {
    sender: http1::SendRequest<Body>,
    /// None once a task has it, or it has ended.
    mover: Option<Mover>,
    /// In whose turns it is moved once it has a task.
    share: Arc<Share>,
}

impl fmt::Debug for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single").field("sender", &self.sender).finish_non_exhaustive()
    }
}

impl Single {
    pub(super) fn new(sender: http1::SendRequest<Body>, mover: Mover, share: Arc<Share>) -> Self {
        Self { sender, mover: Some(mover), share }
    }

    /// Sends a request, and waits for the head of its answer. Who waits no longer lets go of the connection.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let mut sent = pin!(self.sender.try_send_request(request));
        let mover = &mut self.mover;
        poll_fn(|context| {
            if let Some(moved) = mover {
                if moved.as_mut().poll(context).is_ready() {
                    *mover = None;
                } else {
                    // The answer comes from what was just moved: there is nobody else to wake this.
                    return sent.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                }
            }
            sent.as_mut().poll(context)
        })
        .await
    }

    /// Whether it takes a request now. One that its upstream has ended meanwhile does not.
    pub(super) fn is_ready(&mut self) -> bool {
        if let Some(mover) = &mut self.mover
            && mover.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            self.mover = None;
        }
        self.sender.is_ready()
    }

    /// Whether the answer was read to its end, and the next request may be sent.
    pub(super) fn is_done(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until it is.
    pub(super) async fn done(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Has a task move it from now on.
    pub(super) fn by_itself(&mut self) {
        if let Some(mover) = self.mover.take() {
            self.share.spawn(mover);
        }
    }

    /// Whether nobody moves it while it has no call.
    pub(super) fn is_still(&self) -> bool {
        self.mover.is_some()
    }
}

#[cfg(test)]
mod tests {
    use config::Destination;
    use http_body_util::BodyExt;
    use record::CallLog;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::super::link::{self, Link};
    use super::*;
    use crate::gathered::Gathered;
    use crate::record::Before;

    /// A connection, and its upstream's end.
    async fn connected() -> (Single, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let log = Arc::new(CallLog::create(tempfile::tempdir().unwrap().path()).unwrap());
        let destination = Destination::parse_authority("api.example.com", 443).unwrap();
        let stream = Gathered::reads(ours, Before::upstream(&log));
        let share = crate::turn::Turns::new(|| {}).share();
        let Ok(Link::Http1(single)) = link::http1(stream, &destination, share).await else { panic!("no connection") };
        (single, theirs)
    }

    /// Asks, and has `answer` for it.
    async fn asked(single: &mut Single, theirs: &mut DuplexStream, answer: &[u8]) -> Response<Incoming> {
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        let answered = async {
            let mut head = [0; 1024];
            assert!(theirs.read(&mut head).await.unwrap() > 0);
            theirs.write_all(answer).await.unwrap();
        };
        let request = Request::get("/").header("host", "api.example.com").body(body).unwrap();
        let (answer, ()) = tokio::join!(single.send(request), answered);
        answer.unwrap()
    }

    #[tokio::test]
    async fn a_call_moves_its_own_bytes_and_leaves_the_connection_to_the_next() {
        let (mut single, mut theirs) = connected().await;
        for _ in 0..3 {
            let answer = asked(&mut single, &mut theirs, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            assert!(single.is_done() && single.is_still() && single.is_ready());
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        }
    }

    #[tokio::test]
    async fn one_that_was_ended_while_nobody_moved_it_takes_no_request() {
        let (mut single, mut theirs) = connected().await;
        asked(&mut single, &mut theirs, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert!(single.is_done());
        drop(theirs);
        assert!(!single.is_ready());
    }

    #[tokio::test]
    async fn a_task_has_the_rest_of_an_answer_and_sees_the_end() {
        let (mut single, mut theirs) = connected().await;
        let answer = asked(&mut single, &mut theirs, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").await;
        assert!(!single.is_done());
        single.by_itself();
        theirs.write_all(b"lf").await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "half");
        assert!(single.done().await && !single.is_still());
        theirs.shutdown().await.unwrap();
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0, "nobody saw that it was ended");
    }
}
