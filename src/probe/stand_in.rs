//! A word that stands for a credential in the battery's worker, which has none of its own leased.
//!
//! Enters: the word of the run. Leaves: what the canary answers with, and what has to stand in its place inside. Never: a real credential: the canary
//! would have it.

use std::sync::Arc;
use std::time::SystemTime;

use broker::{Lease, LeaseId, Secret};
use proxy::serve::Worker;

use super::worker::WORD;
use crate::report::Report;

/// The credential, and its placeholder.
pub(super) fn pair(word: &str) -> (String, String) {
    (format!("probe-credential-{word}"), format!("probe-placeholder-{word}"))
}

/// Has the worker scrub answers of it, as of one that was leased.
///
/// # Errors
/// When the worker has room for no more.
pub(crate) fn remember(worker: &Worker) -> Result<(), Report> {
    let Ok(word) = std::env::var(WORD) else { return Ok(()) };
    let (credential, placeholder) = pair(&word);
    let (id, refresh) = (LeaseId::generate(), SystemTime::now());
    let lease = Lease { id, credential: "probe".parse()?, secret: Secret::new(credential), expires: None, refresh };
    Ok(worker.scrubs(&Arc::new(lease), &placeholder)?)
}
