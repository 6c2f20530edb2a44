//! Well-formed requests, each with something odd about it.
//!
//! Enters: a seed. Leaves: cases as lines of JSON for the client in the sandbox. Never: a case that cannot be told from the others:
//! each has a word of its own in its path and in a field.

use serde_json::{Value, json};

use super::frames;

/// The name of a host that no case may reach by way of another.
pub const OTHER: &str = "other.example.com";
/// The value of a field that `Connection` names.
pub const HOP: &str = "named-by-connection";
/// A segment that a deny rule keeps in.
pub const SECRET: &str = "secret";

/// A source of numbers that are the same for the same seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    /// One of them.
    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// One case.
pub struct Case {
    /// In its path and in a field.
    pub word: String,
    /// What the client is told.
    pub line: Value,
    /// The body, where nothing that could change it is odd.
    pub body: Option<String>,
}

/// What may be odd about a request.
const ASPECTS: usize = 8;

/// A request over HTTP/1.1, and after it a proper one that asks to close.
pub fn http1(random: &mut Random, number: usize, host: &str) -> Case {
    let word = format!("case{number}z");
    // Mostly one thing is odd, so that the request gets as far as that thing lets it; sometimes two, once in a while none.
    let odd = [random.below(ASPECTS + 3), random.below(ASPECTS * 3)];
    let is_odd = |aspect: usize| odd.contains(&aspect);
    let method = if is_odd(0) { random.one(&METHODS) } else { random.one(&["GET", "POST", "PUT"]) };
    let target = if is_odd(1) { random.one(&TARGETS) } else { random.one(&["/{w}/a", "/{w}/a?b=c&d=e"]) };
    let version = if is_odd(2) { random.one(&VERSIONS) } else { "HTTP/1.1" };
    let hosts = if is_odd(3) { random.one(&HOSTS) } else { "Host: {h}\r\n" };
    let fields: String = (0..if is_odd(4) { 1 + random.below(2) } else { 0 }).map(|_| random.one(&FIELDS)).collect();
    let (framing, sent) = if is_odd(5) { random.one(&FRAMINGS) } else { random.one(&PROPER_FRAMINGS) };
    let rest = if is_odd(6) { random.one(&RESTS) } else { "" };
    let head = format!("{method} {target} {version}\r\n{hosts}{fields}{framing}");
    let fill = |text: &str| text.replace("{w}", &word).replace("{h}", host).into_bytes();
    let mut bytes = fill(&head);
    if is_odd(7) {
        disturb(random, &mut bytes);
    }
    bytes.extend(fill("X-Case: {w}\r\n\r\n"));
    bytes.extend(fill(sent));
    bytes.extend(fill(rest));
    bytes.extend(fill("GET /{w}/end HTTP/1.1\r\nHost: {h}\r\nConnection: close\r\n\r\n"));
    let body = (![5, 7].into_iter().any(is_odd) && !framing.is_empty()).then(|| "hello".to_owned());
    let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Case { line: json!({ "case": number, "protocol": "h1", "to": host, "bytes": bytes }), word, body }
}

