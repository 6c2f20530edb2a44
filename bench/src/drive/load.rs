//! A job, opened and then run.
//!
//! Enters: a job. Leaves: how many, how long, how fast. Never: a connection opened within the time that is measured, unless that
//! is what is measured.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::clock;
use crate::error::Error;
use crate::job::{Job, Load, Outcome, numbered};
use crate::payload;

use super::attack::Attackers;
use super::http::{Client, Link};
use super::lookup::Lookup;
use super::{calls, hold};

/// The port on which every rule listens.
pub const PORT: u16 = 443;
/// Requests on each stream before anything is measured: connections upstream, leases and caches stand then.
const WARM: usize = 20;
/// And on all streams together, but for one on each: where there are a thousand of them, that many are enough.
const WARM_ALL: usize = 2_000;
/// No latency is more than this many nanoseconds; the driver's own limits come first.
const CEILING: u64 = 60_000_000_000;

/// What stands when a job says that it is ready.
pub enum Opened {
    /// A link a stream.
    Links(Vec<Link>),
    /// A link, and where another one would lead.
    Polite(Link, SocketAddr),
    /// An address a name.
    Addresses(Vec<(String, SocketAddr)>),
    /// Where names are looked up; nothing for a server whose address is known.
    Lookup(Option<Lookup>),
}

impl Opened {
    /// Opens what `job` needs.
    pub async fn open(client: &Rc<Client>, job: &Rc<Job>) -> Result<Self, Error> {
        Ok(match job.load {
            Load::Requests { connections, streams, .. } => {
                let to = address(job, &job.host, lookup(job).await?.as_ref()).await?;
                let mut links = Vec::new();
                for _ in 0..connections {
                    let first = client.open(to, &job.host, job.protocol).await?;
                    links.extend((1..streams).filter_map(|_| first.another()));
                    links.push(first);
                }
                Self::Links(warm(client, job, links).await?)
            }
            Load::Uploads { connections, .. } => {
                let to = address(job, &job.host, lookup(job).await?.as_ref()).await?;
                let mut links = Vec::new();
                for _ in 0..connections {
                    links.push(client.open(to, &job.host, job.protocol).await?);
                }
                Self::Links(warm(client, job, links).await?)
            }
            Load::Polite { .. } => {
                let to = address(job, &job.host, lookup(job).await?.as_ref()).await?;
                let mut link = client.open(to, &job.host, job.protocol).await?;
                for _ in 0..WARM {
                    client.ask(&mut link, &job.host, &job.path).await?;
                }
                Self::Polite(link, to)
            }
            Load::Handshakes { .. } => {
                let to = address(job, &job.host, lookup(job).await?.as_ref()).await?;
                for _ in 0..WARM {
                    client.shake_hands(to, &job.host).await?;
                }
                Self::Addresses(vec![(job.host.clone(), to)])
            }
            Load::Calls { .. } => {
                let to = address(job, &job.host, lookup(job).await?.as_ref()).await?;
                for _ in 0..WARM {
                    calls::one(client, job, to).await?;
                }
                Self::Addresses(vec![(job.host.clone(), to)])
            }
            Load::Hold { connections } => {
                let to = address(job, &job.host, lookup(job).await?.as_ref()).await?;
                Self::Links(hold::open(client, job, to, connections).await?)
            }
            Load::NewNames { first, count, .. } => {
                let lookup = lookup(job).await?;
                let mut addresses = Vec::new();
                for number in first..first + count {
                    let name = numbered(number, &job.host);
                    let to = address(job, &name, lookup.as_ref()).await?;
                    addresses.push((name, to));
                }
                Self::Addresses(addresses)
            }
            Load::FirstRequests { .. } => Self::Lookup(lookup(job).await?),
        })
    }

