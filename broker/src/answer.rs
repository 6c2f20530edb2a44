//! One request, and its answer.
//!
//! Enters: a request on a connection, which is what says who asks; it shows the socket's key, and once it is a worker its session.
//! Leaves: JSON, or a problem from the one table that turns refusals into statuses. A connection registers at most one worker, and no request of a worker names one. An operator's connection, which
//! is one by where it came in, takes leases back, permits and denies, and does nothing else.

mod operator;
mod permission;

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use config::{Credential, Placeholder};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use record::Head;
use tokio::time::timeout;

use crate::admission::{self, Admission};
use crate::api::{
    Ask, AskCheckpoint, Awaits, Ended, Health, LAST_CHECKPOINT, MAX_AUDIENCE, MAX_REQUEST, NOT_APPROVED, NotYet,
    Problem, Register, Registration, SignedCheckpoint, Which, Wire,
};
use crate::broker::Broker;
use crate::identity::Identity;
use crate::notary::{NotSigned, Signed};
use crate::secret::{Secret, zeroising_bytes};
use crate::worker::{Wish, Worker};

/// A body of 8 KiB that takes longer to cross a local socket is not coming.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker asks fifty times a second at most for a lease that is being fetched, and four times for what was taken back. What its agent's calls have
/// it ask is counted by itself: a flood of them must not keep the worker from learning what was taken back, or its log from being signed for.
const REQUESTS: NonZeroU32 = NonZeroU32::new(500).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(1000).unwrap();
/// What the whole world may read.
const PUBLIC: [&str; 2] = ["/.well-known/jwks.json", "/.well-known/openid-configuration"];

/// The answer to what only a worker may ask.
const NO_WORKER: Refusal = Refusal::Conflict("this connection is no worker yet: POST /v1/workers");

/// Where leases are asked for.
const LEASES: &str = "/v1/leases";
/// The path of a lease, before its id.
const ONE_LEASE: &str = "/v1/leases/";

/// One connection: the worker that it is, once registered.
pub(crate) struct Connection {
    broker: Arc<Broker>,
    /// What is shown before it is a worker. `None`: nobody but the worker can have the other end.
    admission: Option<Arc<Admission>>,
    /// The user id of an operator.
    operator: Option<u32>,
    worker: OnceLock<(Worker, Secret)>,
    signed: Signed,
    /// The worker has said that it ends; what it may still have is a last checkpoint.
    over: AtomicBool,
    requests: DefaultDirectRateLimiter,
    leases: DefaultDirectRateLimiter,
}

