//! What the canary at the end of all calls has heard, as a strict server reads it (RFC 9112).
//!
//! Enters: the bytes of one connection, as many as have come. Leaves: the requests in them, the last perhaps not whole, and whatever follows
//! that is none. Never: a guess: two lengths, a bare newline, a folded field or a chunk that is none end the reading.

use serde::{Deserialize, Serialize};

/// What it answers with, and what the battery judges by.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// The word of the run: nobody else answers so.
    pub(crate) word: String,
    /// What came on this connection.
    pub(crate) requests: Vec<Request>,
    /// Bytes that are no request, in hexadecimal.
    pub(crate) rest: String,
    /// What had come on other connections, without an answer, since that was last asked for.
    pub(crate) unanswered: Vec<Request>,
}

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Method, target and version.
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
    /// In hexadecimal, as far as it has come.
    pub(crate) body: String,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether it has come to its end.
    pub(crate) whole: bool,
}

impl Request {
    /// The first field of a name in small letters.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// With no more of its body than what came last: a long one would be too much to tell.
    pub(crate) fn in_short(mut self) -> Self {
        const TOLD: usize = 1024;
        self.body.drain(..self.body.len().saturating_sub(TOLD) & !1);
        self
    }

    /// Whether a text is anywhere in it.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let fields = self.fields.iter().chain(&self.trailers).flat_map(|(name, value)| [name, value]);
        fields.chain([&self.line]).any(|part| part.contains(text)) || self.body.contains(&hex(text.as_bytes()))
    }
}

/// The text of bytes in which nobody else finds what was in them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads all there is. The rest is what no request begins with.
pub(crate) fn read(mut bytes: &[u8]) -> (Vec<Request>, &[u8]) {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        match one(bytes) {
            Some((request, behind)) => {
                let whole = request.whole;
                requests.push(request);
                bytes = behind;
                if !whole {
                    break;
                }
            }
            None => return (requests, bytes),
        }
    }
    (requests, bytes)
}

/// Whether a head begins that may yet become whole.
pub(crate) fn may_go_on(rest: &[u8]) -> bool {
    !rest.windows(4).any(|window| window == b"\r\n\r\n")
}

/// `None` for what is no request, or has not all of its head yet.
fn one(bytes: &[u8]) -> Option<(Request, &[u8])> {
    let (head, mut rest) = split(bytes, b"\r\n\r\n")?;
    let mut lines = text(head)?.split("\r\n");
    let line = lines.next()?.to_owned();
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
    if !is_token(method) || target.is_empty() {
        return None;
    }
    let fields: Vec<(String, String)> = lines.map(field).collect::<Option<_>>()?;
    let all = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    };
    let mut request = Request { line: line.clone(), fields: fields.clone(), ..Request::default() };
    match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => request.whole = true,
        ([length], []) => {
            let length: usize = length.parse().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit()))?;
            let body;
            (body, rest) = rest.split_at(length.min(rest.len()));
            request.whole = body.len() == length;
            request.body = hex(body);
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => rest = chunks(&mut request, rest)?,
        _ => return None,
    }
    Some((request, rest))
}

fn chunks<'a>(request: &mut Request, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        let Some((line, behind)) = split(rest, b"\r\n") else { return Some(rest) };
        let size = text(line)?.split(';').next()?;
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return trailers(request, behind);
        }
        let (chunk, behind) = behind.split_at(size.min(behind.len()));
        request.body += &hex(chunk);
        rest = match behind {
            [b'\r', b'\n', behind @ ..] => behind,
            // It may be on its way.
            [] | b"\r" => return Some(&[]),
            _ => return None,
        };
    }
}

fn trailers<'a>(request: &mut Request, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        let Some((line, behind)) = split(rest, b"\r\n") else { return Some(rest) };
        rest = behind;
        if line.is_empty() {
            request.whole = true;
            return Some(rest);
        }
        request.trailers.push(field(text(line)?)?);
    }
}

/// One field of one line, which is not folded.
fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let plain = !line.contains(['\r', '\n', '\0']);
    (plain && is_token(name)).then(|| (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..found], &bytes[found + at.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_reading_is_read() {
        let text = b"PUT /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        let (requests, rest) = read(text);
        assert_eq!((requests.len(), rest), (2, &b""[..]));
        assert_eq!((requests[0].body.as_str(), requests[0].field("host")), ("616263", Some("a")));
        assert_eq!(requests[0].trailers, [("X".to_owned(), "y".to_owned())]);
        assert!(requests.iter().all(|request| request.whole));
        for cut in text.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4..text.len() - 18 {
            let (requests, _) = read(&text[..cut]);
            assert_eq!((requests.len(), requests[0].whole), (1, false), "{cut}");
        }
        assert!(requests[0].holds("bc") && !requests[0].holds("bd"));
    }

    #[test]
    fn what_has_two_readings_ends_the_reading() {
        for text in [
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "GET / HTTP/1.1\r\nX: a\nY: b\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        ] {
            let (requests, rest) = read(text.as_bytes());
            assert!(requests.is_empty() && rest == text.as_bytes(), "{text:?} {requests:?}");
            assert!(!may_go_on(rest));
        }
        assert!(may_go_on(b"GET / HTTP/1.1\r\nHost: a\r\n"));
    }
}
