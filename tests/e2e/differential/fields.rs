//! What the fields of a request have to be when it arrives: those that were sent, but for what concerns one hop, and no other.
//!
//! Enters: a case, and the target of one of its requests. Leaves: the fields that are to arrive before its body and those that may behind
//! it, sorted. Never: a rule taken from exeat: these are RFC 9110's, and what exeat says of itself.

use serde_json::Value;

use super::cases::Case;

/// Names in lower case, and values.
pub type Fields = Vec<(String, String)>;

/// Of one hop (RFC 9110 section 7.6.1), or of a proxy.
const ONE_HOP: [&str; 9] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
/// Each hop says these by itself: to whom it goes and how long it is, which the strict readers and the log see to.
const ITS_OWN: [&str; 3] = ["content-length", "expect", "host"];
/// What a request that follows another one is told by.
const FOLLOWING: [&str; 4] = ["/smuggled", "/cut", "/second", "/end"];

/// Whether a request with this target stands behind the one that the case is about.
pub fn is_following(case: &Case, target: &str) -> bool {
    FOLLOWING.iter().any(|suffix| target == format!("/{}{suffix}", case.word))
}

/// What was sent of the request with this target.
struct Sent {
    head: Fields,
    trailers: Fields,
}

impl Sent {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Members of a field that is a list.
    fn lists(&self, name: &str, member: &str) -> bool {
        self.values(name).flat_map(|value| value.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(member))
    }
}

/// What is to be before the body, and what may be behind it.
pub fn expected(case: &Case, method: &str, target: &str) -> (Fields, Fields) {
    let sent = if case.line["protocol"] == "h1" { by_line(case, target) } else { by_frame(case, target) };
    let websocket = method == "GET"
        && sent.lists("connection", "upgrade")
        && sent.values("upgrade").count() == 1
        && sent.lists("upgrade", "websocket");
    let passes = |(name, _): &&(String, String)| {
        let one_hop = ONE_HOP.contains(&&**name) || sent.lists("connection", name);
        !one_hop && !ITS_OWN.contains(&&**name)
    };
    let mut head: Fields = sent.head.iter().filter(passes).filter(|(name, _)| name != "cookie").cloned().collect();
    // RFC 9113 section 8.2.3: they are one field.
    let cookies: Vec<_> = sent.values("cookie").collect();
    if !cookies.is_empty() {
        head.push(("cookie".to_owned(), cookies.join("; ")));
    }
    if sent.values("te").any(|value| value.eq_ignore_ascii_case("trailers")) {
        head.push(("te".to_owned(), "trailers".to_owned()));
    }
    if websocket {
        head.push(("upgrade".to_owned(), "websocket".to_owned()));
    }
    head.sort();
    let mut trailers: Fields = sent.trailers.iter().filter(passes).cloned().collect();
    trailers.sort();
    (head, trailers)
}

/// Read leniently: what exeat lets out of what is odd is to be what anybody would read.
fn by_line(case: &Case, target: &str) -> Sent {
    let hexadecimal = case.line["bytes"].as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| char::from(u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    let text: String = hexadecimal.chunks(2).map(byte).collect();
    let following = FOLLOWING.iter().map(|suffix| format!("/{}{suffix}", case.word)).find(|path| target == path);
    let from = following.map_or(0, |path| {
        let line = text.find(&format!(" {path} ")).unwrap_or_else(|| panic!("{target} was never sent: {text:?}"));
        text[..line].rfind('\n').map_or(0, |before| before + 1)
    });
    let lines = text[from..].split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut lines = lines.skip_while(|line| line.is_empty()).skip(1);
    let head = fields(&mut lines);
    let chunked = head.iter().any(|(name, value)| name == "transfer-encoding" && value.eq_ignore_ascii_case("chunked"));
    let last =
        |line: &&str| line.split(';').next().is_some_and(|size| !size.is_empty() && size.bytes().all(|b| b == b'0'));
    let trailers = if chunked { fields(&mut lines.skip_while(|line| !last(line)).skip(1)) } else { Fields::new() };
    Sent { head, trailers }
}

/// To the empty line.
fn fields<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Fields {
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned())
    };
    lines.take_while(|line| !line.is_empty()).map(field).collect()
}

fn by_frame(case: &Case, target: &str) -> Sent {
    let steps = case.line["steps"].as_array().unwrap();
    let end = target == format!("/{}/end", case.word);
    let pairs = |step: &Value| -> Fields {
        let pair = |pair: &Value| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned());
        step["fields"].as_array().unwrap().iter().map(pair).filter(|(name, _)| !name.starts_with(':')).collect()
    };
    let heads = steps.iter().filter(|step| step.get("fields").is_some() && (step["stream"] == 5) == end);
    let mut heads = heads.map(pairs);
    Sent { head: heads.next().unwrap(), trailers: heads.next().unwrap_or_default() }
}

#[test]
fn what_is_to_arrive_is_what_was_sent_but_for_one_hop() {
    let text = "GET /case1z/a HTTP/1.1\r\nHost: h\r\nConnection: X-Hop, te\r\nx-hop: 1\r\nTE: trailers\r\nCookie: a\r\n\
        cookie:b \r\nX-B: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n\
        GET /case1z/end HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 1\r\n\r\n";
    let bytes: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let case =
        Case { word: "case1z".to_owned(), line: serde_json::json!({ "protocol": "h1", "bytes": bytes }), body: None };
    let pairs =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let head: Fields = pairs(&[("cookie", "a; b"), ("te", "trailers"), ("x-b", "2")]);
    assert_eq!(expected(&case, "GET", "/case1z/a"), (head, pairs(&[("x-t", "1")])));
    assert_eq!(expected(&case, "GET", "/case1z/end"), (pairs(&[("x-a", "1"), ("x-a", "1")]), Fields::new()));
}