/// Why there is no other answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request cannot be read.
    Malformed(String),
    /// The request's body is too long, or too slow.
    TooLong,
    /// No grant.
    Denied(String),
    /// Granted, and an operator said no, in these words.
    NotApproved(String),
    /// Not this connection's owner.
    Stranger(&'static str),
    /// More requests than a worker makes.
    TooOften,
    /// No such path.
    NotFound,
    /// No such method there.
    MethodNotAllowed(&'static str),
    /// Not in this state of the connection.
    Conflict(&'static str),
    /// Granted, but not to be had now.
    Unavailable(String),
    /// The broker's own fault.
    Broken(String),
}

impl Connection {
    /// The one connection of a broker that was made for it.
    pub(crate) fn embedded(broker: Arc<Broker>) -> Connection {
        Connection::with(broker, None, None)
    }

    /// A connection to a socket that many reach.
    pub(crate) fn at(broker: Arc<Broker>, admission: Arc<Admission>) -> Connection {
        Connection::with(broker, Some(admission), None)
    }

    /// A connection of this user to the socket of operators.
    pub(crate) fn operator(broker: Arc<Broker>, admission: Arc<Admission>, user: u32) -> Connection {
        Connection::with(broker, Some(admission), Some(user))
    }

    fn with(broker: Arc<Broker>, admission: Option<Arc<Admission>>, operator: Option<u32>) -> Connection {
        let [requests, leases] = [(); 2].map(|()| RateLimiter::direct(Quota::per_second(REQUESTS).allow_burst(BURST)));
        Connection {
            broker,
            admission,
            operator,
            worker: OnceLock::new(),
            signed: Signed::default(),
            over: AtomicBool::new(false),
            requests,
            leases,
        }
    }

    /// Whether it has become a worker.
    pub(crate) fn is_registered(&self) -> bool {
        self.worker.get().is_some()
    }

    /// The end of the connection is the end of its worker.
    pub(crate) async fn end(&self) -> Ended {
        match self.worker.get() {
            Some((worker, _)) => {
                self.broker.desk.forget(worker.holder.worker);
                let ended = worker.end().await;
                self.broker.workers.fetch_sub(1, Ordering::Relaxed);
                ended
            }
            None => Ended::default(),
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let routed = match self.admit(&request) {
            Ok(()) => match self.operator {
                Some(user) => self.operate(request, user).await,
                None => self.route(request).await,
            },
            Err(refusal) => Err(refusal),
        };
        Ok(routed.unwrap_or_else(Refusal::into_response))
    }

    /// Whether it is this connection's owner who asks, and not too often. What is public is anybody's.
    fn admit(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        let for_a_call = request.method() == Method::POST && request.uri().path() == LEASES;
        let counted = if for_a_call { &self.leases } else { &self.requests };
        counted.check().map_err(|_| Refusal::TooOften)?;
        let headers = request.headers();
        let admitted = match (self.worker.get(), &self.admission) {
            _ if PUBLIC.contains(&request.uri().path()) => true,
            (Some((_, session)), _) => admission::shows(headers, session),
            (None, Some(admission)) => admission.admits(headers),
            (None, None) => true,
        };
        match (admitted, self.is_registered()) {
            (true, _) => Ok(()),
            (false, true) => Err(Refusal::Stranger("it does not show the session of this connection's worker")),
            (false, false) => Err(Refusal::Stranger("it does not show the key that lies beside this socket")),
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Refusal> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::POST, "/v1/workers") => json(StatusCode::CREATED, &self.register(read(request).await?)?),
            (&Method::POST, LEASES) => match self.lease(&read(request).await?).await? {
                Wish::Granted(lease) => json(StatusCode::OK, &*lease),
                Wish::Pending => json(StatusCode::ACCEPTED, &NotYet::default()),
                Wish::Awaits(approval, wait) => {
                    let awaits = Awaits { approval, wait_seconds: wait.as_secs() };
                    json(StatusCode::ACCEPTED, &NotYet { awaits: Some(awaits) })
                }
            },
            (&Method::GET, LEASES) => json(StatusCode::OK, &self.worker()?.taken_back()),
            (&Method::DELETE, path) if path.starts_with(ONE_LEASE) => {
                json(StatusCode::OK, &self.revoke(&path[ONE_LEASE.len()..]).await?)
            }
            (&Method::GET, "/v1/identity") => json(StatusCode::OK, &self.identity(request.uri().query())?),
            (&Method::DELETE, "/v1/workers/self") => {
                let ended = json(StatusCode::OK, &self.worker()?.end().await)?;
                self.over.store(true, Ordering::Relaxed);
                let goes_on = request.uri().query() == Some(LAST_CHECKPOINT);
                Ok(if goes_on { ended } else { closing(ended) })
            }
            (&Method::POST, "/v1/checkpoints") => {
                let signed = json(StatusCode::OK, &self.checkpoint(&read(request).await?)?)?;
                Ok(if self.over.load(Ordering::Relaxed) { closing(signed) } else { signed })
            }
            (&Method::GET, "/v1/health") => json(StatusCode::OK, &self.health()),
            (&Method::GET, "/.well-known/jwks.json") => public(serde_json::to_vec(&self.broker.signer.keys())),
            (&Method::GET, "/.well-known/openid-configuration") => {
                public(serde_json::to_vec(&self.broker.signer.discovery()))
            }
            (_, "/v1/checkpoints") => Err(Refusal::MethodNotAllowed("POST")),
            (_, "/v1/workers") => Err(Refusal::MethodNotAllowed("POST")),
            (_, LEASES) => Err(Refusal::MethodNotAllowed("GET, POST")),
            (_, "/v1/workers/self") => Err(Refusal::MethodNotAllowed("DELETE")),
            (_, path) if path.starts_with(ONE_LEASE) => Err(Refusal::MethodNotAllowed("DELETE")),
            (_, "/v1/identity" | "/v1/health" | "/.well-known/jwks.json" | "/.well-known/openid-configuration") => {
                Err(Refusal::MethodNotAllowed("GET"))
            }
            _ => Err(Refusal::NotFound),
        }
    }

    fn register(&self, Register { agent }: Register) -> Result<Registration, Refusal> {
        self.broker.admits(&agent)?;
        let mut grants = Vec::new();
        for (grant, shape) in self.broker.grants(&agent).flat_map(Credential::placeholders) {
            let placeholder = Placeholder::generate(shape).map_err(|error| Refusal::Broken(error.to_string()))?;
            grants.push((grant, placeholder));
        }
        let session = admission::draw().map_err(|error| Refusal::Broken(error.to_string()))?;
        let shown = Secret::new(session.expose());
        let worker = Worker::new(&self.broker.signer, agent, Arc::clone(&self.broker.ledger));
        let identity = self.identify(&worker, self.broker.signer.issuer())?;
        let id = worker.holder.worker;
        self.worker.set((worker, session)).map_err(|_| Refusal::Conflict("this connection already is a worker"))?;
        self.broker.workers.fetch_add(1, Ordering::Relaxed);
        Ok(Registration { worker: id, identity, grants, session: shown })
    }

    async fn lease(&self, ask: &Ask) -> Result<Wish, Refusal> {
        let Ask { credential, destination, refused } = ask;
        let worker = self.worker()?;
        self.broker.admits(&worker.holder.agent)?;
        let (issuer, scope) = self.broker.granted(&worker.holder.agent, credential, destination)?;
        let wish = match self.broker.permission_wait(credential) {
            None => worker.lease(credential, issuer, scope, *refused, None).await?,
            Some(wait) => self.by_permission(worker, ask, (issuer, scope), wait).await?,
        };
        if let (Wish::Granted(lease), Err(refusal)) = (&wish, self.broker.admits(&worker.holder.agent)) {
            // Offboarded while its issuer was asked.
            self.broker.ledger.revoke(&Which::Lease(lease.id)).await;
            return Err(refusal);
        }
        Ok(wish)
    }

    fn checkpoint(&self, AskCheckpoint { size, root }: &AskCheckpoint) -> Result<SignedCheckpoint, Refusal> {
        let (worker, _) = self.worker.get().ok_or(NO_WORKER)?;
        let notary = self.broker.notary.as_ref();
        let notary = notary.ok_or_else(|| Refusal::Unavailable("this broker signs for no logs".to_owned()))?;
        match notary.sign(&worker.holder, &self.signed, Head { size: *size, root: *root }) {
            Ok(note) => Ok(SignedCheckpoint { note }),
            Err(error @ NotSigned::Forked(_)) => {
                tracing::error!(worker = %worker.holder.worker, %error, "a worker would have its log signed for anew");
                Err(Refusal::Conflict("a longer log than this, or another one, was signed for"))
            }
            Err(error) => Err(Refusal::Unavailable(error.to_string())),
        }
    }

    fn identity(&self, query: Option<&str>) -> Result<Identity, Refusal> {
        let worker = self.worker()?;
        self.broker.admits(&worker.holder.agent)?;
        let audience = query.and_then(|query| query.strip_prefix("audience=")).unwrap_or_default();
        let audience = percent_decode_str(audience).decode_utf8_lossy();
        if !(1..=MAX_AUDIENCE).contains(&audience.len()) || !audience.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::Malformed("the query is not one `audience=` of visible ASCII".to_owned()));
        }
        if !self.broker.signer.may_address(&audience) {
            return Err(Refusal::Denied(format!("`{audience}` is not among the broker's audiences")));
        }
        self.identify(worker, &audience)
    }

    fn identify(&self, worker: &Worker, audience: &str) -> Result<Identity, Refusal> {
        worker.holder.identity(audience, SystemTime::now()).map_err(|error| Refusal::Broken(error.to_string()))
    }

    fn health(&self) -> Health {
        let Broker { workers, ledger, .. } = &*self.broker;
        Health { workers: workers.load(Ordering::Relaxed), leases: ledger.standing.len(), kept: ledger.kept().len() }
    }

    fn worker(&self) -> Result<&Worker, Refusal> {
        match self.worker.get() {
            Some(_) if self.over.load(Ordering::Relaxed) => Err(Refusal::Conflict("the worker has ended")),
            Some((worker, _)) => Ok(worker),
            None => Err(NO_WORKER),
        }
    }
}

