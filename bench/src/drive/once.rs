//! One request and no more.
//!
//! Enters: a name and a path. Leaves: a word on standard output when the answer is there. Never: a word before it.

use crate::error::Error;
use crate::job::{Job, Load, Protocol};

use super::http::Client;
use super::load::{address, lookup};

/// What is said.
pub const FIRST_BYTE: &str = "answered\n";

/// Asks.
pub fn run(host: &str, path: &str) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new()?;
    let load = Load::Hold { connections: 1 };
    let (host, path) = (host.to_owned(), path.to_owned());
    let job = Job { connect: None, host, protocol: Protocol::Http1, path, load, beside: None, background: false };
    let asked = async {
        let to = address(&job, &job.host, lookup(&job).await?.as_ref()).await?;
        let mut link = client.open(to, &job.host, job.protocol).await?;
        client.ask(&mut link, &job.host, &job.path).await
    };
    tokio::task::LocalSet::new().block_on(&runtime, asked)?;
    crate::say(FIRST_BYTE.trim_end())
}
