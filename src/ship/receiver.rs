//! Whoever takes the logs.
//!
//! Enters: a target of log.toml, and batches. Leaves: whether a batch was taken. Never: a secret that is kept longer than the connection's
//! settings, which are made anew after each failure.

use std::collections::HashMap;
use std::time::Duration;

use broker::Secret;
use broker::outbound::{Outbound, system_roots};
use config::ShipTarget;

use super::batch::Batch;
use super::otlp::Collector;
use super::syslog::Syslog;
use crate::plain::plain;
use crate::report::chain;

/// A batch that was taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// What of it the receiver does not want, now or later.
    pub rejected: u64,
    /// Why, in its words.
    pub why: String,
}

impl Taken {
    /// So many more were not wanted, by its own word: of what was sent, it can be no more.
    pub fn reject(&mut self, said: i64, sent: usize, why: &str) {
        self.rejected += said.unsigned_abs().min(sent as u64);
        // They are printed.
        self.why = plain(&why.chars().take(200).collect::<String>()).into_owned();
    }
}

/// A batch that was not taken, or of which nobody knows.
#[derive(Debug, Default)]
pub struct Untaken {
    /// Why.
    pub why: String,
    /// How long the receiver asks to be left alone.
    pub wait: Option<Duration>,
    /// Whether it might take less at a time.
    pub too_large: bool,
    /// The records were taken, only their spans were not: what became of them.
    pub records: Option<Taken>,
}

impl Untaken {
    /// For this reason.
    pub fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), ..Self::default() }
    }
}

/// A receiver.
pub enum Receiver {
    /// By OTLP over HTTP.
    Otlp(Box<Collector>),
    /// By syslog over TLS.
    Syslog(Box<Syslog>),
}

impl Receiver {
    /// The one that a target names.
    ///
    /// # Errors
    /// Why it cannot be spoken to.
    pub async fn new(target: &ShipTarget) -> Result<Self, String> {
        let client = target.client.as_ref().and_then(|files| files.read.as_ref());
        let outbound = |protocols: &[&[u8]]| {
            Outbound::showing(&system_roots(), &target.roots, client, protocols).map_err(|error| chain(&error))
        };
        match &target.receiver {
            config::Receiver::Otlp { url, headers } => {
                let collector = Collector::new(outbound(&[b"http/1.1"])?, url, headers, variables).await?;
                Ok(Self::Otlp(Box::new(collector)))
            }
            config::Receiver::Syslog { address, silent_end } => {
                Ok(Self::Syslog(Box::new(Syslog::new(outbound(&[])?, address.clone(), *silent_end))))
            }
        }
    }

    /// Sends a batch.
    ///
    /// # Errors
    /// When it was not taken whole. It has to be sent once more.
    pub async fn send(&mut self, batch: &Batch) -> Result<Taken, Untaken> {
        match self {
            Self::Otlp(collector) => collector.send(batch).await,
            Self::Syslog(syslog) => syslog.send(batch).await.map(|()| Taken::default()),
        }
    }
}

/// The place of a target, as people know it.
pub fn place(target: &ShipTarget) -> String {
    match &target.receiver {
        config::Receiver::Otlp { url, .. } => url.clone(),
        config::Receiver::Syslog { address, .. } => address.to_string(),
    }
}

fn variables() -> HashMap<String, Secret> {
    // What is no UTF-8 is no secret that could be sent.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    variables.map(|(name, value)| (name, Secret::new(value))).collect()
}
