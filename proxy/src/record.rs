//! The call log: what happened in one worker, outside the sandbox, written before it matters.
//!
//! Enters: a permitted call, or a refusal. Leaves: its start, before the first byte goes upstream, and its end, by a guard
//! that writes even when the client goes away. Never: a call that is not in the log, nor two ends for one start, nor an end while bytes of the call
//! still pass either way.

mod before;
mod pace;
mod query;
mod recorded;
mod seal;
mod sent;
mod upload;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use broker::LeaseId;
use http_body_util::BodyExt;
use jiff::Timestamp;

pub(crate) use self::before::Before;
pub use self::pace::Account;
pub(crate) use self::pace::Pace;
pub(crate) use self::query::Telling;
pub use self::recorded::Recorded;
pub use self::seal::{NotSealed, Seal};
pub use self::sent::Sent;
pub(crate) use self::upload::Alert;
use self::upload::{Over, Upload};
use crate::error::Refusal;
use crate::leave::Leave;
use crate::limit;
use crate::sabotage::{Wall, lacks};
use crate::turn;
use crate::upstream::{Body, Reached};
use record::{CallEnd, CallLog, CallRetried, CallStart, Event, LogError, Retried, TlsLeg, TunnelStart};

/// A call under way. Dropping it writes its end.
#[derive(Debug)]
pub struct CallRecord {
    account: Arc<Account>,
    started: Instant,
    end: CallEnd,
    sent: Sent,
    scrubbed: Arc<AtomicU64>,
    stopped: Arc<OnceLock<String>>,
    /// The body of the request, where that streams.
    upload: Option<Upload>,
    /// What it stands on, once there is an answer.
    leave: Option<Leave>,
}

impl CallRecord {
    /// Notes the start. The kernel has the line before anything is written to an upstream, by whomever (`gathered`), or a connection to one is
    /// made; at the end of the turn at the latest. `sent` counts the request's body.
    ///
    /// # Errors
    /// [`Refusal::LogUnavailable`]: the call must not be made.
    pub fn start(account: &Arc<Account>, start: CallStart, sent: Sent) -> Result<Self, Refusal> {
        Self::begin(account, start.call, Event::CallStart(start), sent, note)
    }

    /// Writes the start of a connection that is carried unread. When this returns, the kernel has the line.
    ///
    /// # Errors
    /// As [`CallRecord::start`].
    pub fn start_tunnel(account: &Arc<Account>, start: TunnelStart, sent: Sent) -> Result<Self, Refusal> {
        Self::begin(account, start.call, Event::TunnelStart(start), sent, CallLog::append)
    }

    fn begin(account: &Arc<Account>, call: u64, start: Event, sent: Sent, add: Add) -> Result<Self, Refusal> {
        let (log, started) = (account.log(), Instant::now());
        let end = CallEnd { call, outcome: "abandoned".into(), ..CallEnd::default() };
        log.has_room(started).map_err(|none| Refusal::LogUnavailable(none.to_string()))?;
        if !lacks(Wall::Log) {
            account.add(start, add).map_err(|error| Refusal::LogUnavailable(error.to_string()))?;
        }
        log.opened();
        Ok(Self {
            account: Arc::clone(account),
            started,
            end,
            sent,
            scrubbed: Arc::default(),
            stopped: Arc::default(),
            upload: None,
            leave: None,
        })
    }

    /// Where what goes upstream is counted.
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Ties the body of the request to it: what of that goes upstream, and why it broke off, is in the end of the record. `withdrawn` waits until the
    /// call has no leave any more.
    pub(crate) fn share(
        &mut self,
        body: Body,
        withdrawn: impl Future<Output = Refusal> + Send + 'static,
        alert: Alert,
    ) -> Body {
        let (upload, uploading) = upload::share(body, self.sent(), withdrawn, alert);
        self.upload = Some(upload);
        uploading.boxed_unsync()
    }

