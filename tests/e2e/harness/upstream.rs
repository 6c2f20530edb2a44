//! The API that agents call: it answers by route and remembers every request.
//!
//! Enters: what exeat lets out. Leaves: what it saw, request by request. Never: an opinion on whether it should have come; that
//! is the test's.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::authority::Authority;
use super::routes;
use super::server::Server;
use super::within;

/// The names that its certificate is for.
const NAMES: [&str; 7] = [
    "management.azure.com",
    "*.example.com",
    "example.com",
    "*.example.org",
    "*.example.net",
    "localhost",
    "127.0.0.1",
];

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// As far as the route read it.
    pub body: Vec<u8>,
    /// When each piece of the body came.
    pub pieces: Vec<Instant>,
}

impl Seen {
    /// The only value of a header; more than one is a failure.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} came twice: {:?}", self.headers);
        value
    }

    /// Whether a credential is in it, in any of the ways in which one is sent.
    pub fn shows(&self, credential: &str) -> bool {
        let text = self.text();
        let decoded = percent_encoding::percent_decode_str(&text).decode_utf8_lossy();
        let basic = self.headers.iter().filter_map(|(_, value)| value.strip_prefix("Basic "));
        let mut basic = basic.filter_map(|pair| BASE64_STANDARD.decode(pair).ok());
        text.contains(credential)
            || decoded.contains(credential)
            || basic.any(|pair| String::from_utf8_lossy(&pair).contains(credential))
    }

    /// Everything that was in it, as text to search in.
    pub fn text(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{} {}\n{headers}\n{}", self.method, self.target, String::from_utf8_lossy(&self.body))
    }
}

/// Paths, and what is there.
pub type Answers = &'static [(&'static str, &'static str)];
/// What a server saw, shared with its routes.
pub type Log = Arc<Mutex<Vec<Seen>>>;

/// A server.
pub struct Upstream {
    server: Server,
    log: Log,
    refused: Refused,
}

/// The credentials that a server no longer takes, and how long it thinks before it says so.
pub type Refused = Arc<Mutex<(Vec<String>, Duration)>>;

impl Upstream {
    /// HTTPS, HTTP/2 and HTTP/1.1, with a certificate that the policies of these tests trust.
    pub fn start() -> Self {
        Self::with_alpn(&["h2", "http/1.1"])
    }

    /// HTTPS that offers these protocols only.
    pub fn with_alpn(alpn: &[&str]) -> Self {
        Self::serve(Some((Authority::trusted(), alpn)))
    }

    /// HTTPS with a certificate of an authority that nobody trusts.
    pub fn untrusted() -> Self {
        Self::serve(Some((&Authority::new("nobody's authority"), &["http/1.1"])))
    }

    /// Plain HTTP.
    pub fn plain() -> Self {
        Self::serve(None)
    }

    /// The same as [`Upstream::start`], with an API of its own: what is at these paths, and `{shown}` in it becomes what the client
    /// proved itself with.
    pub fn answering(answers: Answers) -> Self {
        Self::serve_with(Some((Authority::trusted(), &["h2", "http/1.1"])), answers)
    }

    fn serve(tls: Option<(&Authority, &[&str])>) -> Self {
        Self::serve_with(tls, &[])
    }

    fn serve_with(tls: Option<(&Authority, &[&str])>, answers: Answers) -> Self {
        let (log, refused) = (Log::default(), Refused::default());
        let tls = tls.map(|(authority, alpn)| authority.identity(&NAMES).configuration(alpn));
        let shared = (Arc::clone(&log), Arc::clone(&refused));
        let answer = Arc::new(move |request| {
            let (log, refused) = shared.clone();
            Box::pin(routes::answer(request, log, refused, answers)) as super::server::Answering
        });
        Self { server: Server::start(tls, answer), log, refused }
    }

    /// From now on a request with this credential, wherever in it, is answered 401 after a while.
    pub fn refuse(&self, credential: &str, after: Duration) {
        let mut refused = self.refused.lock().unwrap();
        refused.0.push(credential.to_owned());
        refused.1 = after;
    }

    /// For a rule's `dial`.
    pub fn dial(&self) -> String {
        self.server.address.to_string()
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }

    /// The only request that came.
    pub fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.remove(0)
    }

    /// Fails when anything came: a request, or so much as a connection.
    pub fn assert_untouched(&self) {
        assert_eq!(self.server.connections(), 0, "a connection reached the upstream: {:#?}", self.seen());
    }

    /// Fails when a request came, connections or not.
    pub fn assert_no_request(&self) {
        assert!(self.seen().is_empty(), "{:#?}", self.seen());
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Waits until so many requests have come.
    pub fn wait_for(&self, requests: usize) {
        within(Duration::from_secs(20), "requests at the upstream", || self.log.lock().unwrap().len() >= requests);
    }
}
