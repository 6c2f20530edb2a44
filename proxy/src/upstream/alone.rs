//! A connection over HTTP/1.1, which carries one call at a time.
//!
//! Enters: a request. Leaves: the head of its answer, with the body as it comes. Never: a byte of a call that nobody wants any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use config::Destination;
use http::{Request, Response};
use hyper::client::conn::http1;

use super::link::{Carried, failed};
use super::{Body, Failure};
use crate::turn::Work;

/// The connection, and what drives it.
#[derive(Debug)]
pub(super) struct Alone {
    sender: http1::SendRequest<Body>,
    work: Work,
    /// The number of the call that it carries; another one as soon as it carries none.
    carries: Arc<AtomicU64>,
}

impl Alone {
    /// `work` drives it.
    pub(super) fn new(sender: http1::SendRequest<Body>, work: Work) -> Self {
        Self { sender, work, carries: Arc::default() }
    }

    /// Whether it takes a request now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until it does; whether it ever will.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Its answer is all there, though whoever asked may not have read it yet: what becomes of that is nothing to whoever asks next.
    pub(super) fn rests(&self) {
        self.carries.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        destination: &Destination,
        request: Request<Body>,
    ) -> Result<Response<Carried>, Failure> {
        let number = self.carries.fetch_add(1, Ordering::Relaxed) + 1;
        let call = OneCall(Some((self.work.clone(), Arc::clone(&self.carries), number)));
        let answer = self.sender.try_send_request(request).await.map_err(failed(destination, |body| body))?;
        Ok(answer.map(|body| Carried::alone(body, call)))
    }
}

/// Ends a connection over HTTP/1.1 with a call on it that nobody wants any more, there and then: hyper would first send what it has of the request,
/// for as long as the upstream does not read that, and keep the client's connection that it comes from.
#[derive(Debug)]
pub(super) struct OneCall(Option<(Work, Arc<AtomicU64>, u64)>);

impl OneCall {
    /// Of a connection that carries others, which are not ended with it.
    pub(super) fn over() -> Self {
        Self(None)
    }

    /// Its answer is whole, or broke off by itself.
    pub(super) fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for OneCall {
    fn drop(&mut self) {
        if let Some((work, carries, number)) = &self.0
            && carries.load(Ordering::Relaxed) == *number
        {
            work.end();
        }
    }
}
