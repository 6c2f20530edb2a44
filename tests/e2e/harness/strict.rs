//! A strict reader of HTTP/1.1 requests, as unforgiving as RFC 9112 lets a server be.
//!
//! Enters: the bytes that an upstream received. Leaves: the requests in them, or why they have no single reading. Never: a
//! repair.

/// A request with one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target, in origin form.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Without the chunks' framing.
    pub body: Vec<u8>,
    /// Names in lower case, and values.
    pub trailers: Vec<(String, String)>,
}

/// A body, its trailers, and how many bytes they took.
type Framed = (Vec<u8>, Vec<(String, String)>, usize);

/// All requests in `bytes`, to the last byte.
pub fn requests(bytes: &[u8]) -> Result<Vec<Request>, String> {
    match whole_requests(bytes)? {
        (found, length) if length == bytes.len() => Ok(found),
        _ => Err("it ends within a request".to_owned()),
    }
}

/// All requests that are whole, and how many bytes they took; behind them there may be one that is not.
pub fn whole_requests(bytes: &[u8]) -> Result<(Vec<Request>, usize), String> {
    let (mut found, mut taken) = (Vec::new(), 0);
    while let Some((request, length)) = one(&bytes[taken..])? {
        found.push(request);
        taken += length;
    }
    Ok((found, taken))
}

/// The first request and its length; `None` while it is not whole.
pub fn one(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    // Bytes above ASCII are opaque, and may stand in values (RFC 9110 section 5.5); everything else is checked below.
    let head: String = bytes[..end].iter().map(|&byte| char::from(byte)).collect();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("request line {line:?}"));
    };
    if !is_name(method) || !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("request line {line:?}"));
    }
    let headers = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    let values =
        |name: &str| headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>();
    if values("host").len() != 1 {
        return Err(format!("{} Host fields", values("host").len()));
    }
    let rest = &bytes[end + 4..];
    let body = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Some((Vec::new(), Vec::new(), 0)),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length = length.parse::<usize>().map_err(|error| error.to_string())?;
            rest.get(..length).map(|body| (body.to_vec(), Vec::new(), length))
        }
        ([], ["chunked"]) => chunked(rest)?,
        framing => return Err(format!("framing {framing:?}")),
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(body.map(|(body, trailers, length)| (Request { method, target, headers, body, trailers }, end + 4 + length)))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("field {line:?}"))?;
    if !is_name(name) || value.bytes().any(|byte| byte != b'\t' && (byte < 0x20 || byte == 0x7f)) {
        return Err(format!("field {line:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

fn chunked(mut rest: &[u8]) -> Result<Option<Framed>, String> {
    let (whole, mut body, mut trailers) = (rest.len(), Vec::new(), Vec::new());
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size =
            std::str::from_utf8(&rest[..end]).ok().filter(|size| size.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).ok_or("the size of a chunk")?;
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        let (Some(chunk), Some(after)) = (rest.get(..size), rest.get(size..size + 2)) else { return Ok(None) };
        if after != b"\r\n" {
            return Err("a chunk longer than its size".to_owned());
        }
        body.extend_from_slice(chunk);
        rest = &rest[size + 2..];
    }
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| "a trailer that is not text")?;
        rest = &rest[end + 2..];
        if line.is_empty() {
            return Ok(Some((body, trailers, whole - rest.len())));
        }
        trailers.push(field(line)?);
    }
}

#[test]
fn the_strict_reader_is_strict() {
    let reads = |text: &str| requests(text.as_bytes()).map(|found| found.len());
    assert_eq!(reads("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(1));
    assert_eq!(
        reads("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        Ok(2)
    );
    assert_eq!(reads("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Ok(1));
    for bad in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nleft over",
    ] {
        assert!(reads(bad).is_err(), "{bad:?}");
    }
}
