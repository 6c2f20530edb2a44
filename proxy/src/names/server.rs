//! The name server's sockets.
//!
//! Enters: UDP sockets and TCP listeners of the sandbox's network. Leaves: answers, and a report of names asked for.
//! Never: more work than its limits allow; over them it says REFUSED to new names, and not often, and lets the others wait.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{AddressMap, Answer, Asked, answer};

/// The largest query: a name of 255 bytes and EDNS options with room to spare.
const LONGEST_QUERY: usize = 4096;
/// After a failed accept, so that running out of file descriptors is not a busy loop.
const PAUSE: Duration = Duration::from_millis(50);
/// So often in a row it says REFUSED to a client that does not wait for its answers; then it rests, and what comes meanwhile the kernel
/// drops.
const REFUSALS: u32 = 8;
/// The rest.
const REST: Duration = Duration::from_millis(1);

/// What the name server allows its sandbox.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Queries per second in the long run, but for those that are no news: names that have an address, as each new connection asks for.
    pub queries: NonZeroU32,
    /// Such at once.
    pub burst: NonZeroU32,
    /// Queries per second of whatever kind; what is more waits.
    pub answers: NonZeroU32,
    /// TCP connections at once; further ones wait.
    pub connections: usize,
    /// How long a TCP connection may take over one query, waiting for it included.
    pub idle: Duration,
}

impl Default for Limits {
    /// A build that resolves a few hundred names at once passes; a tunnel or a flood is slowed to a crawl. Answers are for twice as many
    /// connections a second as a worker can serve, each of which asks three times.
    fn default() -> Self {
        let number = |number: u32| NonZeroU32::MIN.saturating_add(number - 1);
        let (queries, burst, answers) = (number(200), number(1000), number(20_000));
        Self { queries, burst, answers, connections: 64, idle: Duration::from_secs(10) }
    }
}

/// Answers until a socket fails, or the future is dropped. `report` is called for every name asked for and answered,
/// within the serving task: it must not block.
///
/// # Errors
/// When a UDP socket cannot be read any more.
pub async fn serve(
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    map: Arc<AddressMap>,
    limits: Limits,
    report: impl Fn(Asked) + Send + Sync + 'static,
) -> io::Result<()> {
    let limiter = RateLimiter::direct(Quota::per_second(limits.queries).allow_burst(limits.burst));
    let pace = RateLimiter::direct(Quota::per_second(limits.answers).allow_burst(limits.burst));
    let server = Arc::new(Server { map, limiter, pace, report });
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut tasks = JoinSet::new();
    for socket in udp {
        tasks.spawn(over_udp(socket, Arc::clone(&server)));
    }
    for listener in tcp {
        tasks.spawn(over_tcp(listener, Arc::clone(&server), Arc::clone(&places), limits.idle));
    }
    match tasks.join_next().await {
        Some(ended) => ended.map_err(io::Error::other)?,
        None => Ok(()),
    }
}

struct Server<R> {
    map: Arc<AddressMap>,
    limiter: DefaultDirectRateLimiter,
    pace: DefaultDirectRateLimiter,
    report: R,
}

impl<R: Fn(Asked)> Server<R> {
    async fn answer(&self, query: &[u8]) -> Answer {
        while self.pace.check().is_err() {
            sleep(REST).await;
        }
        answer(query, &self.map, Instant::now(), || self.limiter.check().is_ok())
    }

    fn report(&self, asked: Option<Asked>) {
        if let Some(asked) = asked {
            (self.report)(asked);
        }
    }
}

async fn over_udp<R: Fn(Asked)>(socket: UdpSocket, server: Arc<Server<R>>) -> io::Result<()> {
    let mut buffer = vec![0; LONGEST_QUERY];
    let mut refused = 0;
    loop {
        let (length, client) = match socket.try_recv_from(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                refused = 0;
                socket.recv_from(&mut buffer).await?
            }
            received => received?,
        };
        let answer = server.answer(&buffer[..length]).await;
        refused += u32::from(answer.refused);
        // Whoever waits for an answer does not wait for the report as well; nothing comes between the two.
        let sent = answer.bytes.as_ref().map(|reply| socket.try_send_to(reply, client));
        server.report(answer.asked);
        if let (Some(reply), Some(Err(error))) = (answer.bytes, sent)
            && error.kind() == io::ErrorKind::WouldBlock
        {
            // The client may be gone; the next one is not.
            let _ = socket.send_to(&reply, client).await;
        }
        if refused >= REFUSALS {
            refused = 0;
            sleep(REST).await;
        }
    }
}

