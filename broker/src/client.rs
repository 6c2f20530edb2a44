//! The worker's end of the API.
//!
//! Enters: a stream to a broker; then, for each call, a credential and a destination. Leaves: the lease, out of memory while
//! it is fresh. The connection is the worker: it closes when the last clone is dropped, or never comes back
//! once it broke, and no lease stands then. A cancelled caller does not cancel its request, which would break the connection.

mod lending;
mod standing;

use std::collections::HashMap;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, fs, io};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use config::{AgentId, CredentialName, Part};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use record::Head;
use rustix::process::geteuid;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, timeout};

pub use self::lending::Lent;
use self::lending::Slot;
pub use self::standing::Takings;
use self::standing::{LOOK, Standing};
use crate::admission;
use crate::api::{
    Approvals, AskCheckpoint, Ended, Health, LAST_CHECKPOINT, MAX_ANSWER, NOT_APPROVED, Problem, Register,
    Registration, SignedCheckpoint, Which, Wire,
};
use crate::approval::{Approval, ApprovalId, Decision};
use crate::identity::Identity;
use crate::lease::Lease;
use crate::taken_back::TakenBack;

/// The worker that asks.
const OWN: &str = "/v1/workers/self";
/// One exchange. The longest is the end of the worker: fetches under way (a renewal that comes to nothing, 10 s, and what is then
/// issued, 25 s), then revocations (25 s).
const EXCHANGE: Duration = Duration::from_secs(90);
/// Requests that wait for the connection. More callers wait for their turn to wait.
const QUEUE: usize = 64;

/// A connection to a broker. Clones share it.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    jobs: mpsc::Sender<Job>,
    standing: Arc<Standing>,
    shown: Arc<Shown>,
    slots: OnceLock<HashMap<CredentialName, Slot>>,
}

/// What shows who asks: the key of a socket, then the session.
type Shown = ArcSwapOption<HeaderValue>;

/// One request, and where its answer goes.
struct Job {
    request: Request<Full<Bytes>>,
    answer: oneshot::Sender<Result<Answer, ClientError>>,
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// Why there is no answer from a broker, or none that helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The broker's policy says no.
    #[error("the broker denies it: {reason}")]
    Denied {
        /// Why.
        reason: String,
    },
    /// Not to be had now: the issuer fails, or the broker is gone.
    #[error("not available: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// A person has to permit it, and nobody has so far.
    #[error("nobody has permitted it within {} s", waited.as_secs())]
    Awaits {
        /// By what it is approved.
        approval: ApprovalId,
        /// How long a call waits.
        waited: Duration,
    },
    /// A person had to permit it, and said no.
    #[error("an operator denied it: {why}")]
    NotApproved {
        /// In their words.
        why: String,
    },
    /// The peer does not speak the broker's API.
    #[error("the broker's answer makes no sense: {reason}")]
    Broken {
        /// What it said.
        reason: String,
    },
}

impl Client {
    /// Speaks over a connected stream, such as one end of a socketpair. Needs a runtime around it.
    pub fn from_stream(stream: StdUnixStream) -> io::Result<Client> {
        stream.set_nonblocking(true)?;
        Ok(Client::over(UnixStream::from_std(stream)?, None))
    }

    /// Connects to the broker that serves on `path`, which must be this user's or root's, with the key that lies beside it.
    pub async fn connect(path: &Path) -> Result<Client, ClientError> {
        let gone = |error: io::Error| unavailable(format!("no broker on `{}`: {error}", path.display()));
        let stream = UnixStream::connect(path).await.map_err(gone)?;
        let (peer, own) = (stream.peer_cred().map_err(gone)?.uid(), geteuid().as_raw());
        match peer == own || peer == 0 || own == 0 {
            true => {
                // Beside the socket itself, where the path is a link to it.
                let socket = fs::canonicalize(path).map_err(gone)?;
                let key = admission::read(&socket).map_err(|error| {
                    let beside = admission::beside(&socket);
                    unavailable(format!("the broker's key `{}` cannot be read: {error}", beside.display()))
                })?;
                Ok(Client::over(stream, Some(key)))
            }
            false => Err(unavailable(format!("the broker on `{}` is another user's ({peer})", path.display()))),
        }
    }