/// A request over HTTP/2, and beside it a proper one.
pub fn http2(random: &mut Random, number: usize, host: &str) -> Case {
    let word = format!("case{number}z");
    let odd = [random.below(ASPECTS + 3), random.below(ASPECTS * 3)];
    let is_odd = |aspect: usize| odd.contains(&aspect);
    let fill = |text: &str| text.replace("{w}", &word).replace("{h}", host);
    let target = if is_odd(1) { random.one(&TARGETS) } else { "/{w}/a?b=c" };
    let method = if is_odd(0) { random.one(&METHODS) } else { random.one(&["GET", "POST"]) };
    let mut pseudo = vec![(":method", method), (":scheme", "https"), (":authority", "{h}"), (":path", target)];
    if is_odd(2) || is_odd(3) {
        match random.below(4) {
            0 => drop(pseudo.remove(random.below(pseudo.len()))),
            1 => pseudo.push(random.one(&PSEUDO)),
            2 => pseudo[2].1 = random.one(&AUTHORITIES),
            _ => pseudo[1].1 = random.one(&["http", "HTTPS", "ftp", "", "https "]),
        }
    }
    let mut fields: Vec<(&str, &str)> = vec![("x-case", "{w}")];
    for _ in 0..if is_odd(4) { 1 + random.below(2) } else { 0 } {
        fields.extend(random.one(&FIELDS_2));
    }
    let body = random.one(&["", "hello"]);
    if is_odd(5) {
        fields.push((
            "content-length",
            random.one(&["0", "4", "6", "+5", "5, 5", "-1", "99999999999999999999", " 5", "0x5"]),
        ));
    } else if random.below(2) == 0 {
        fields.push(("content-length", if body.is_empty() { "0" } else { "5" }));
    }
    if random.below(12) == 0 {
        fields.append(&mut pseudo); // behind the regular ones
    }
    let fields: Vec<_> = pseudo.iter().chain(&fields).map(|(name, value)| json!([fill(name), fill(value)])).collect();
    let trailers = if is_odd(6) { random.one(&TRAILERS) } else { &[] };
    let mut steps = vec![json!({ "stream": 1, "fields": fields, "end": body.is_empty() && trailers.is_empty() })];
    if !body.is_empty() {
        steps.push(json!({ "stream": 1, "data": body, "end": trailers.is_empty() }));
    }
    if !trailers.is_empty() {
        let trailers: Vec<_> = trailers.iter().map(|(name, value)| json!([name, fill(value)])).collect();
        steps.push(json!({ "stream": 1, "fields": trailers, "end": true }));
    }
    if is_odd(7) {
        frames::disturb(random, &mut steps);
    }
    let end = [(":method", "GET"), (":scheme", "https"), (":authority", "{h}"), (":path", "/{w}/end")];
    let end: Vec<_> = end.iter().map(|(name, value)| json!([name, fill(value)])).collect();
    steps.push(json!({ "stream": 5, "fields": end, "end": true }));
    let line = json!({ "case": number, "protocol": "h2", "to": host, "steps": steps, "streams": [1, 5] });
    let body = (![5, 7].into_iter().any(is_odd)).then(|| body.to_owned());
    Case { line, word, body }
}

/// Changes a byte or two.
fn disturb(random: &mut Random, bytes: &mut Vec<u8>) {
    const BYTES: &[u8] = b"\0\t\n\x0b\x0c\r !\"#%(),/:;?@[\\]{|}\x7f\x80\xe9\xffaZ0";
    for _ in 0..=random.below(2) {
        let (at, byte) = (random.below(bytes.len()), random.one(BYTES));
        match random.below(3) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
    }
}

const METHODS: [&str; 12] =
    ["get", "GE T", "GE\tT", "CONNECT", "PRI", "TRACE", "M-SEARCH", "G@T", "OPTIONS", "", "DELETE", "GET\r\nX: y\r\n"];

const VERSIONS: [&str; 8] =
    ["HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.1 ", "HTTP/11", "HTTP/1.1\r\n X: y", ""];

const TARGETS: [&str; 44] = [
    "//{w}",
    "/{w}//x",
    "/{w}/./x",
    "/{w}/../{w}/x",
    "/../{w}",
    "/{w}/%2e%2E/{w}",
    "/{w}/%2f",
    "/{w}%2Fx",
    "/{w}%5cx",
    "/{w}\\x",
    "/{w};a=b/x",
    "/{w}/..;/x",
    "/{w}/;x",
    "/{w}/%00",
    "/{w}/%252e%252e/x",
    "/{w}/%zz",
    "/{w}/%",
    "/{w}#f",
    "/{w}?a=b#f",
    "/{w}?a?b",
    "/{w}? b",
    "*",
    "{w}",
    "http://{h}/{w}",
    "https://{h}/{w}",
    "https://{h}:443/{w}",
    "https://other.example.com/{w}",
    "https://user@{h}/{w}",
    "https://{h}",
    "{h}:443",
    "/{w}/\u{e9}",
    "/{w}/\u{7f}",
    "/{w}/[x]{x}|^",
    "/{w}/%C3%BC",
    "/{w}/%FF",
    "/{w}/secret/x",
    "/{w}/%73ecret/x",
    "/{w}/x/../secret/x",
    "/{w}/secret;a/x",
    "/{w}/x%2Fsecret%2Fx",
    "/{w}/%2573ecret/x",
    "/{w}?q=%0d%0ax:y",
    "/{w}?",
    "",
];