impl Refusal {
    /// The table.
    fn into_response(self) -> Response<Full<Bytes>> {
        let (status, kind, detail) = match self {
            Refusal::Malformed(detail) => (StatusCode::BAD_REQUEST, "malformed", detail),
            Refusal::TooLong => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-long", "the body is too long or too slow".to_owned())
            }
            Refusal::Denied(detail) => (StatusCode::FORBIDDEN, "denied", detail),
            Refusal::NotApproved(why) => (StatusCode::FORBIDDEN, NOT_APPROVED, why),
            Refusal::Stranger(detail) => {
                let mut response = problem(StatusCode::UNAUTHORIZED, "stranger", detail.to_owned());
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
            Refusal::TooOften => {
                let detail = format!("a connection may ask {REQUESTS} times a second");
                let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "too-often", detail);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                return response;
            }
            Refusal::NotFound => (StatusCode::NOT_FOUND, "not-found", "there is nothing here".to_owned()),
            Refusal::MethodNotAllowed(method) => {
                let detail = format!("only {method} is answered here");
                let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "method", detail);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
                return response;
            }
            Refusal::Conflict(detail) => (StatusCode::CONFLICT, "conflict", detail.to_owned()),
            Refusal::Unavailable(detail) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail),
            Refusal::Broken(detail) => (StatusCode::INTERNAL_SERVER_ERROR, "broken", detail),
        };
        problem(status, kind, detail)
    }
}

