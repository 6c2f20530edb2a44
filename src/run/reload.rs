//! A policy file that is edited while its agent runs.
//!
//! Enters: the file, looked at twice a second. Leaves: the new policy in force from the next call on and for what is
//! under way, or the last good one and a record of every mistake in the new. Never: a moment without a policy.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proxy::serve::Worker;
use record::Event;

/// A person who saves a file and tries again does not notice; two small reads a second cost nothing.
const LOOK: Duration = Duration::from_millis(500);

/// Looks for ever; to be aborted with the worker.
pub async fn watch(worker: Arc<Worker>) {
    let mut last = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let said = match worker.reload() {
            Ok(false) => {
                last = None;
                continue;
            }
            Ok(true) => {
                last = None;
                Event::PolicyReloaded { policy: worker.policy().digest().to_owned() }
            }
            Err(error) => {
                let reason = error.to_string();
                // An editor saves once, but the file is looked at until it is mended.
                if last.as_ref() == Some(&reason) {
                    continue;
                }
                tracing::warn!("the last good policy stays in force\n{reason}");
                last = Some(reason.clone());
                Event::PolicyRejected { reason }
            }
        };
        if let Err(error) = worker.log().append(Timestamp::now(), said) {
            tracing::error!(%error, "a change of policy is not in the call log");
        }
    }
}
