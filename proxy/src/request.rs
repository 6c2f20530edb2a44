//! An HTTP request becomes a [`Call`]: one reading, or refused.
//!
//! Enters: what hyper parsed, and the connection it came on. Leaves: method, normalised path, query and a head without the
//! fields that concern one hop only. Never: a request with two lengths, two hosts, a path with two readings, or an authority
//! that is not the connection's.

mod alike;
mod behind;
mod beside;
mod elsewhere;
mod form;
mod overriding;
mod witnesses;

use config::{CallFacts, CredentialName, Destination, Method, NormalPath, Scheme};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, IF_RANGE,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Request, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::ext::Protocol;

use crate::connection::Connection;
use crate::error::{Refusal, printable};
use crate::swap::{Head, Swap};
use crate::trace::Trace;
use crate::upstream::Body;
use crate::{grpc, limit, sign};

pub(crate) use alike::same;
pub(crate) use behind::Behind;
pub use beside::Beside;
pub use form::FormWatch;
pub(crate) use overriding::{overridden, overriding, overriding_parameter};

/// Fields that concern one hop (RFC 9110 section 7.6.1) or the way through a proxy; they are never passed on.
const HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What asks for a part of an answer: RFC 9110 section 14, and what Apache and Azure's storage take beside it.
const PARTS: [HeaderName; 4] =
    [RANGE, IF_RANGE, HeaderName::from_static("request-range"), HeaderName::from_static("x-ms-range")];

/// A request with one reading.
#[derive(Debug)]
pub struct Call {
    /// Where it goes: the connection's destination, with which its authority agrees.
    pub destination: Destination,
    /// `https` where the client's side is TLS.
    pub scheme: Scheme,
    /// The method.
    pub method: Method,
    /// The path in its normal form: this is judged, logged and sent.
    pub path: NormalPath,
    /// The query as it came, without the question mark.
    pub query: Option<String>,
    /// The HTTP version that the client speaks.
    pub version: Version,
    /// The head without hop-by-hop fields, `Host` and lengths.
    pub headers: HeaderMap,
    /// The trace that it is part of, where it says so.
    pub trace: Option<Trace>,
    /// What else it comes to.
    pub beside: Beside,
    /// The whole head as it came, where a signature by AWS's methods may be over it.
    pub signed_head: Option<Box<HeaderMap>>,
}

/// What the log says of a request that went no further, as it came.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) trace: Option<Trace>,
}

/// The same, before anything of it was judged. It is read only if it is told.
#[derive(Debug)]
pub(crate) struct Came {
    method: http::Method,
    uri: Uri,
    trace: Option<Trace>,
}

impl Came {
    pub(crate) fn of(request: &Request<Incoming>, swap: &Swap) -> Self {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Self { method, uri, trace: Trace::of(request.headers(), swap) }
    }

    pub(crate) fn told(self) -> Told {
        Told { method: self.method.to_string(), path: self.uri.path().to_owned(), trace: self.trace }
    }
}

