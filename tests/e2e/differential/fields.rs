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

/// What is to be before the body, and what may be behind it, of a request with this target that says which case it is of or does not. One of these
/// where it stands more than once in what was sent; none where that cannot be told from what stands before it.
pub fn expected(case: &Case, method: &str, target: &str, says_its_case: bool) -> Vec<(Fields, Fields)> {
    let is_text = case.line["protocol"] == "h1";
    let sent = if is_text { by_line(case, target, says_its_case) } else { vec![by_frame(case, target)] };
    sent.iter().map(|sent| passing(sent, method)).collect()
}

fn passing(sent: &Sent, method: &str) -> (Fields, Fields) {
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
fn by_line(case: &Case, target: &str, says_its_case: bool) -> Vec<Sent> {
    let hexadecimal = case.line["bytes"].as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| char::from(u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    let text: String = hexadecimal.chunks(2).map(byte).collect();
    if says_its_case || !(case.is_odd_behind || is_following(case, target)) {
        return vec![request(&text)];
    }
    let begins = |at: usize| text[..at].rfind('\n').map_or(0, |before| before + 1);
    let line = format!(" {target} ");
    let all: Vec<Sent> = text.match_indices(&line).map(|(at, _)| request(&text[begins(at)..])).collect();
    assert!(!all.is_empty() || case.is_odd_behind, "{target} was never sent: {text:?}");
    all
}

/// What stands at the beginning of a text.
fn request(mut left: &str) -> Sent {
    while let Some(rest) = left.strip_prefix("\r\n").or(left.strip_prefix('\n')) {
        left = rest;
    }
    line(&mut left);
    let head = fields(&mut left);
    let chunked = head.iter().any(|(name, value)| name == "transfer-encoding" && value.eq_ignore_ascii_case("chunked"));
    if !chunked {
        return Sent { head, trailers: Fields::new() };
    }
    skip_chunks(&mut left);
    Sent { head, trailers: fields(&mut left) }
}

/// To the end of the last chunk's line, or of all there is: sizes with whatever stands around their digits.
fn skip_chunks(left: &mut &str) {
    while !left.is_empty() {
        let digits: String = line(left).trim().chars().take_while(char::is_ascii_hexdigit).collect();
        match usize::from_str_radix(&digits, 16) {
            Ok(0) => return,
            Ok(size) => {
                *left = left.char_indices().nth(size).map_or("", |(at, _)| &left[at..]);
                line(left);
            }
            Err(_) => *left = "",
        }
    }
}

/// The next line, with either end.
fn line<'a>(left: &mut &'a str) -> &'a str {
    let (line, rest) = left.split_once('\n').unwrap_or((left, ""));
    *left = rest;
    line.strip_suffix('\r').unwrap_or(line)
}

/// To the empty line.
fn fields(left: &mut &str) -> Fields {
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned())
    };
    std::iter::from_fn(|| Some(line(left)).filter(|line| !line.is_empty())).map(field).collect()
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
    let case = Case {
        word: "case1z".to_owned(),
        line: serde_json::json!({ "protocol": "h1", "bytes": bytes }),
        body: None,
        is_odd_behind: false,
    };
    let pairs =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let head: Fields = pairs(&[("cookie", "a; b"), ("te", "trailers"), ("x-b", "2")]);
    assert_eq!(expected(&case, "GET", "/case1z/a", true), [(head, pairs(&[("x-t", "1")]))]);
    let end = (pairs(&[("x-a", "1"), ("x-a", "1")]), Fields::new());
    assert_eq!(expected(&case, "GET", "/case1z/end", false), [end]);
}