const HOSTS: [&str; 16] = [
    "",
    "Host: {h}\r\nHost: {h}\r\n",
    "Host: {h}\r\nHost: other.example.com\r\n",
    "Host: other.example.com\r\n",
    "Host: {h}:443\r\n",
    "Host: {h}:80\r\n",
    "Host: {h}.\r\n",
    "HOST: {h}\r\n",
    "Host: user@{h}\r\n",
    "Host: {h}/x\r\n",
    "Host: [{h}]\r\n",
    "Host: {h}, other.example.com\r\n",
    "Host : {h}\r\n",
    "Host:\t{h} \r\n",
    "Host:\r\n",
    "Host:\r\n {h}\r\n",
];

const FIELDS: [&str; 37] = [
    "Connection: keep-alive, X-Hop\r\nX-Hop: named-by-connection\r\n",
    "Connection: X-Hop\r\nConnection: close\r\nConnection: x-other\r\nX-Hop: named-by-connection\r\nX-Other: named-by-connection\r\n",
    "X-Hop: named-by-connection\r\nConnection:,,X-Hop ,\r\n",
    "Connection: Host\r\n",
    "Connection: X-Case, Content-Length\r\n",
    "Connection: Transfer-Encoding\r\n",
    "Connection: \"x-hop\"\r\nX-Hop: 1\r\n",
    "Connection: x hop\r\n",
    "Keep-Alive: timeout=5\r\n",
    "Proxy-Connection: keep-alive\r\n",
    "Proxy-Authorization: Basic aGk=\r\n",
    "TE: trailers\r\n",
    "TE: gzip, trailers\r\n",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n",
    "Upgrade: websocket\r\nConnection: Upgrade\r\n",
    "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n",
    "Expect: 100-continue\r\n",
    "Expect: 200-ok\r\n",
    "X-Fold: a\r\n b\r\n",
    "X Space: a\r\n",
    "X-Colon : a\r\n",
    ": nameless\r\n",
    "nocolon\r\n",
    "X-Nul: a\0b\r\n",
    "X-Cr: a\rb\r\n",
    "X-Lf: a\nX-B: b\r\n",
    "X-High: \u{e9}\r\n",
    "X-Empty:\r\n",
    "X-\u{fc}: u\r\n",
    "Cookie: a=1\r\nCookie: b=2\r\n",
    "Trailer: X-T\r\n",
    "Content-Encoding: gzip\r\n",
    ":authority: other.example.com\r\n",
    "Content-Length_: 5\r\n",
    "Forwarded: host=other.example.com\r\n",
    "X-HTTP-Method-Override: DELETE\r\n",
    "X-Long: {w}{w}{w}{w}{w}{w}{w}{w}{w}{w}{w}{w}\r\n",
];

const PROPER_FRAMINGS: [(&str, &str); 4] = [
    ("", ""),
    ("Content-Length: 5\r\n", "hello"),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nTrailer: X-T\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n"),
];

