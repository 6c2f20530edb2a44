//! hudsucker, the crate, with what comes with it: its authority, hyper's client upstream.
//!
//! Enters: `CONNECT` requests. Leaves: the calls inside of them, made upstream; with a file to write to, one header is changed and a line
//! written for each. Never: more done for a call than that, so that it is hudsucker which is measured.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use clap::Args;
use hudsucker::certificate_authority::RcgenAuthority;
use hudsucker::{Body, HttpContext, HttpHandler, Proxy, RequestOrResponse};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use crate::error::Error;
use crate::identity::provider;
use crate::upstream::CREDENTIAL;

use super::{Intercepts, authority, bare};

/// What a client says that is to have the credential put in its place.
pub const PLACEHOLDER: &str = "bench-placeholder-of-a-rival";
/// Leaves that are remembered, more than one run has names.
const LEAVES: u64 = 10_000;

/// How it is started.
#[derive(Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    intercepts: Intercepts,
    /// Change the credential's header, and write a line for each call to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Serves until standard input ends; says where on standard output.
pub fn run(settings: &Settings) -> Result<(), Error> {
    let Settings { intercepts, log } = settings;
    let issuer = authority::issuer(&intercepts.authority)?;
    let authority = RcgenAuthority::new(issuer, LEAVES, rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(bare::roots(intercepts)?)
        .with_no_client_auth();
    let dial = Dial { http1: intercepts.http1, both: intercepts.both };
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_all_versions();
    let connector = connector.wrap_connector(dial);
    let log = log.as_ref().map(|file| File::options().append(true).create(true).open(file)).transpose()?;
    super::process::serve(async move |listener: TcpListener| {
        let proxy = Proxy::builder().with_listener(listener).with_ca(authority).with_http_connector(connector);
        let ended = match log {
            Some(file) => proxy.with_http_handler(Swap(Arc::new(Mutex::new(file)))).build()?.start().await,
            None => proxy.build()?.start().await,
        };
        Ok(ended?)
    })
}

/// Changes a header, writes a line.
#[derive(Clone)]
struct Swap(Arc<Mutex<File>>);

impl HttpHandler for Swap {
    async fn handle_request(&mut self, from: &HttpContext, mut request: Request<Body>) -> RequestOrResponse {
        let carried = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let swapped = carried == Some(PLACEHOLDER.as_bytes());
        if swapped && let Ok(value) = HeaderValue::from_str(&format!("Bearer {CREDENTIAL}")) {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let line = format!("{} {} {} swapped={swapped}\n", from.client_addr, request.method(), request.uri());
        // A line that is not written shows in no figure; that the file is there was seen when it was opened.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        request.into()
    }
}

/// Connects to the upstream, whatever the name; those of HTTP/2 have a port of their own.
#[derive(Clone)]
struct Dial {
    http1: SocketAddr,
    both: SocketAddr,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let to = if to.host().is_some_and(|name| name.starts_with("h2.")) { self.both } else { self.http1 };
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
