//! The public keys and the discovery document, on an HTTPS address, for verifiers that are not on this machine.
//!
//! Enters: TLS connections of anybody. Leaves: the two documents, below the path of the issuer's URL; everything else is 404.
//! What serves here reaches nothing of the broker but its public keys: no worker, no lease, no API. Every connection is
//! bounded in time and size and carries one request, and there are no more than so many.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use config::Source;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::error::Error;
use crate::identity::Signer;
use crate::issuer::chain;
use crate::settings::Publish;
use crate::source::{self, Environment};

/// Verifiers ask a few times an hour. More wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// Handshake, request, answer: what takes longer only keeps a place.
const WHOLE: Duration = Duration::from_secs(10);
/// A request has a short path and a few fields.
const MAX_HEAD: usize = 8 * 1024;
const MAX_FIELDS: usize = 64;
/// A certificate is one or two KiB, and a chain has a few.
const LONGEST_CHAIN: u64 = 64 * 1024;
/// How often a renewed certificate is looked for.
const LOOK: Duration = Duration::from_secs(60);
/// After an `accept` that failed: out of files, most likely, and soon no longer.
const PAUSE: Duration = Duration::from_millis(100);
/// How long verifiers may keep the documents. A key is published for longer before it signs.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// A listener that is ready to publish.
pub(crate) struct Publisher {
    publish: Publish,
    listener: TcpListener,
    tls: ArcSwap<ServerConfig>,
    documents: Arc<Documents>,
}

/// The two documents, and where they are.
struct Documents {
    signer: Arc<Signer>,
    discovery: String,
    keys: String,
}

impl Publisher {
    /// Takes the address and reads certificate and key.
    pub(crate) async fn bind(publish: Publish, signer: &Arc<Signer>) -> Result<Publisher, Error> {
        let tls = ArcSwap::new(tls(&publish).await?);
        let (address, issuer) = (publish.address, signer.issuer());
        let listener = TcpListener::bind(address).await;
        let listener =
            listener.map_err(|error| failed(&publish, "it cannot be listened on".to_owned(), error.into()))?;
        let url: Uri = issuer.parse().map_err(|_| failed(&publish, issuer.to_owned(), "it is no URL".into()))?;
        let base = url.path().trim_end_matches('/');
        let documents = Documents {
            signer: Arc::clone(signer),
            discovery: format!("{base}/.well-known/openid-configuration"),
            keys: format!("{base}/.well-known/jwks.json"),
        };
        tracing::info!(%address, issuer, "the keys are published");
        Ok(Publisher { publish, listener, tls, documents: Arc::new(documents) })
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self) {
        tokio::join!(self.accept(), self.renew());
    }

    async fn accept(&self) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            let (tls, documents) = (TlsAcceptor::from(self.tls.load_full()), Arc::clone(&self.documents));
            connections.spawn(async move {
                let _place = place;
                let _ = timeout(WHOLE, connection(tls, stream, documents)).await;
            });
        }
    }

    /// Takes renewed certificates. One that cannot be used changes nothing, but is said.
    async fn renew(&self) {
        loop {
            sleep(LOOK).await;
            match tls(&self.publish).await {
                Ok(tls) => self.tls.store(tls),
                Err(error) => tracing::warn!(reason = chain(&error), "the last certificate stays"),
            }
        }
    }
}

impl Documents {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let document = match request.uri().path() {
            path if path == self.discovery => serde_json::to_vec(&self.signer.discovery()),
            path if path == self.keys => serde_json::to_vec(&self.signer.keys()),
            _ => return bare(StatusCode::NOT_FOUND),
        };
        match (request.method(), document) {
            (&Method::GET | &Method::HEAD, Ok(document)) => {
                let mut response = Response::new(Full::from(document)); // hyper leaves the body of a HEAD out
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response.headers_mut().insert(CACHE_CONTROL, KEEP);
                response
            }
            (_, Ok(_)) => {
                let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
            (_, Err(_)) => bare(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

async fn connection(tls: TlsAcceptor, stream: TcpStream, documents: Arc<Documents>) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let answer = service_fn(async |request| Ok::<_, Infallible>(documents.answer(&request)));
    let http = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None) // the whole of it has a bound
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(stream), answer);
    let _ = http.await; // whatever ended it, it is over
}

/// What to serve with: certificate and key as they are on disk now.
async fn tls(publish: &Publish) -> Result<Arc<ServerConfig>, Error> {
    let unusable = |path: &Path, source: Box<dyn std::error::Error + Send + Sync>| {
        failed(publish, format!("`{}` cannot be used", path.display()), source)
    };
    let certificate = certificates(&publish.certificate).await;
    let certificate = certificate.map_err(|error| unusable(&publish.certificate, error.into()))?;
    let key = source::read(&Source::File(publish.key.clone()), &Environment::new()).await;
    let key = key.map_err(|error| unusable(&publish.key, error.into()))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(&publish.certificate, error.into()))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes());
    let key = key.map_err(|error| unusable(&publish.key, error.into()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable(&publish.certificate, error.into()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The file's bytes, which are no secret.
async fn certificates(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).await?.take(LONGEST_CHAIN + 1).read_to_end(&mut bytes).await?;
    match read as u64 > LONGEST_CHAIN {
        true => Err(io::Error::other(format!("it is longer than {LONGEST_CHAIN} bytes"))),
        false => Ok(bytes),
    }
}

fn failed(publish: &Publish, what: String, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Publish { address: publish.address, what, source }
}
