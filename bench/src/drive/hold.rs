//! Connections that stand and say nothing.
//!
//! Enters: how many. Leaves: each of them, having asked one thing; when the time comes each asks once more. Never: one that was lost
//! meanwhile unseen.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::job::Job;

use super::http::{Client, Link};
use super::load::{histogram, note};

/// Opened at once: enough that none waits long for whoever is slow to answer, few enough for any backlog.
const AT_ONCE: usize = 16;

/// Opens `connections`.
pub async fn open(client: &Rc<Client>, job: &Rc<Job>, to: SocketAddr, connections: usize) -> Result<Vec<Link>, Error> {
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let (client, job) = (Rc::clone(client), Rc::clone(job));
        tasks.spawn_local(async move {
            let mut links = Vec::new();
            for _ in (task..connections).step_by(AT_ONCE) {
                let mut link = client.open(to, &job.host, job.protocol).await?;
                client.ask(&mut link, &job.host, &job.path).await?;
                links.push(link);
            }
            Ok::<_, Error>(links)
        });
    }
    let mut links = Vec::new();
    while let Some(opened) = tasks.join_next().await {
        links.extend(opened??);
    }
    Ok(links)
}

/// Asks on each of them, one after the other.
pub async fn ask(client: &Client, job: &Job, links: Vec<Link>) -> Result<Histogram<u64>, Error> {
    let mut times = histogram()?;
    let mut held = Vec::new();
    for mut link in links {
        let begun = Instant::now();
        client.ask(&mut link, &job.host, &job.path).await?;
        note(&mut times, begun);
        // The last one is asked while all stand.
        held.push(link);
    }
    Ok(times)
}
