//! What a worker writes of what is no call: that something went no further, and that a name was asked for.
//!
//! Enters: a refusal, and what is known of what was refused; a name. Leaves: a record, and a count for whoever started the worker. Never: a
//! placeholder; a refusal out of its turn, where the log is behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use record::{Event, NameAsked, Refused};

use super::Worker;
use crate::error::{Refusal, printable};
use crate::record::Account;
use crate::request::Told;
use crate::respond;
use crate::seats::Seat;
use crate::trace::Trace;

impl Worker {
    /// Records that a call or connection went no further. `request` is what it was, where one was read.
    pub(crate) fn refuse(&self, account: &Account, to: &str, request: Option<Told>, refusal: &Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let (status, kind, _) = respond::row(refusal);
        let (method, path, trace) =
            request.map_or((None, None, None), |told| (Some(told.method), Some(told.path), told.trace));
        let status = method.is_some().then(|| status.as_u16());
        let hint = self.swap.redact(&respond::remedy(refusal));
        let command = || respond::explain(refusal).map_or_else(|| hint.clone(), |command| self.swap.redact(&command));
        let refused = Refused {
            connection: account.number,
            to: self.swap.redact(to),
            scheme: refusal.scheme().map(|scheme| scheme.as_str().to_owned()),
            method: method.map(|method| self.swap.redact(&method)),
            path: path.map(|path| self.swap.redact(&path)),
            tool: refusal.tool().map(|tool| self.swap.redact(tool)),
            kind: kind.to_owned(),
            status,
            reason: self.swap.redact(&refusal.to_string()),
            rule: refusal.rule().map(ToString::to_string),
            policy: refusal.policy().map(str::to_owned),
            hint: Some(hint.clone()),
            trace: trace.as_ref().map(Trace::record),
            alert: refusal.is_alert(),
        };
        self.tally.count(&what(&refused), kind, command);
        self.tell(account, Event::Refused(refused));
    }

    /// Records that a call or connection went no further, once it is its turn. Its place stays taken for as long, so there are no more of them than places.
    /// A call that is refused at once has had its turn already; what raises an alert is written whoever goes away.
    pub(crate) async fn refuse_in_turn(
        &self,
        account: &Account,
        seat: &Arc<Seat>,
        to: &str,
        request: Option<Told>,
        refusal: &Refusal,
    ) {
        let ready = request.is_some() && (account.has_had_its_turn() || refusal.is_alert());
        if account.waits() && !ready {
            let _busy = seat.busy();
            Box::pin(account.turn(&self.stop)).await;
        }
        self.refuse(account, to, request, refusal);
    }

    /// The query of a call, fit for the log.
    pub(crate) fn redact_query(&self, query: &str) -> String {
        self.telling.redact(&self.swap.redact(query))
    }

    /// A record that no call waits for. When it cannot be written, no call will be made after it either.
    pub(super) fn tell(&self, account: &Account, event: Event) {
        if let Err(error) = account.tell(event) {
            tracing::error!(%error, "an event is not in the call log; calls are refused from now on");
        }
    }

    /// Records that a name was asked for: new ones come at a pace of their own (`names`).
    pub(super) fn asked(&self, account: &Account, name: &str, kind: &str) {
        let name = self.swap.redact(&printable(name.as_bytes()));
        self.tell(account, Event::NameAsked(NameAsked { name, kind: kind.to_owned() }));
    }
}

/// The call that was refused, as far as it is known, or where the connection went.
fn what(refused: &Refused) -> String {
    match (&refused.method, &refused.path) {
        (Some(method), Some(path)) => {
            format!("{method} {}{path}", refused.to.strip_suffix(":443").unwrap_or(&refused.to))
        }
        _ => format!("a connection to {}", refused.to),
    }
}