    /// Where the scrubber counts what it replaced.
    pub fn scrubbed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.scrubbed)
    }

    /// Where it is said why an answer that ends well for its client was stopped.
    pub fn stopped(&self) -> Arc<OnceLock<String>> {
        Arc::clone(&self.stopped)
    }

    /// The call is about to be sent once more, with another lease. When this returns, the kernel has the line.
    ///
    /// # Errors
    /// As [`CallRecord::start`].
    pub fn retried(&mut self, refused: LeaseId, lease: LeaseId) -> Result<(), Refusal> {
        let retried = Retried { refused: refused.to_string(), lease: lease.to_string() };
        let event = Event::CallRetried(CallRetried { call: self.end.call, retried: retried.clone() });
        self.account.add(event, CallLog::append).map_err(|error| Refusal::LogUnavailable(error.to_string()))?;
        self.end.retried = Some(retried);
        Ok(())
    }

    /// The head of the answer is here.
    pub fn answered(&mut self, status: u16, reached: &Reached, upstream_tls: Option<Arc<TlsLeg>>) {
        self.end.status = Some(status);
        self.end.head_ms = Some(milliseconds(self.started.elapsed()));
        self.dialled(reached);
        self.end.upstream_tls = upstream_tls;
    }

    /// An answer that ends with nobody to say why was cut off, where its leave was taken back.
    pub(crate) fn stands_on(&mut self, leave: &Leave) {
        self.leave = Some(leave.clone());
    }

    /// There is a connection.
    pub fn dialled(&mut self, reached: &Reached) {
        self.end.address = Some(Arc::clone(&reached.address));
        self.end.proxy.clone_from(&reached.proxy);
    }

    /// exeat gave the answer; nothing went upstream.
    pub fn answered_here(mut self, status: u16, how: String) {
        self.end.status = Some(status);
        self.finish("answered-here", Some(how));
    }

    /// A tunnel could not be opened.
    pub fn not_opened(mut self, reason: String) {
        self.finish("refused", Some(reason));
    }

    /// The call went wrong on its way; its end says why.
    pub fn refused(mut self, status: u16, refusal: &Refusal) {
        self.end.status = Some(status);
        self.end.forbidden = refusal.forbidden();
        self.finish("refused", Some(refusal.to_string()));
    }

    /// The call ended as it should.
    pub fn done(mut self) {
        self.finish("done", None);
    }

    /// The answer broke off.
    pub fn broken(mut self, reason: String) {
        self.finish("broken", Some(reason));
    }

    /// The call was cut off: its leave was taken back.
    pub fn cut(mut self, reason: String) {
        self.finish("cut", Some(reason));
    }

    /// So many more bytes went to the client.
    pub fn received(&mut self, bytes: u64) {
        self.end.received += bytes;
    }

    /// Ends once the rest of the request's body is over as well: an upstream may answer early and read on.
    fn once_sent(mut self) {
        let Some(mut upload) = self.upload.take().and_then(Upload::rest) else { return };
        tokio::spawn(async move {
            match upload.over(&self.sent).await {
                Over::Ended => {}
                Over::Withdrawn(refusal) => self.finish("cut", Some(refusal.to_string())),
                Over::Silent => {
                    let silent = limit::BODY_IDLE.as_secs();
                    let rest = format!("no byte of the request's body for {silent} s, behind an answer that was whole");
                    self.finish("broken", Some(rest));
                }
            }
            // In this order: what is counted is all.
            drop(upload);
            drop(self);
        });
    }

    /// What broke the request's body off is why the call ended. That its client did says nothing where the answer was whole, or nobody waited for it.
    fn ended_by_upload(&mut self) {
        match self.sent.broke_off() {
            Some(broken @ Refusal::Malformed(_)) if self.end.outcome == "broken" => {
                self.end.reason = Some(broken.to_string());
            }
            None | Some(Refusal::Malformed(_)) => {}
            Some(refusal) => {
                let reason = refusal.to_string();
                self.finish("refused", Some(reason));
            }
        }
    }

    fn finish(&mut self, outcome: &'static str, reason: Option<String>) {
        self.end.outcome = outcome.into();
        self.end.reason = reason;
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        self.upload = None;
        (self.end.sent, self.end.swapped) = self.sent.counted();
        self.end.scrubbed = self.scrubbed.load(Ordering::Relaxed);
        self.end.total_ms = milliseconds(self.started.elapsed());
        if self.end.outcome == "abandoned"
            && let Some(refusal) = self.leave.as_ref().and_then(Leave::taken_back)
        {
            let reason = refusal.to_string();
            self.finish("cut", Some(reason));
        }
        if let Some(reason) = self.stopped.get().cloned() {
            self.finish("refused", Some(reason));
        }
        self.ended_by_upload();
        let (call, end) = (self.end.call, std::mem::take(&mut self.end));
        // A log that fails here fails for the next call's start too, and that call is refused.
        if let Err(error) = self.account.add(Event::CallEnd(end), note) {
            tracing::error!(call, %error, "the end of a call is not in the log");
        }
        self.account.log().closed();
    }
}

/// How a line gets into the log.
type Add = fn(&CallLog, Timestamp, Event) -> Result<usize, LogError>;

/// In a turn, at whose end all that was noted is written, a line is only noted: many calls of one turn share a write.
fn note(log: &CallLog, time: Timestamp, event: Event) -> Result<usize, LogError> {
    if turn::under_way().is_some() { log.note(time, event) } else { log.append(time, event) }
}

/// As the log has them.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
