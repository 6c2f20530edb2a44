//! Counts over the records of a period.
//!
//! Enters: records, log after log. Leaves: what they come to. Never: a count that grows without end in memory: hosts and kinds beyond a
//! bound are counted together.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use record::{CallEnd, CallStart, Event, Line, Refused, TunnelStart, WorkerStart};

use super::facts::{Activity, Host, Kind, Place};

/// Hosts that are counted one by one; an agent may ask for as many as it likes.
const HOSTS: usize = 10_000;
/// Hosts that are told, and kinds.
const TOLD: usize = 20;

/// Counts.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    since: Timestamp,
    activity: Activity,
    kinds: BTreeMap<String, Kind>,
    hosts: HashMap<String, Host>,
    worker: Option<String>,
    /// Whether the worker's records reach into the period.
    counted: bool,
    start: Option<WorkerStart>,
    /// Whether it is a battery: what it does, exeat does.
    battery: bool,
    /// Calls that have not ended: where to, and whether with a credential.
    open: HashMap<u64, (String, bool)>,
}

impl Tally {
    /// Of what was written from this time on.
    pub(super) fn new(since: Timestamp) -> Tally {
        Tally {
            since,
            activity: Activity::default(),
            kinds: BTreeMap::new(),
            hosts: HashMap::new(),
            worker: None,
            counted: false,
            start: None,
            battery: false,
            open: HashMap::new(),
        }
    }

    /// One more record.
    pub(super) fn take(&mut self, line: &Line) {
        if let Event::WorkerStart(start) = &line.event {
            self.worker = Some(start.worker.clone());
            self.start = Some(start.clone());
            self.battery = start.probe;
        }
        if line.time < self.since {
            return;
        }
        self.counted = true;
        if self.battery {
            return;
        }
        let activity = &mut self.activity;
        activity.first = Some(activity.first.map_or(line.time, |first| first.min(line.time)));
        activity.last = Some(activity.last.map_or(line.time, |last| last.max(line.time)));
        activity.records += 1;
        match &line.event {
            Event::CallStart(start) => self.started(start),
            Event::TunnelStart(start) => self.tunnelled(start),
            Event::CallEnd(end) => self.ended(end),
            Event::Refused(refused) => self.refused(line.seq, refused),
            Event::PolicyReloaded { .. } => activity.reloaded += 1,
            Event::PolicyRejected { .. } => activity.not_reloaded += 1,
            Event::WorkerEnd(end) => {
                activity.ended += 1;
                if let Some(limit) = &end.limit {
                    *activity.limits.entry(limit.clone()).or_default() += 1;
                }
            }
            Event::WorkerStart(_)
            | Event::SegmentStart(_)
            | Event::SegmentKept(_)
            | Event::CallRetried(_)
            | Event::NameAsked(_) => {}
        }
    }

    /// The log is over.
    pub(super) fn worker_over(&mut self) {
        let start = self.start.take();
        self.open.clear();
        self.worker = None;
        let (counted, battery) = (std::mem::take(&mut self.counted), std::mem::take(&mut self.battery));
        if counted && battery {
            self.activity.batteries += 1;
        } else if counted {
            self.activity.workers += 1;
            let has = |is: fn(&WorkerStart) -> bool| u64::from(start.as_ref().is_some_and(is));
            self.activity.identified += has(|start| start.identity.starts_with("spiffe://"));
            self.activity.observing += has(|start| start.observe);
        }
    }

    /// All of it; `None` where there was not one record.
    pub(super) fn activity(self) -> Option<Activity> {
        let Tally { mut activity, kinds, hosts, .. } = self;
        if activity.records == 0 && activity.batteries == 0 {
            return None;
        }
        activity.refused_by_kind = kinds.into_values().collect();
        activity.refused_by_kind.sort_by_key(|kind| std::cmp::Reverse(kind.refused));
        activity.by_host = hosts.into_values().collect();
        activity.by_host.sort_by(|a, b| (b.calls, b.refused, &a.to).cmp(&(a.calls, a.refused, &b.to)));
        activity.more_hosts = activity.by_host.len().saturating_sub(TOLD) as u64;
        activity.by_host.truncate(TOLD);
        Some(activity)
    }

    fn host(&mut self, to: &str) -> Option<&mut Host> {
        if self.hosts.len() >= HOSTS && !self.hosts.contains_key(to) {
            return None;
        }
        Some(self.hosts.entry(to.to_owned()).or_insert_with(|| Host { to: to.to_owned(), ..Host::default() }))
    }

    fn started(&mut self, start: &CallStart) {
        let with_credential = start.credential.is_some();
        self.activity.calls += 1;
        self.activity.observed += u64::from(start.observed.is_some());
        self.activity.with_credential += u64::from(with_credential);
        self.activity.waited += u64::from(start.credential.as_ref().is_some_and(|used| used.waited_ms.is_some()));
        self.began(start.call, &start.to, with_credential);
    }

    fn tunnelled(&mut self, start: &TunnelStart) {
        self.activity.calls += 1;
        self.activity.tunnels += 1;
        self.began(start.call, &start.to, false);
    }

    fn began(&mut self, call: u64, to: &str, with_credential: bool) {
        self.open.insert(call, (to.to_owned(), with_credential));
        if let Some(host) = self.host(to) {
            host.calls += 1;
        }
    }

    fn ended(&mut self, end: &CallEnd) {
        self.activity.scrubbed += end.scrubbed;
        // One that began before the period is counted there.
        let Some((to, with_credential)) = self.open.remove(&end.call) else { return };
        if let Some(tls) = &end.upstream_tls {
            *self.activity.upstream_tls.entry(tls.version.clone()).or_default() += 1;
        }
        if with_credential && end.address.is_some() {
            match end.upstream_tls {
                Some(_) => self.activity.with_credential_over_tls += 1,
                None => self.activity.with_credential_in_plain += 1,
            }
        }
        if let Some(host) = self.host(&to) {
            host.sent += end.sent;
            host.received += end.received;
        }
    }

    fn refused(&mut self, seq: u64, refused: &Refused) {
        self.activity.refused += 1;
        self.activity.alerts += u64::from(refused.alert);
        let worker = self.worker.clone().unwrap_or_default();
        if self.kinds.len() < HOSTS || self.kinds.contains_key(&refused.kind) {
            let new = || Kind { kind: refused.kind.clone(), ..Kind::default() };
            let kind = self.kinds.entry(refused.kind.clone()).or_insert_with(new);
            kind.refused += 1;
            kind.last = Place { worker, seq };
        }
        if let Some(host) = self.host(&refused.to) {
            host.refused += 1;
        }
    }
}
