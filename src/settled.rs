//! A process whose start is over.
//!
//! Enters: the worker or its broker, as it begins to serve. Leaves: it, a moment later, without the memory that only the start needed. Never: a start
//! that waits for that.

use std::time::Duration;

/// Longer than a short command takes: what is given back is needed again for the end.
const START: Duration = Duration::from_millis(500);

/// Gives memory back, once.
pub async fn settle() {
    tokio::time::sleep(START).await;
    sandbox::give_back_memory();
}