/// What of a request is still on its way.
#[derive(Debug)]
pub struct Rest {
    /// The body as it comes.
    pub body: Incoming,
    /// The way to the raw connection, where the client asks for a WebSocket.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl Call {
    /// What a policy looks at.
    pub fn facts(&self) -> CallFacts<'_> {
        CallFacts { destination: &self.destination, scheme: self.scheme, method: &self.method, path: &self.path }
    }

    /// Reads a request that came on `connection`; a placeholder of `swap` is no trace.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], [`Refusal::MethodNotOffered`], [`Refusal::Witness`]; [`Refusal::Misdirected`] for a placeholder in the
    /// method, where no rule lets one be; [`Refusal::UnexaminedBody`] for a query in which one could hide.
    pub fn read(mut request: Request<Incoming>, connection: &Connection, swap: &Swap) -> Result<(Self, Rest), Refusal> {
        let version = request.version();
        let protocol = request.extensions().get::<Protocol>().map_or(&b""[..], AsRef::as_ref);
        swap.method(&connection.destination, request.method().as_str(), protocol)?;
        let websocket = wants_websocket(&request);
        if request.method() == http::Method::CONNECT && !websocket {
            return Err(Refusal::MethodNotOffered("CONNECT".to_owned()));
        }
        if websocket && version == Version::HTTP_11 && !request.body().is_end_stream() {
            // Servers that do not read it take it for the first messages, which nobody has looked at.
            return Err(Refusal::Malformed("a request that opens a WebSocket has a body".to_owned()));
        }
        framing(request.headers())?;
        one_type(request.headers())?;
        fields(request.headers())?;
        connection_options(request.headers())?;
        witnesses::agree(&request, connection)?;
        // An extended CONNECT asks for what is a GET over HTTP/1.1, and is judged as one.
        let method = if websocket { "GET" } else { request.method().as_str() };
        let method = method.parse().map_err(|error| malformed("method", &error))?;
        let path = match request.uri().path() {
            "" => "/",
            path => path,
        };
        let path = NormalPath::parse(path).map_err(|error| malformed("path", &error))?;
        let query = request.uri().query().map(str::to_owned);
        if !swap.is_empty() && query.as_deref().is_some_and(grpc::is_compressed) {
            return Err(Refusal::UnexaminedBody("its query has a message of Connect that is compressed".to_owned()));
        }
        let signed_head = sign::signed_head(request.headers(), request.uri());
        let upgrade = websocket.then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        let trailers = headers.get_all(TE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
        strip_hop(&mut headers);
        let trace = Trace::of(&headers, swap);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        headers.remove(HOST);
        remove_any(&mut headers, &[CONTENT_LENGTH, EXPECT]);
        join_cookies(&mut headers)?;
        let destination = connection.destination.clone();
        let scheme = connection.scheme;
        let beside = Beside::default();
        let mut call = Self { destination, scheme, method, path, query, version, headers, trace, beside, signed_head };
        call.beside = Beside::of(&call);
        Ok((call, Rest { body, upgrade }))
    }

    /// What a swap is judged by. A credential goes nowhere without TLS, whatever a rule says.
    pub fn head<'a>(&'a self, permitted: Option<&'a CredentialName>) -> Head<'a> {
        Head {
            destination: &self.destination,
            permitted: permitted.filter(|_| self.scheme == Scheme::Https),
            path: self.path.as_str(),
            query: self.query.as_deref(),
            headers: &self.headers,
        }
    }

    /// The request that was judged, and nothing else of what came.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] where its parts do not make one.
    pub fn request(&self, body: Body) -> Result<Request<Body>, Refusal> {
        let target = match &self.query {
            Some(query) => format!("{}?{query}", self.path.as_str()),
            None => self.path.as_str().to_owned(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.as_str().parse().map_err(|error| malformed("method", &error))?;
        *request.uri_mut() = Uri::try_from(target).map_err(|error| malformed("target", &error))?;
        request.headers_mut().clone_from(&self.headers);
        Ok(request)
    }
}

fn malformed(what: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Malformed(format!("{what}: {error}"))
}

/// One length, one way of framing (RFC 9112 section 6.3), of what hyper leaves of a head: over HTTP/1.1 it has refused lengths that differ or
/// are no numbers, reads equal ones as one, and reads by its chunks a body that has a length beside them, which it drops. None of that goes
/// upstream as it came: the body is framed anew, as it was read. What still could be read in two ways is refused, not repaired.
fn framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    let codings = headers.get_all(TRANSFER_ENCODING).iter().count();
    if lengths > 1 || codings > 1 || (lengths == 1 && codings == 1) {
        return Err(Refusal::Malformed("more than one Content-Length or Transfer-Encoding".to_owned()));
    }
    if let Some(coding) = headers.get(TRANSFER_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err(Refusal::Malformed("a Transfer-Encoding other than chunked".to_owned()));
    }
    Ok(())
}

/// One kind of body: of two, what looks for placeholders could go by the one and the server by the other.
fn one_type(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get_all(CONTENT_TYPE).iter().count() {
        0 | 1 => Ok(()),
        _ => Err(Refusal::Malformed("more than one Content-Type".to_owned())),
    }
}

/// Fields that go out over HTTP/1.1 and HTTP/2 alike, and that everyone reads alike: no blanks around a value (RFC 9113 section
/// 8.2.1; HTTP/1.1 knows no such value), no name that some take for another, and no more of them than a head over HTTP/1.1 may have.
fn fields(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.len() > limit::HEAD_FIELDS {
        return Err(Refusal::Malformed(format!("more than {} fields", limit::HEAD_FIELDS)));
    }
    match headers.iter().find(|(_, value)| value.as_bytes().trim_ascii() != value.as_bytes()) {
        Some((name, _)) => Err(Refusal::Malformed(format!("blanks around the value of `{name}`"))),
        None => alike::one_reading(headers),
    }
}

/// What `Connection` names is not passed on; a name that cannot be read might be one that a server reads.
fn connection_options(headers: &HeaderMap) -> Result<(), Refusal> {
    for value in headers.get_all(CONNECTION) {
        for option in value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if !option.is_empty() && HeaderName::from_bytes(option).is_err() {
                return Err(Refusal::Malformed(format!("Connection names `{}`, which is no field", printable(option))));
            }
        }
    }
    Ok(())
}