    fn over(stream: UnixStream, key: Option<HeaderValue>) -> Client {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let standing = Arc::new(Standing::new());
        let shown = Arc::new(Shown::from(key.map(Arc::new)));
        tokio::spawn(drive(stream, queue, Arc::clone(&standing), Arc::clone(&shown)));
        Client(Arc::new(Inner { jobs, standing, shown, slots: OnceLock::new() }))
    }

    /// Makes the connection a worker of this agent. Once per connection.
    pub async fn register(&self, agent: &AgentId) -> Result<Registration, ClientError> {
        let body = Register { agent: agent.clone() };
        let registration: Registration = self.ask(Method::POST, "/v1/workers", Some(&body)).await?;
        let session = admission::header(&registration.session).map_err(|error| broken(&error))?;
        self.0.shown.store(Some(Arc::new(session)));
        let of_secrets = registration.grants.iter().filter(|(grant, _)| grant.part() == Part::Secret);
        let slots = of_secrets.map(|(grant, _)| (grant.credential().clone(), Slot::new(grant)));
        // The broker refuses a second registration.
        let _ = self.0.slots.set(slots.collect());
        Ok(registration)
    }

    /// Whether a lease is known to be taken back, or nobody is left who would say so.
    pub fn is_revoked(&self, lease: &Lease) -> bool {
        !self.0.standing.holds(lease)
    }

    /// Waits until a lease is taken back, or nobody is left who would say so. Known within a quarter of a second.
    pub async fn revoked(&self, lease: &Lease) {
        self.0.standing.end_of(lease).await;
    }

    /// Tells whenever more is taken back from now on, whichever leases it is of.
    pub fn takings(&self) -> Takings {
        self.0.standing.takings()
    }

    /// Takes leases back, whoever has them, and waits until they are revoked, or kept. For a connection that is no worker; more than
    /// one at a time for an operator's.
    pub async fn revoke(&self, which: &Which) -> Result<Ended, ClientError> {
        self.ask(Method::DELETE, &which.target(), None::<&Register>).await
    }

    /// What waits for permission, or was decided. For an operator's connection.
    pub async fn approvals(&self) -> Result<Vec<Approval>, ClientError> {
        let approvals: Approvals = self.ask(Method::GET, "/v1/approvals", None::<&Register>).await?;
        Ok(approvals.approvals)
    }

    /// Permits, or denies. For an operator's connection.
    pub async fn decide(&self, id: ApprovalId, decision: &Decision) -> Result<Approval, ClientError> {
        self.ask(Method::POST, &format!("/v1/approvals/{id}"), Some(decision)).await
    }

    /// An identity of this worker for an audience that the broker allows.
    pub async fn identity(&self, audience: &str) -> Result<Identity, ClientError> {
        let audience = utf8_percent_encode(audience, NON_ALPHANUMERIC);
        self.ask(Method::GET, &format!("/v1/identity?audience={audience}"), None::<&Register>).await
    }

