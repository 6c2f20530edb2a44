//! What the tests are built from: `exeat` as a child process, and the servers that it meets.
//!
//! Enters: nothing of the machine but its programs. Leaves: builders, each of which cleans up after itself and fails the test
//! when something of its own went wrong in the background. Never: a fixed port, a certificate on disk before the test, a test
//! that is left out because something is missing.

mod authority;
mod bao;
mod bodies;
pub mod evidence;
mod exeat;
mod fake_cloud;
mod fake_github;
mod forward;
mod git;
mod issuer;
mod live;
mod log;
mod outside;
mod postgres;
mod processes;
mod raw;
mod relying;
mod routes;
mod server;
mod strict;
mod tools;
mod upstream;

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub use self::authority::{Authority, Identity};
pub use self::bao::Bao;
pub use self::bodies::Body;
pub use self::exeat::{Exeat, binary, sabotaged};
pub use self::fake_cloud::FakeCloud;
pub use self::fake_github::{Broken, FakeGithub};
pub use self::forward::Forward;
pub use self::git::GitServer;
pub use self::issuer::{Hold, TokenEndpoint};
pub use self::live::{Live, Run};
pub use self::log::Log;
pub use self::outside::Outside;
pub use self::postgres::Postgres;
pub use self::processes::{memory_of, process_with};
pub use self::raw::RawUpstream;
pub use self::server::{Agreed, Answer, Answering, Server};
pub use self::strict::{requests, whole_requests};
pub use self::tools::{WEBSOCKET, free_address, node_tools, output, python_tools, tools, weed_tool};
pub use self::upstream::{Answers, Seen, Upstream};

/// What the servers of the tests run on.
static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// Asks again until the answer is yes, and fails with `what` when it is not within `limit`.
pub fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Fails when one of these texts is in any file below a directory.
pub fn assert_nowhere_below(directory: &Path, texts: &[&str]) {
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            for text in texts {
                let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(!found, "{text:?} is in {}", path.display());
            }
        }
    }
}