/// Only a WebSocket is upgraded to: by RFC 6455 from HTTP/1.1, by RFC 8441 from HTTP/2. Any other wish is stripped, which RFC 9110
/// section 7.8 lets a server do.
fn wants_websocket(request: &Request<Incoming>) -> bool {
    if request.version() == Version::HTTP_2 {
        let protocol = request.extensions().get::<Protocol>();
        return request.method() == http::Method::CONNECT
            && protocol.is_some_and(|protocol| protocol.as_ref() == b"websocket");
    }
    request.version() == Version::HTTP_11
        && request.method() == http::Method::GET
        && lists(request.headers(), &CONNECTION, "upgrade")
        && request.headers().get_all(UPGRADE).iter().count() == 1
        && lists(request.headers(), &UPGRADE, "websocket")
}

/// Whether a field that is a comma-separated list has `member`, whatever its case.
fn lists(headers: &HeaderMap, field: &HeaderName, member: &str) -> bool {
    headers
        .get_all(field)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(member))
}

/// Removes the fields of [`HOP`] and those that `Connection` names (RFC 9110 section 7.6.1).
pub(crate) fn strip_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    remove_any(headers, &HOP);
}

/// Whether a body is coded for one hop (RFC 9112 section 7): hyper sees to `chunked` and to nothing else, so what is in it would not be seen.
pub(crate) fn transfer_coded(headers: &HeaderMap) -> bool {
    let plain =
        |coding: &[u8]| [&b"chunked"[..], b"identity", b""].iter().any(|name| coding.eq_ignore_ascii_case(name));
    let mut codings =
        headers.get_all(TRANSFER_ENCODING).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    codings.any(|coding| !plain(coding.trim_ascii()))
}

/// Asks for an answer as a whole: a part of one shows less than what is looked for in it.
pub(crate) fn ask_for_all(headers: &mut HeaderMap) {
    remove_any(headers, &PARTS);
}

/// Removes fields of which a head mostly has none: to look at each that it has takes less than a search for each that it may have.
pub(crate) fn remove_any(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if headers.keys().any(|key| key == name) {
            headers.remove(name);
        }
    }
}

/// HTTP/2 clients may send a cookie in several fields; upstream gets one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Refusal> {
    if headers.get_all(COOKIE).iter().count() < 2 {
        return Ok(());
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).map_err(|error| malformed("Cookie", &error))?;
    headers.insert(COOKIE, joined);
    Ok(())
}

#[cfg(test)]
mod tests;
