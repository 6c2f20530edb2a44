//! Calls that have a connection of their own each, to a name that is known.
//!
//! Enters: where to connect, and until when. Leaves: the time of each, from connecting to the end of the answer. Never: a connection
//! that is used twice, a session that is resumed.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::error::Error;
use crate::job::Job;

use super::http::Client;
use super::load::{histogram, note};

/// Connects, asks one thing, hangs up.
pub async fn one(client: &Client, job: &Job, to: SocketAddr) -> Result<(), Error> {
    let mut link = client.open(to, &job.host, job.protocol).await?;
    client.ask(&mut link, &job.host, &job.path).await
}

/// One after the other.
pub async fn until(client: Rc<Client>, job: Rc<Job>, to: SocketAddr, end: Instant) -> Result<Histogram<u64>, Error> {
    let mut times = histogram()?;
    while Instant::now() < end {
        let begun = Instant::now();
        one(&client, &job, to).await?;
        note(&mut times, begun);
    }
    Ok(times)
}
