//! What an operator may ask.
//!
//! Enters: a request on the socket of operators, and whose it is. Leaves: leases taken back; what waits for permission, permitted or denied.
//! Never: a credential, or anything that a worker may have.

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use jiff::Timestamp;

use super::{Connection, ONE_LEASE, Refusal, json, read};
use crate::api::{Approvals, Ended, Which};
use crate::approval::{Approval, ApprovalId, ApprovalState, Decision};
use crate::lease::LeaseId;

/// The path of a request for permission, before its id.
const ONE_APPROVAL: &str = "/v1/approvals/";
/// Why a lease ends before its time.
const DENIED: &str = "an operator denied it";

impl Connection {
    /// Answers an operator with this user id.
    pub(super) async fn operate(
        &self,
        request: Request<Incoming>,
        user: u32,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::DELETE, "/v1/leases") => {
                let which = request.uri().query().and_then(Which::of_query);
                let which = which.ok_or_else(|| Refusal::Malformed("the query names no worker or agent".to_owned()))?;
                json(StatusCode::OK, &self.broker.ledger.revoke(&which).await)
            }
            (&Method::DELETE, path) if path.starts_with(ONE_LEASE) => {
                json(StatusCode::OK, &self.revoke(&path[ONE_LEASE.len()..]).await?)
            }
            (&Method::GET, "/v1/approvals") => {
                json(StatusCode::OK, &Approvals { approvals: self.broker.desk.all(Timestamp::now()) })
            }
            (&Method::POST, path) if path.starts_with(ONE_APPROVAL) => {
                let decision = read(request).await?;
                json(StatusCode::OK, &self.decide(&path[ONE_APPROVAL.len()..], &decision, user)?)
            }
            (&Method::GET, "/v1/health") => json(StatusCode::OK, &self.health()),
            (_, "/v1/leases") => Err(Refusal::MethodNotAllowed("DELETE")),
            (_, path) if path.starts_with(ONE_LEASE) => Err(Refusal::MethodNotAllowed("DELETE")),
            (_, path) if path.starts_with(ONE_APPROVAL) => Err(Refusal::MethodNotAllowed("POST")),
            (_, "/v1/approvals") => Err(Refusal::MethodNotAllowed("GET")),
            (_, "/v1/health") => Err(Refusal::MethodNotAllowed("GET")),
            _ => Err(Refusal::NotFound),
        }
    }

    /// Permits, or denies. What was had before a denial is taken back at once.
    fn decide(&self, id: &str, decision: &Decision, user: u32) -> Result<Approval, Refusal> {
        let id: ApprovalId = id.parse().map_err(|error| Refusal::Malformed(format!("{error}")))?;
        decision.check().map_err(|error| Refusal::Malformed(error.to_string()))?;
        let decided = self.broker.desk.decide(id, decision, user, Timestamp::now());
        let decided = decided.map_err(|error| {
            Refusal::Unavailable(format!("the decision cannot be written down, and is not in force: {error}"))
        })?;
        let approval = decided.ok_or_else(|| Refusal::Denied(format!("no request {id} waits at this broker")))?;
        let Approval { worker, agent, credential, .. } = &approval;
        tracing::info!(%id, %worker, %agent, %credential, user, ?decision, "decided");
        match approval.state {
            ApprovalState::Denied { .. } => self.broker.ledger.withdraw(*worker, credential, DENIED),
            ApprovalState::Approved { until: Some(until), .. } => self.ends_at(until, *worker, credential),
            ApprovalState::Approved { until: None, .. } | ApprovalState::Pending => {}
        }
        Ok(approval)
    }

    /// An operator's wish. A worker gives its leases back by ending.
    pub(super) async fn revoke(&self, id: &str) -> Result<Ended, Refusal> {
        if self.is_registered() {
            return Err(Refusal::Denied("a worker takes no lease back; that is for operators".to_owned()));
        }
        let id: LeaseId =
            id.parse().map_err(|_| Refusal::Malformed("the path does not end in the id of a lease".to_owned()))?;
        let stood = self.broker.ledger.standing.contains_key(&id);
        let ended = self.broker.ledger.revoke(&Which::Lease(id)).await;
        match stood || !ended.told.is_empty() {
            true => Ok(ended),
            false => Err(Refusal::Denied(format!("no lease {id} stands at this broker"))),
        }
    }
}
