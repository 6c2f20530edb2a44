//! A record, as far as calls are found by it.
//!
//! Enters: a line of a log. Leaves: some of its fields, borrowed, in one pass: an index is built of a million of them. Never: a copy of what
//! the line has that nobody looks for.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What of any record may be there. What a record does not have is empty.
#[derive(Debug, Deserialize)]
pub(super) struct Glance<'l> {
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    #[serde(borrow)]
    pub(super) event: Cow<'l, str>,
    #[serde(default, borrow)]
    pub(super) agent: Cow<'l, str>,
    #[serde(default)]
    pub(super) call: u64,
    #[serde(default, borrow)]
    pub(super) to: Cow<'l, str>,
    #[serde(default, borrow)]
    pub(super) method: Cow<'l, str>,
    #[serde(default, borrow)]
    pub(super) path: Cow<'l, str>,
    #[serde(default, borrow)]
    pub(super) tool: Cow<'l, str>,
    #[serde(default, borrow)]
    pub(super) rule: Cow<'l, str>,
    #[serde(default, borrow)]
    pub(super) kind: Cow<'l, str>,
    #[serde(default, borrow)]
    pub(super) outcome: Cow<'l, str>,
    #[serde(default, borrow)]
    pub(super) lease: Cow<'l, str>,
    #[serde(default, borrow)]
    pub(super) credential: Option<Credential<'l>>,
    #[serde(default, borrow)]
    pub(super) observed: Option<Observed<'l>>,
    #[serde(default, borrow)]
    pub(super) retried: Option<Retried<'l>>,
    #[serde(default)]
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) alert: bool,
    #[serde(default)]
    pub(super) cut: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) sent: u64,
    #[serde(default)]
    pub(super) received: u64,
    #[serde(default)]
    pub(super) scrubbed: u64,
    #[serde(default)]
    pub(super) forbidden: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) total_ms: f64,
    #[serde(default)]
    pub(super) head_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Credential<'l> {
    #[serde(borrow)]
    pub(super) name: Cow<'l, str>,
    #[serde(borrow)]
    pub(super) lease: Cow<'l, str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Observed<'l> {
    #[serde(borrow)]
    pub(super) kind: Cow<'l, str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Retried<'l> {
    #[serde(borrow)]
    pub(super) lease: Cow<'l, str>,
}
