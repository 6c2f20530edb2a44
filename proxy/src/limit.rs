//! Every bound of the proxy with its reason, and the rates that rules set.
//!
//! Enters: a permit with a rate. Leaves: admission, or how long to wait. Never: an unbounded queue; what is over the
//! limit is refused at once and told when to come back.

use std::time::Duration;

use config::{Rate, RuleId};
use dashmap::DashMap;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::SignedDuration;

use crate::error::Refusal;

/// Different refusals that are counted apart for the end of a run: more than anybody reads, and at most some hundred KiB.
pub const REFUSALS_TOLD_APART: usize = 256;
/// Client connections of one sandbox at once: two thousand that stand, as a load test or a crawler has them, and what comes and goes
/// beside them. At 24 KiB for an idle one they stay below half of the 128 MiB that a worker under attack may take. Beyond them the idle
/// make room.
pub const CONNECTIONS: usize = 2560;
/// What of the worker is resident at most, but for what is under way until it is looked at again: from here on, connections whose clients do not read
/// their answers, or do not send the rest of a body, make room (`memory`). An eighth below the 128 MiB that a worker may take under most attacks: what calls
/// hold for which nobody inside is waited for comes on top.
pub const MEMORY: u64 = 112 << 20;
/// What of it is resident at most, whoever does what: beyond it nothing is read from anybody before there is less. Two thousand calls that wait for
/// their answers take three quarters of it; as many uploads that no upstream takes, each with a [`STREAM_WINDOW`], all of it.
pub const MEMORY_AT_MOST: u64 = 256 << 20;
/// Questions for names that have come and were not read yet: the kernel takes a KiB for each.
pub const QUESTIONS_BYTES: usize = 1024 * 1024;
/// Until the first bytes tell what a connection is. A client on loopback has them ready.
pub const HELLO_WAIT: Duration = Duration::from_secs(10);
/// The same at ports whose servers have the first word: no client there will say anything, and its user waits as long as exeat does.
pub const HELLO_WAIT_SERVER_FIRST: Duration = Duration::from_secs(2);
/// Where servers have the first word (IANA): FTP, SSH, SMTP, POP3, NNTP, IMAP, submission, MySQL.
pub const SERVER_FIRST: [u16; 8] = [21, 22, 25, 110, 119, 143, 587, 3306];
/// Who closes such a connection sooner asks only whether the port is open.
pub const PORT_PROBE: Duration = Duration::from_millis(500);
/// Ports of the web: who opens a connection ahead there says nothing on it for a while.
pub const WEB: [u16; 4] = [80, 443, 8080, 8443];
/// A ClientHello or the start of a request line; post-quantum hellos take about 2 KiB.
pub const HELLO_BYTES: usize = 16 * 1024 + 512;
/// Until an SSH client has the few hundred bytes that say why it goes no further. A socket's buffer has room for them at once.
pub const SSH_WAIT: Duration = Duration::from_secs(2);
/// The client's TLS handshake, on loopback.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// The head of a request, from its first byte to the empty line; also how long an idle connection is kept.
pub const HEAD_WAIT: Duration = Duration::from_secs(30);
/// A request's head. Servers in the field take 8 to 64 KiB.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Header fields in one head: as many as hyper reads of HTTP/1.1 unless it is told otherwise, for which it has room on its stack.
pub const HEAD_FIELDS: usize = 100;
/// HTTP/2 streams of one client connection at once.
pub const STREAMS: u32 = 128;
/// HTTP/2 flow-control window of a client's stream: loopback, where the path holds next to nothing.
pub const STREAM_WINDOW: u32 = 128 * 1024;
/// Of a client's connection: all its streams, so that one whose upstream is slow holds back no other.
pub const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// Calls over one HTTP/2 connection to an upstream; the next opens another. No server should allow fewer (RFC 9113 section 6.5.2).
pub const UPSTREAM_STREAMS: u32 = 100;
/// HTTP/2 connections to one destination that take further calls: as many as carry all streams of a busy client's connections.
pub const UPSTREAM_LINKS: usize = 32;
/// Calls on one of them that are taken back at once though the upstream may not have begun them; others are a moment later. Over more than 20, h2
/// ends a connection with all that is on it (CVE-2023-44487), and so do other servers.
pub const EARLY_RESETS: usize = 10;
/// What went out so long ago was begun by an upstream that does anything at all; and a change of policy reaches calls that stand within a second.
pub const RESET_WAIT: Duration = Duration::from_millis(750);
/// Calls taken back on one of them until further ones get another: nghttp2 ends it after 1,000 at once, Envoy after 500.
pub const LINK_RESETS: usize = 100;
/// HTTP/2 flow-control window of a call to an upstream: fills a path of 100 Mbit/s at 40 ms.
pub const UPSTREAM_STREAM_WINDOW: u32 = 512 * 1024;
/// Of its connection: all calls on it, so that one whose client does not read holds back no other.
pub const UPSTREAM_CONNECTION_WINDOW: u32 = UPSTREAM_STREAMS * UPSTREAM_STREAM_WINDOW;
/// Streams reset by the client before they were taken up (CVE-2023-44487).
pub const PENDING_RESETS: usize = 20;
/// Streams of one connection that break a rule and are reset for it (CVE-2025-8671), or are more than [`STREAMS`]: a client
/// opens some before it has heard of the bound.
pub const RULE_RESETS: usize = 256;
/// HTTP/2 frames that carry nothing (settings, pings, resets, window updates) taken from a client at once: a page of cancelled
/// requests, with room to spare.
pub const IDLE_FRAMES: u64 = 1000;
/// And each second from then on.
pub const IDLE_FRAMES_EACH_SECOND: u64 = 100;
/// And one for so many bytes sent to it: clients that measure their path send a ping for each piece of an answer. The answer to a
/// ping has 17.
pub const BYTES_FOR_IDLE_FRAME: u64 = 32;
/// What a client still sends to a connection that is over is read for so long, so that it hears why.
pub const LINGER_WAIT: Duration = Duration::from_secs(1);
/// And so much of it: more than the sockets in between hold.
pub const LINGER_BYTES: usize = 16 * 1024 * 1024;
/// A request body that is read whole and examined before anything goes upstream; longer ones are examined as they pass.
pub const EXAMINED_BODY: u64 = 64 * 1024;
/// Of a request body that goes with a credential, kept while it passes, to be sent once more should the credential be refused: as much as a
/// short body takes anyhow, and more than most calls of an API have.
pub const KEPT_BODY: usize = 64 * 1024;
/// The whole of such a body.
pub const EXAMINED_BODY_WAIT: Duration = Duration::from_secs(60);
/// A text message of a WebSocket that is sent on in one frame after a swap; longer ones go on in fragments.
pub const MESSAGE: usize = 64 * 1024;
/// Telling the client of a WebSocket why it is closed.
pub const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// A field that names a part of a form: a name and a file's name have some hundred bytes.
pub const PART_FIELD: usize = 4096;
/// What a coded request body may become, whatever its ratio.
pub const DECODED_FREE: u64 = 8 * 1024 * 1024;
/// Beyond that, decoded bytes for each coded one: logs and JSON reach about 50, a bomb 1000 and more.
pub const DECODED_RATIO: u64 = 200;
/// What the decoders of requests and of answers may take at once, all together: a quarter of the most that a worker may. Three that have filled the largest
/// window of brotli, seven of zstd, a few hundred of short texts. Others wait their turn.
pub const DECODED_AT_ONCE: usize = 64 * 1024 * 1024;
/// For so long, as others that move may go on for ever; clients wait for an answer's head about as long.
pub const DECODED_WAIT: Duration = Duration::from_secs(30);
/// A body that is judged by `mcp` or `graphql`. Arguments of tools are texts that a model wrote; a document is pasted at times.
pub const JUDGED_BODY: usize = 1024 * 1024;
/// Such bodies in memory at once, 64 MiB in all: agents call a handful of tools at a time. Others wait their turn.
pub const JUDGED_AT_ONCE: usize = 64;
/// Messages in one batch; SDKs that still send batches put a handful in one.
pub const BATCH: usize = 64;
/// An answer that lists tools, or one event of a stream that may have such an answer in it: a thousand tools with schemas.
pub const LISTING: usize = 2 * 1024 * 1024;
/// Such answers under way at once, 256 MiB in all at worst: each session has one standing stream, and seldom a listing beside it.
pub const LISTINGS_AT_ONCE: usize = 128;
/// The whole of such an answer, where it is no stream, and the wait for a turn.
pub const LISTING_WAIT: Duration = Duration::from_secs(60);
/// Nesting in a GraphQL document; servers in the field take 10 to 50.
pub const GRAPHQL_DEPTH: usize = 128;
/// Tokens of all GraphQL documents of a request; the introspection query has 200.
pub const GRAPHQL_TOKENS: usize = 20_000;
/// A line between the chunks of `aws-chunked`: a size with a signature takes 100 bytes, a trailer with one not many more.
pub const CHUNK_LINE: usize = 1024;
/// Trailers behind these chunks: SDKs send a checksum and a signature.
pub const CHUNK_TRAILERS: usize = 16;
/// How far the clocks of who signs and who checks may be apart, as AWS has it.
pub const SIGNATURE_SKEW: SignedDuration = SignedDuration::from_mins(15);
/// A body that is held whole because nothing says its digest, and it has to be signed: of services other than S3, whose requests are
/// seldom longer than 1 MiB, or 6 MiB where they carry a function's argument.
pub const SIGNED_BODY: usize = 8 * 1024 * 1024;
/// One chunk of a body whose chunks are signed: SDKs make them 64 to 128 KiB long.
pub const SIGNED_CHUNK: usize = 1024 * 1024;
/// Of both, in memory at once. Others wait their turn.
pub const SIGNED_AT_ONCE: usize = 64 * 1024 * 1024;
/// Looking up a name.
pub const RESOLVE_WAIT: Duration = Duration::from_secs(5);
/// Names of one rule that are looked up at once. The threads for it are 512: a dozen rules whose servers do not answer leave room for others.
pub const LOOKUPS: usize = 32;
/// Rules of which that is counted, before those of which nothing is under way are forgotten.
pub const LOOKUP_RULES: usize = 1024;
/// What is read of the machine's own list of names. Lists against advertising have a few MiB.
pub const HOSTS_BYTES: u64 = 16 * 1024 * 1024;
/// One address: longer than any healthy round trip, short enough to try the next.
pub const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Addresses tried of one name.
pub const ADDRESSES: usize = 4;
/// The upstream's TLS handshake.
pub const UPSTREAM_HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// So long a session with an upstream may be resumed after its certificate was verified: nobody looks at that again until then.
pub const UPSTREAM_SESSIONS: Duration = Duration::from_mins(60);
/// The house's proxy: it looks a name up, connects, and says so.
pub const PROXY_WAIT: Duration = Duration::from_secs(20);
/// The head of its answer; hyper takes no bound below 8 KiB.
pub const PROXY_HEAD_BYTES: usize = 16 * 1024;
/// How often it is looked whether an upstream's first settings have come: often against a round trip.
pub const SETTINGS_LOOK: Duration = Duration::from_millis(2);
/// An answer's head, and what is read of its body at once. Cookies and policies make heads of tens of KiB.
pub const ANSWER_HEAD_BYTES: usize = 128 * 1024;
/// From the request to the head of the answer. Model APIs think for minutes.
pub const ANSWER_WAIT: Duration = Duration::from_secs(15 * 60);
/// An answer's body without a byte: event streams send a comment line every so often.
pub const BODY_IDLE: Duration = Duration::from_secs(15 * 60);
/// A tunnel without a byte either way: shells and database pools may rest for long; a forgotten one must end some day.
pub const TUNNEL_IDLE: Duration = Duration::from_secs(60 * 60);
/// A tunnel, however busy: a rule that is meant to last longer is worth a new connection a day, and a new record.
pub const TUNNEL_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// What is under way in a tunnel, each way: as much as a socket takes at once.
pub const TUNNEL_BUFFER: usize = 16 * 1024;
/// What is read from a socket at once, where more comes than a TLS record: four of them, and below what the allocator maps anew each time.
pub const READ_AHEAD: usize = 64 * 1024;
/// TLS records that are passed on at once, in the clear: what passes through as many hands as a call of a few bytes.
pub const GATHERED: usize = 64 * 1024;
/// HTTP/2 frames that either side is asked for: four times the least, which costs a turn of several tasks each.
pub const FRAME: u32 = 64 * 1024;
/// Idle upstream connections of all destinations together: as many as there are places for clients, who call one after the other and
/// find a connection each.
pub const IDLE_LINKS: usize = CONNECTIONS;
/// Those of one destination that stay when no call has needed them for [`REST`].
pub const IDLE_AT_REST: usize = 32;
/// Clients that call all the time come back within it. A connection of one that does not is left with next to no buffers.
pub const REST: Duration = Duration::from_secs(1);
/// Idle upstream connections are closed by most servers after 60 s or more; ours go first.
pub const IDLE_WAIT: Duration = Duration::from_secs(45);
/// Destinations with idle connections.
pub const IDLE_DESTINATIONS: usize = 256;
/// Leaves kept. A hundred thousand names under one wildcard must not fill the memory.
pub const LEAVES: usize = 1024;
/// From the moment in which a worker is stopped, what its calls under way may still take; then they are cut off.
pub const STOP_WAIT: Duration = Duration::from_millis(500);
/// Calls that may finish when the worker ends.
pub const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// Secrets remembered for scrubbing, per worker, as long as they are good: twice what agents force, for those that come due. Each takes
/// a few KiB, and answers are searched for all of them at once. Beyond them no credential is lent.
pub const KNOWN_CREDENTIALS: usize = 128;
/// With so many of them no further lease is asked for only because an upstream refused the last.
pub const KNOWN_FOR_REFUSALS: usize = 64;
/// An issuer's clock may be behind, and its word is what counts.
pub const KNOWN_SKEW: Duration = Duration::from_secs(5 * 60);
/// A secret without an end that was replaced so long ago may be forgotten where there is room for no more.
pub const KNOWN_REPLACED: Duration = Duration::from_hours(24);