async fn over_tcp<R>(
    listener: TcpListener,
    server: Arc<Server<R>>,
    places: Arc<Semaphore>,
    idle: Duration,
) -> io::Result<()>
where
    R: Fn(Asked) + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let server = Arc::clone(&server);
        connections.spawn(async move {
            let _place = place;
            converse(stream, &server, idle).await;
        });
    }
}

/// RFC 7766: queries one after the other, each with its length before it, until the client has no more.
async fn converse<R: Fn(Asked)>(mut stream: TcpStream, server: &Server<R>, idle: Duration) {
    let mut buffer = vec![0; LONGEST_QUERY];
    while let Ok(Ok(true)) = timeout(idle, one_query(&mut stream, &mut buffer, server)).await {}
}

/// Whether another may follow.
async fn one_query<R: Fn(Asked)>(stream: &mut TcpStream, buffer: &mut [u8], server: &Server<R>) -> io::Result<bool> {
    let length = usize::from(stream.read_u16().await?);
    let Some(query) = buffer.get_mut(..length) else { return Ok(false) };
    stream.read_exact(query).await?;
    let Answer { bytes, asked, .. } = server.answer(query).await;
    server.report(asked);
    let Some(reply) = bytes else { return Ok(false) };
    let Ok(length) = u16::try_from(reply.len()) else { return Ok(false) };
    stream.write_all(&[&length.to_be_bytes()[..], &reply].concat()).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hickory_proto::op::{Message, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};

    use super::*;

    fn query(name: &str) -> Vec<u8> {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message.to_vec().unwrap()
    }

    fn code(reply: &[u8]) -> ResponseCode {
        Message::from_vec(reply).unwrap().metadata.response_code
    }

    #[tokio::test]
    async fn both_transports_answer_report_and_say_when_it_is_too_much() {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (udp_at, tcp_at) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let limits = Limits { queries: NonZeroU32::MIN, burst: NonZeroU32::MIN.saturating_add(2), ..Limits::default() };
        let map = Arc::new(AddressMap::new(Instant::now()));
        let server =
            tokio::spawn(serve(vec![udp], vec![tcp], map, limits, move |asked| seen.lock().unwrap().push(asked.name)));

        let mut buffer = [0; 1024];
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(&query("a.example."), udp_at).await.unwrap();
        let length = client.recv(&mut buffer).await.unwrap();
        assert_eq!(code(&buffer[..length]), ResponseCode::NoError);

        let mut stream = TcpStream::connect(tcp_at).await.unwrap();
        let mut codes = Vec::new();
        for name in ["b.example.", "c.example.", "d.example.", "a.example."] {
            let bytes = query(name);
            stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let length = usize::from(stream.read_u16().await.unwrap());
            stream.read_exact(&mut buffer[..length]).await.unwrap();
            codes.push(code(&buffer[..length]));
        }
        assert_eq!(codes, [ResponseCode::NoError, ResponseCode::NoError, ResponseCode::Refused, ResponseCode::NoError]);
        assert_eq!(*asked.lock().unwrap(), ["a.example", "b.example", "c.example"]);

        // A length beyond the longest query ends the conversation.
        stream.write_u16(u16::MAX).await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
        server.abort();
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed_and_its_place_goes_to_the_next() {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = tcp.local_addr().unwrap();
        let limits = Limits { connections: 1, idle: Duration::from_millis(50), ..Limits::default() };
        let map = Arc::new(AddressMap::new(Instant::now()));
        let server = tokio::spawn(serve(vec![], vec![tcp], map, limits, drop));
        for _ in 0..3 {
            let mut stream = TcpStream::connect(at).await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        }
        server.abort();
    }
}