const FRAMINGS: [(&str, &str); 41] = [
    ("Content-Length: 4\r\n", "hello"),
    ("Content-Length: 6\r\n", "hello"),
    ("Content-Length: +5\r\n", "hello"),
    ("Content-Length: 0x5\r\n", "hello"),
    ("Content-Length: -5\r\n", "hello"),
    ("Content-Length: 5 5\r\n", "hello"),
    ("Content-Length: 5, 5\r\n", "hello"),
    ("Content-Length: \r\n", "hello"),
    ("Content-Length: 05\r\n", "hello"),
    ("Content-Length: 99999999999999999999999\r\n", "hello"),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    ("Content-Length: 5\r\nContent-Length: 0\r\n", "hello"),
    ("Content-Length : 5\r\n", "hello"),
    ("Content-Length:\r\n 5\r\n", "hello"),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: identity\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: identity, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: xchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding : chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding:\x0bchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding:\r\n chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked;a=b\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5;ext=\"a;b\"\r\nhello\r\n0;x\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "0005\r\nhello\r\n000\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", " 5 \r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n"),
    ("Transfer-Encoding: chunked\r\n", "5;\nx\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhelloXX0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "4\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "fffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX-T : 1\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nContent-Length: 9\r\nHost: other.example.com\r\n\r\n"),
    (
        "Transfer-Encoding: chunked\r\nTrailer: Host, Connection, X-Hop\r\n",
        "5\r\nhello\r\n0\r\nHost: other.example.com\r\nConnection: X-Hop\r\nX-Hop: named-by-connection\r\n\r\n",
    ),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
];

const RESTS: [&str; 7] = [
    "\r\n\r\n",
    "GET /{w}/smuggled HTTP/1.1\r\nHost: {h}\r\n\r\n",
    "GET /{w}/cut HTTP/1.1\r\nHo",
    "\0\0\0",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "POST /{w}/second HTTP/1.1\r\nHost: {h}\r\nContent-Length: 3\r\n\r\nabc",
    "0\r\n\r\n",
];

const PSEUDO: [(&str, &str); 9] = [
    (":method", "GET"),
    (":path", "/{w}/other"),
    (":authority", "other.example.com"),
    (":scheme", "https"),
    (":status", "200"),
    (":foo", "bar"),
    (":protocol", "websocket"),
    (":", "x"),
    (":PATH", "/{w}/other"),
];

const AUTHORITIES: [&str; 9] =
    ["other.example.com", "{h}:443", "{h}:80", "user@{h}", "{h}.", "[{h}]", "", "{h}, other.example.com", "{h}/x"];

const FIELDS_2: [&[(&str, &str)]; 30] = [
    &[("connection", "x-hop"), ("x-hop", "named-by-connection")],
    &[("connection", "close")],
    &[("keep-alive", "timeout=5")],
    &[("te", "trailers")],
    &[("te", "gzip")],
    &[("transfer-encoding", "chunked")],
    &[("upgrade", "h2c")],
    &[("proxy-connection", "keep-alive")],
    &[("proxy-authorization", "Basic aGk=")],
    &[("host", "{h}")],
    &[("host", "other.example.com")],
    &[("host", "{h}"), ("host", "{h}")],
    &[("cookie", "a=1"), ("cookie", "b=2")],
    &[("X-Upper", "1")],
    &[("x-crlf", "a\r\nx-b: b")],
    &[("x-lf", "a\nb")],
    &[("x-nul", "a\0b")],
    &[("x-space", " a ")],
    &[("x name", "a")],
    &[("x:colon", "a")],
    &[("", "a")],
    &[("x-h\u{e9}", "a")],
    &[("x-high", "\u{e9}")],
    &[("expect", "100-continue")],
    &[("content-length", "5"), ("content-length", "5")],
    &[("content-encoding", "gzip")],
    &[("trailer", "x-t")],
    &[("http2-settings", "AAMAAABk")],
    &[("x-empty", "")],
    &[("x-tab", "a\tb")],
];

const TRAILERS: [&[(&str, &str)]; 8] = [
    &[("x-t", "1")],
    &[(":path", "/{w}/other")],
    &[("content-length", "9")],
    &[("host", "other.example.com")],
    &[("connection", "x-hop"), ("x-hop", "named-by-connection")],
    &[("transfer-encoding", "chunked")],
    &[("X-T", "1")],
    &[("x-crlf", "a\r\nb: c")],
];