    /// How the broker fares.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.ask(Method::GET, "/v1/health", None::<&Register>).await
    }

    /// Has the broker sign for the worker's log as it is now, and gives the signed note.
    pub async fn checkpoint(&self, Head { size, root }: Head) -> Result<String, ClientError> {
        let signed: SignedCheckpoint =
            self.ask(Method::POST, "/v1/checkpoints", Some(&AskCheckpoint { size, root })).await?;
        Ok(signed.note)
    }

    /// Ends the worker and waits until its leases are revoked, or kept. Other clones can do nothing more.
    pub async fn end(self) -> Result<Ended, ClientError> {
        self.ask(Method::DELETE, OWN, None::<&Register>).await
    }

    /// The same for a worker that says in its log how it ended: one more checkpoint can be had, and nothing else.
    pub async fn end_before_log(&self) -> Result<Ended, ClientError> {
        self.ask(Method::DELETE, &format!("{OWN}?{LAST_CHECKPOINT}"), None::<&Register>).await
    }

    async fn ask<T: Wire>(&self, method: Method, target: &str, body: Option<&impl Wire>) -> Result<T, ClientError> {
        self.exchange(method, target, body).await?.read()
    }

    async fn exchange(&self, method: Method, target: &str, body: Option<&impl Wire>) -> Result<Answer, ClientError> {
        let body = body.map(Wire::to_json).transpose().map_err(|error| broken(&error))?.unwrap_or_default();
        let request = request(method, target, Bytes::from(body))?;
        let (answer, answered) = oneshot::channel();
        self.0.jobs.send(Job { request, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Job {
    fn ends_its_worker(&self) -> bool {
        self.request.method() == Method::DELETE && self.request.uri().path() == OWN
    }

    /// An error is the end of the connection as well.
    async fn done(self, sender: &mut SendRequest<Full<Bytes>>, shown: &Shown) -> Result<(), ClientError> {
        let outcome = exchange(sender, self.request, shown).await;
        let done = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        // The caller may have gone.
        let _ = self.answer.send(outcome);
        done
    }
}

impl Answer {
    fn read<T: Wire>(self) -> Result<T, ClientError> {
        if self.status.is_success() {
            return T::from_json(&self.body).map_err(|error| broken(&error));
        }
        let problem = Problem::from_json(&self.body).map_err(|error| broken(&error))?;
        Err(match self.status {
            StatusCode::FORBIDDEN if problem.kind.ends_with(NOT_APPROVED) => {
                ClientError::NotApproved { why: problem.detail }
            }
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => denied(problem.detail),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => unavailable(problem.detail),
            _ => broken(&problem.detail),
        })
    }
}

/// Carries requests over the connection, one after the other, until the last client is dropped or the connection breaks.
async fn drive(stream: UnixStream, mut queue: mpsc::Receiver<Job>, standing: Arc<Standing>, shown: Arc<Shown>) {
    if let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await {
        let mut connection = tokio::spawn(connection);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Who has ended its worker has no leases to ask about, and would be told so; one checkpoint is still to be had.
        let mut ended = false;
        loop {
            let done = tokio::select! {
                job = queue.recv() => match job {
                    Some(job) => {
                        ended |= job.ends_its_worker();
                        job.done(&mut sender, &shown).await
                    }
                    None => break,
                },
                _ = look.tick(), if !ended && standing.is_leased() => learn(&mut sender, &standing, &shown).await,
                _ = &mut connection => break,
            };
            if done.is_err() {
                break;
            }
        }
        connection.abort();
    }
    standing.take_back_all();
}

/// Asks what was taken back.
async fn learn(sender: &mut SendRequest<Full<Bytes>>, standing: &Standing, shown: &Shown) -> Result<(), ClientError> {
    let request = request(Method::GET, "/v1/leases", Bytes::new())?;
    let answer = exchange(sender, request, shown).await?;
    // Its agent's calls have asked for more than there is: this looks again in a moment, and they wait.
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(());
    }
    standing.take_back(answer.read::<TakenBack>()?);
    Ok(())
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    mut request: Request<Full<Bytes>>,
    shown: &Shown,
) -> Result<Answer, ClientError> {
    if let Some(shown) = shown.load_full() {
        request.headers_mut().insert(AUTHORIZATION, (*shown).clone());
    }
    timeout(EXCHANGE, send(sender, request)).await.unwrap_or_else(|_| Err(gone()))
}

fn request(method: Method, target: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
    let request = Request::builder().method(method).uri(target).header("host", "broker");
    request.body(Full::new(body)).map_err(|error| broken(&error))
}

async fn send(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
    sender.ready().await.map_err(|_| gone())?;
    let response = sender.send_request(request).await.map_err(|_| gone())?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| gone())?;
    Ok(Answer { status: head.status, body: body.to_bytes() })
}

fn denied(reason: String) -> ClientError {
    ClientError::Denied { reason }
}

fn unavailable(reason: String) -> ClientError {
    ClientError::Unavailable { reason }
}

fn gone() -> ClientError {
    unavailable("the broker is gone".to_owned())
}

fn broken(reason: &dyn fmt::Display) -> ClientError {
    ClientError::Broken { reason: reason.to_string() }
}