fn problem(status: StatusCode, kind: &str, detail: String) -> Response<Full<Bytes>> {
    let title = status.canonical_reason().unwrap_or_default().to_owned();
    let problem = Problem { kind: format!("urn:exeat:broker:{kind}"), title, status: status.as_u16(), detail };
    respond(status, "application/problem+json", problem.to_json().unwrap_or_default())
}

async fn read<T: Wire>(request: Request<Incoming>) -> Result<T, Refusal> {
    let body = Limited::new(request.into_body(), MAX_REQUEST).collect();
    let body = timeout(BODY_TIMEOUT, body).await.map_err(|_| Refusal::TooLong)?.map_err(|_| Refusal::TooLong)?;
    T::from_json(&body.to_bytes()).map_err(|error| Refusal::Malformed(error.to_string()))
}

fn json(status: StatusCode, value: &impl Wire) -> Result<Response<Full<Bytes>>, Refusal> {
    let json = value.to_json().map_err(|error| Refusal::Broken(error.to_string()))?;
    Ok(respond(status, "application/json", json))
}

fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn public(json: serde_json::Result<Vec<u8>>) -> Result<Response<Full<Bytes>>, Refusal> {
    let json = json.map_err(|error| Refusal::Broken(error.to_string()))?;
    Ok(respond(StatusCode::OK, "application/json", json))
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(zeroising_bytes(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