/// The rates of the rules, counted per worker.
#[derive(Debug, Default)]
pub struct Rates {
    limiters: DashMap<(String, Rate), DefaultDirectRateLimiter>,
}

impl Rates {
    /// Counts one call, or one tunnel, against its rule's rate.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] with the seconds until the next call would pass.
    pub fn admit(&self, rule: &RuleId, rate: Option<Rate>) -> Result<(), Refusal> {
        let Some(rate) = rate else { return Ok(()) };
        let key = (rule.to_string(), rate);
        let limiter = self.limiters.entry(key).or_insert_with(|| RateLimiter::direct(quota(rate)));
        limiter.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            Refusal::RateLimited {
                rule: rule.clone(),
                rate: rate.to_string(),
                retry_after: wait.as_secs().saturating_add(1),
            }
        })
    }
}

/// `requests` at once, then one each `per / requests`.
fn quota(rate: Rate) -> Quota {
    let each = (rate.per() / rate.requests().get()).max(Duration::from_nanos(1));
    Quota::with_period(each).unwrap_or_else(|| Quota::per_second(rate.requests())).allow_burst(rate.requests())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lets_its_number_pass_at_once_and_then_refuses() {
        let rate: Rate = "3/h".parse().unwrap();
        let limiter: DefaultDirectRateLimiter = RateLimiter::direct(quota(rate));
        assert!((0..3).all(|_| limiter.check().is_ok()));
        assert!(limiter.check().is_err());
    }
}
