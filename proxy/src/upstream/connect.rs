//! A connection to an upstream by way of the house's own proxy (CONNECT, RFC 9110 section 9.3.6).
//!
//! Enters: a destination that was judged, and the proxy of its route. Leaves: a stream on which the destination is to prove itself
//! as on any other. Never: a request of the sandbox to the proxy itself, a login in a message, a wait without an end.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use config::{Destination, Host, Route, UpstreamProxy};
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::dial;
use crate::error::Refusal;
use crate::hello::Prefixed;
use crate::{limit, resolve};

/// Has `proxy` connect to where `route` leads. The address is the proxy's.
pub(super) async fn through(
    proxy: &UpstreamProxy,
    route: Route<'_>,
) -> Result<(Prefixed<TcpStream>, SocketAddr), Refusal> {
    let destination = route.destination();
    let failed = |reason: String, remedy| Refusal::UpstreamProxy {
        proxy: proxy.place().clone(),
        destination: destination.clone(),
        reason,
        remedy,
    };
    let place = proxy.place();
    let reached = async {
        let addresses = resolve::of_proxy(proxy, route.rule()).await?;
        dial::any_of(place, &addresses).await
    };
    let remedy_of = |refusal: &Refusal| match (refusal, place.host()) {
        (Refusal::Unresolved(..), Host::Name(name)) if !name.as_str().contains('.') => WHOLE_NAME,
        _ => TELL_OPERATOR,
    };
    let reached = reached.await.map_err(|refusal| failed(refusal.to_string(), remedy_of(&refusal)));
    let (stream, address) = reached?;
    match tokio::time::timeout(limit::PROXY_WAIT, ask(proxy, destination, stream)).await {
        Ok(Ok(stream)) => Ok((stream, address)),
        Ok(Err(Unwilling::Status(status))) => {
            Err(failed(format!("it answered {status}"), remedy(status, proxy.login().is_some())))
        }
        Ok(Err(Unwilling::Broken(reason))) => Err(failed(reason, TELL_OPERATOR)),
        Err(_) => Err(failed(format!("it gave no answer within {} s", limit::PROXY_WAIT.as_secs()), "try again later")),
    }
}

/// Of names that a machine knows as the beginning of longer ones.
const WHOLE_NAME: &str =
    "tell your operator to write the whole name under `[upstream] proxy`: search domains are not added to it";
const TELL_OPERATOR: &str = "try again later, or tell your operator to look at `[upstream] proxy`";

fn remedy(status: StatusCode, logged_in: bool) -> &'static str {
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED if logged_in => {
            "it does not take the login: tell your operator to look at `[upstream] proxy_login`"
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            "it wants a login: ask your operator to add `[upstream] proxy_login`"
        }
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            "the policy allows the call and the proxy does not: ask whoever runs it, or your operator for `no_proxy`"
        }
        status if status.is_server_error() => "the proxy did not get through; try again later",
        _ => TELL_OPERATOR,
    }
}

/// Why there is no way through.
enum Unwilling {
    Status(StatusCode),
    Broken(String),
}

impl From<hyper::Error> for Unwilling {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(format!("it did not answer as an HTTP proxy does: {error}"))
    }
}

/// One request and its answer; what follows is the destination's.
async fn ask(
    proxy: &UpstreamProxy,
    destination: &Destination,
    stream: TcpStream,
) -> Result<Prefixed<TcpStream>, Unwilling> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limit::PROXY_HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request(proxy, destination)?).await?;
    let stream = match response.status() {
        status if status.is_success() => hyper::upgrade::on(response).await?,
        status => {
            // Its page is of no use to anybody here.
            connection.abort();
            return Err(Unwilling::Status(status));
        }
    };
    let parts = stream.downcast::<TokioIo<TcpStream>>();
    let parts = parts.map_err(|_| Unwilling::Broken("the connection changed on its way".to_owned()))?;
    Ok(Prefixed::new(parts.read_buf, parts.io.into_inner()))
}

fn request(proxy: &UpstreamProxy, destination: &Destination) -> Result<Request<Empty<Bytes>>, Unwilling> {
    let broken = |error: http::Error| Unwilling::Broken(error.to_string());
    let authority = destination.to_string();
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&authority)
        .header(HOST, &authority)
        .body(Empty::<Bytes>::new())
        .map_err(broken)?;
    if let Some(login) = proxy.login() {
        let text = format!("Basic {}", BASE64_STANDARD.encode(login.expose()));
        let mut value = HeaderValue::from_str(&text).map_err(|error| broken(error.into()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(PROXY_AUTHORIZATION, value);
    }
    Ok(request)
}