    /// Does what is measured.
    pub async fn run(self, client: &Rc<Client>, job: &Rc<Job>) -> Result<Outcome, Error> {
        let attack = match job.beside {
            Some(attack) => Some(Attackers::start(attack, job)?.under_way().await),
            None => None,
        };
        let (cpu, started) = (clock::own()?, Instant::now());
        let times = match (self, &job.load) {
            (Self::Links(links), Load::Requests { seconds, .. }) => {
                let end = started + Duration::from_secs_f64(*seconds);
                together(links.into_iter().map(|link| requests(Rc::clone(client), Rc::clone(job), link, end))).await?
            }
            (Self::Links(links), Load::Uploads { seconds, .. }) => {
                let end = started + Duration::from_secs_f64(*seconds);
                together(links.into_iter().map(|link| uploads(Rc::clone(client), Rc::clone(job), link, end))).await?
            }
            (Self::Links(links), Load::Hold { .. }) => hold::ask(client, job, links).await?,
            (Self::Polite(link, to), Load::Polite { every, seconds, anew }) => {
                let end = started + Duration::from_secs_f64(*seconds);
                polite(client, job, (link, to), (Duration::from_millis(*every), end), *anew).await?
            }
            (Self::Addresses(addresses), Load::Handshakes { at_once, seconds }) => {
                let end = started + Duration::from_secs_f64(*seconds);
                let names = addresses.into_iter().cycle().take_while(move |_| Instant::now() < end);
                many_handshakes(client, *at_once, names).await?
            }
            (Self::Addresses(addresses), Load::NewNames { at_once, .. }) => {
                many_handshakes(client, *at_once, addresses.into_iter()).await?
            }
            (Self::Addresses(addresses), Load::Calls { at_once, seconds }) => {
                let end = started + Duration::from_secs_f64(*seconds);
                let tos = addresses.iter().map(|(_, to)| *to).cycle().take(*at_once);
                together(tos.map(|to| calls::until(Rc::clone(client), Rc::clone(job), to, end))).await?
            }
            (Self::Lookup(lookup), Load::FirstRequests { first, count }) => {
                let mut times = histogram()?;
                for number in *first..first + count {
                    let name = numbered(number, &job.host);
                    let begun = Instant::now();
                    let to = match (job.connect, &lookup) {
                        (None, Some(lookup)) => SocketAddr::new(lookup.address_at_once(&name).await?, PORT),
                        _ => address(job, &name, None).await?,
                    };
                    let mut link = client.open(to, &name, job.protocol).await?;
                    client.ask(&mut link, &name, &job.path).await?;
                    note(&mut times, begun);
                }
                times
            }
            _ => return Err(Error::new("what was opened is not what the job needs")),
        };
        let (seconds, cpu) = (started.elapsed().as_secs_f64(), clock::own()? - cpu);
        let attacks = attack.map_or(Ok(0), Attackers::stop)?;
        let microseconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64() * 1e6;
        let at = |quantile| microseconds(times.value_at_quantile(quantile));
        Ok(Outcome {
            done: times.len(),
            seconds,
            cpu,
            p50: at(0.5),
            p99: at(0.99),
            slowest: microseconds(times.max()),
            attacks,
        })
    }
}

/// Asks for as much as the job does, or for little where that is long; on all links at once, as when time is measured: whoever is in between
/// then has as many connections upstream as it is going to need.
async fn warm(client: &Rc<Client>, job: &Rc<Job>, links: Vec<Link>) -> Result<Vec<Link>, Error> {
    let (before, length) = job.path.rsplit_once('/').unwrap_or_default();
    let short = length.parse::<u64>().is_ok_and(|length| length <= payload::PIECE as u64);
    let path = if short { job.path.clone() } else { format!("{before}/{}", payload::PIECE) };
    let times = (WARM_ALL / links.len().max(1)).clamp(1, WARM);
    let mut tasks = JoinSet::new();
    for mut link in links {
        let (client, job, path) = (Rc::clone(client), Rc::clone(job), path.clone());
        tasks.spawn_local(async move {
            for _ in 0..times {
                client.ask(&mut link, &job.host, &path).await?;
            }
            Ok::<_, Error>(link)
        });
    }
    let mut warmed = Vec::new();
    while let Some(link) = tasks.join_next().await {
        warmed.push(link??);
    }
    Ok(warmed)
}

