//! A connection over HTTP/1.1, which carries one call at a time.
//!
//! Enters: a request. Leaves: the head of its answer, with the body as it comes. Never: a byte of a call that nobody wants any more.

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
}

impl Alone {
    /// `work` drives it.
    pub(super) fn new(sender: http1::SendRequest<Body>, work: Work) -> Self {
        Self { sender, work }
    }

    /// Whether it takes a request now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until it does; whether it ever will.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        destination: &Destination,
        request: Request<Body>,
    ) -> Result<Response<Carried>, Failure> {
        let call = OneCall(Some(self.work.clone()));
        let answer = self.sender.try_send_request(request).await.map_err(failed(destination, |body| body))?;
        Ok(answer.map(|body| Carried::alone(body, call)))
    }
}

/// Ends a connection over HTTP/1.1 with a call on it that nobody wants any more, there and then: hyper would first send what it has of the request,
/// for as long as the upstream does not read that, and keep the client's connection that it comes from.
#[derive(Debug)]
pub(super) struct OneCall(Option<Work>);

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
        self.0.iter().for_each(Work::end);
    }
}