/// Names to shake hands for, taken by whichever task is free.
type Names = Rc<RefCell<dyn Iterator<Item = (String, SocketAddr)>>>;

async fn requests(client: Rc<Client>, job: Rc<Job>, mut link: Link, end: Instant) -> Result<Histogram<u64>, Error> {
    let mut times = histogram()?;
    while Instant::now() < end {
        let begun = Instant::now();
        client.ask(&mut link, &job.host, &job.path).await?;
        note(&mut times, begun);
    }
    Ok(times)
}

async fn uploads(client: Rc<Client>, job: Rc<Job>, mut link: Link, end: Instant) -> Result<Histogram<u64>, Error> {
    let mut times = histogram()?;
    loop {
        let begun = Instant::now();
        client.send(&mut link, &job.host, &job.path).await?;
        note(&mut times, begun);
        if Instant::now() >= end {
            return Ok(times);
        }
    }
}

/// Clients that are in no hurry: what is measured is how long one request takes, with the connection where it is a new one.
async fn polite(
    client: &Client,
    job: &Job,
    (mut link, to): (Link, SocketAddr),
    (every, end): (Duration, Instant),
    anew: bool,
) -> Result<Histogram<u64>, Error> {
    let mut times = histogram()?;
    while Instant::now() < end {
        tokio::time::sleep(every).await;
        let begun = Instant::now();
        if anew {
            link = client.open(to, &job.host, job.protocol).await?;
        }
        client.ask(&mut link, &job.host, &job.path).await?;
        note(&mut times, begun);
    }
    Ok(times)
}

async fn many_handshakes(
    client: &Rc<Client>,
    at_once: usize,
    names: impl Iterator<Item = (String, SocketAddr)> + 'static,
) -> Result<Histogram<u64>, Error> {
    let names: Names = Rc::new(RefCell::new(names));
    together((0..at_once).map(|_| handshakes(Rc::clone(client), Rc::clone(&names)))).await
}

async fn handshakes(client: Rc<Client>, names: Names) -> Result<Histogram<u64>, Error> {
    let mut times = histogram()?;
    loop {
        let Some((name, to)) = names.borrow_mut().next() else { return Ok(times) };
        let begun = Instant::now();
        client.shake_hands(to, &name).await?;
        note(&mut times, begun);
    }
}

/// All of them at once; the first failure is everyone's.
async fn together<F>(work: impl Iterator<Item = F>) -> Result<Histogram<u64>, Error>
where
    F: Future<Output = Result<Histogram<u64>, Error>> + 'static,
{
    let mut tasks = JoinSet::new();
    for future in work {
        tasks.spawn_local(future);
    }
    let mut times = histogram()?;
    while let Some(done) = tasks.join_next().await {
        times.add(done??)?;
    }
    Ok(times)
}

pub async fn lookup(job: &Job) -> Result<Option<Lookup>, Error> {
    if job.connect.is_some() { Ok(None) } else { Lookup::open().await.map(Some) }
}

pub async fn address(job: &Job, name: &str, lookup: Option<&Lookup>) -> Result<SocketAddr, Error> {
    match (job.connect, lookup) {
        (Some(address), _) => Ok(address),
        (None, Some(lookup)) => Ok(SocketAddr::new(lookup.address_in_time(name).await?, PORT)),
        (None, None) => Err(Error::new("nowhere to look names up")),
    }
}

/// Three digits are right, from nanoseconds on.
pub fn histogram() -> Result<Histogram<u64>, Error> {
    Ok(Histogram::new_with_max(CEILING, 3)?)
}

pub fn note(times: &mut Histogram<u64>, begun: Instant) {
    times.saturating_record(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(CEILING));
}
