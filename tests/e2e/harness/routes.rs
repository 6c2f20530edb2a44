//! What the upstream answers, by the first part of the path.
//!
//! Enters: a request. Leaves: the answer of its route, and the request in the upstream's log: its head when it arrives, its
//! body as it is read. Never: anything that knows of placeholders; a real API does not either.

use std::time::{Duration, Instant};

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::RUNTIME;
use super::bodies::{self, Body};
use super::evidence::real_credential;
use super::upstream::{Answers, Log, Refused, Seen};

/// Bodies that are remembered; of longer ones the beginning.
const REMEMBERED: usize = 256 * 1024;

/// Answers one request.
pub async fn answer(mut request: Request<Incoming>, log: Log, refused: Refused, answers: Answers) -> Response<Body> {
    let index = remember(&request, &log);
    let (refused, after) = refused.lock().unwrap().clone();
    let uri = request.uri().clone();
    let query = uri.query().unwrap_or_default();
    let mut parts = uri.path().trim_start_matches('/').split('/');
    let (route, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if route == "ws" && !shows_any(&log, index, &refused) {
        return websocket(&mut request, rest == "reversed");
    }
    if route == "deaf" {
        tokio::time::sleep(Duration::from_millis(number(query, "ms", 1000))).await;
        return bodies::answer(200, "text/plain", Body::whole("what?\n"));
    }
    if route == "early" {
        return early(request.into_body(), rest, log, index);
    }
    let shown = shown(&request, query);
    let echo = echo(&request);
    let body = read(request.into_body(), &log, index).await;
    if shows_any(&log, index, &refused) {
        tokio::time::sleep(after).await;
        return unknown("Bearer");
    }
    if let Some((_, text)) = answers.iter().find(|(path, _)| *path == uri.path()) {
        let shown = if shown == "nothing" { shown_in_form(&body.0).unwrap_or(shown) } else { shown };
        return if shown == "nothing" { unknown("Basic realm=\"house\"") } else { written(text, &shown) };
    }
    match route {
        "sse" => events(number(query, "n", 5), number(query, "ms", 200)),
        "trailers" => trailers(&shown),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number(query, "ms", 1000))).await;
            bodies::answer(200, "text/plain", Body::whole("slow\n"))
        }
        "big" => big(number(query, "bytes", 1 << 20)),
        "npm" => bodies::json(200, &json!({ "username": "bot" })),
        "upload" => bodies::json(200, &json!({ "bytes": body.1 })),
        "status" => bodies::answer(rest.parse().unwrap_or(200), "text/plain", Body::whole(format!("status {rest}\n"))),
        "coded" => coded(rest, &shown).await,
        "leak" => leak(rest, &shown),
        "alt-svc" => services(rest),
        _ => {
            let mut echo = echo;
            echo["body"] = String::from_utf8_lossy(&body.0).into();
            bodies::json(200, &echo)
        }
    }
}

/// Whether a request has one of these credentials.
fn shows_any(log: &Log, index: usize, credentials: &[String]) -> bool {
    let seen = log.lock().unwrap()[index].clone();
    credentials.iter().any(|credential| seen.shows(credential))
}

/// A shorter one may be what a test's command made up, and is told.
const MADE_UP: usize = 16;
/// One of another worker is nothing but text here.
const PLACEHOLDER: &str = "exeat_";

fn remember(request: &Request<Incoming>, log: &Log) -> usize {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let seen = Seen {
        method: request.method().to_string(),
        target: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        version: format!("{:?}", request.version()),
        headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: Vec::new(),
        pieces: Vec::new(),
    };
    // Whatever an issuer out of this process gave, or exeat signed: here it is seen.
    let authorization = seen.headers.iter().filter(|(name, _)| name == "authorization");
    for shown in authorization.filter_map(|(_, value)| shown_in(value)) {
        if shown.len() >= MADE_UP && !shown.starts_with(PLACEHOLDER) {
            real_credential(&shown);
        }
    }
    let mut log = log.lock().unwrap();
    log.push(seen);
    log.len() - 1
}

/// Answers before the body has come: with the head alone, the whole of it, or a status for which nothing is read.
fn early(body: Incoming, way: &str, log: Log, index: usize) -> Response<Body> {
    if let Ok(status) = way.parse() {
        return bodies::answer(status, "text/plain", Body::whole("too early\n"));
    }
    let (feed, rest) = Body::fed();
    RUNTIME.spawn(async move {
        let (_, length) = read(body, &log, index).await;
        feed.piece(format!("{length}\n")).await;
    });
    bodies::answer(200, "text/plain", if way == "whole" { Body::whole("whole\n") } else { rest })
}

/// Reads the whole body, remembers its beginning and when its pieces came. Leaves the beginning and the length.
async fn read(mut body: Incoming, log: &Log, index: usize) -> (Vec<u8>, u64) {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(piece) = frame.into_data() else { continue };
        length += piece.len() as u64;
        kept.extend_from_slice(&piece[..piece.len().min(REMEMBERED - kept.len())]);
        let mut log = log.lock().unwrap();
        log[index].body.clone_from(&kept);
        log[index].pieces.push(Instant::now());
    }
    (kept, length)
}

fn number(query: &str, name: &str, otherwise: u64) -> u64 {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.map_or(otherwise, |value| value.parse().unwrap())
}

/// What the client proved itself with: its bearer credential, the password of Basic, an API key in a header or the query, or
/// whatever else it calls its authorization.
fn shown(request: &Request<Incoming>, query: &str) -> String {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").unwrap_or_default();
    if let Some(bearer) = authorization.strip_prefix("Bearer ").or_else(|| authorization.strip_prefix("token ")) {
        return bearer.to_owned();
    }
    if let Some(basic) = authorization.strip_prefix("Basic ") {
        let pair = String::from_utf8(BASE64_STANDARD.decode(basic).unwrap()).unwrap();
        return pair.split_once(':').unwrap().1.to_owned();
    }
    let in_query = query.split('&').find_map(|pair| pair.strip_prefix("key="));
    let bare = Some(authorization).filter(|bare| !bare.is_empty());
    header("x-api-key").or(in_query).or(bare).unwrap_or("nothing").to_owned()
}

/// What a client proved itself with in its authorization: a bearer credential, or the password of Basic.
fn shown_in(authorization: &str) -> Option<String> {
    let Some(basic) = authorization.strip_prefix("Basic ") else {
        return authorization.strip_prefix("Bearer ").map(str::to_owned);
    };
    let pair = String::from_utf8(BASE64_STANDARD.decode(basic).ok()?).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

/// What an OAuth client proved itself with.
fn shown_in_form(body: &[u8]) -> Option<String> {
    let form = std::str::from_utf8(body).ok()?;
    let secret = form.split('&').find_map(|pair| pair.strip_prefix("client_secret="))?;
    Some(percent_encoding::percent_decode_str(secret).decode_utf8().unwrap().into_owned())
}

fn echo(request: &Request<Incoming>) -> serde_json::Value {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| json!([name.as_str(), text(value)])).collect();
    json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": request.uri().query(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    })
}

/// To those who do not say who they are, or are no longer who they say.
fn unknown(challenge: &str) -> Response<Body> {
    with(bodies::answer(401, "text/plain", Body::whole("who?\n")), &[("www-authenticate", challenge)])
}

/// What somebody wrote for this path; its type is as it looks.
fn written(text: &str, shown: &str) -> Response<Body> {
    let kind = match text.as_bytes().first() {
        Some(b'{' | b'[') => "application/json",
        Some(b'<') if text.starts_with("<?xml") => "application/xml",
        Some(b'<') => "text/html",
        _ => "text/plain",
    };
    bodies::answer(200, kind, Body::whole(text.replace("{shown}", shown)))
}

fn with(mut answer: Response<Body>, headers: &[(&'static str, &str)]) -> Response<Body> {
    for (name, value) in headers {
        answer.headers_mut().append(*name, value.parse().unwrap());
    }
    answer
}

fn events(count: u64, pause: u64) -> Response<Body> {
    let (feed, body) = Body::fed();
    RUNTIME.spawn(async move {
        for event in 0..count {
            if event > 0 {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            feed.piece(format!("data: event {event}\n\n")).await;
        }
    });
    bodies::answer(200, "text/event-stream", body)
}

fn trailers(shown: &str) -> Response<Body> {
    let (feed, body) = Body::fed();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("abc123"));
    trailers.insert("x-shown", shown.parse().unwrap());
    RUNTIME.spawn(async move {
        feed.piece("with trailers\n").await;
        feed.trailers(trailers).await;
    });
    with(bodies::answer(200, "text/plain", body), &[("trailer", "x-checksum, x-shown")])
}

/// Tells where else it is to be had: with this status, or in the trailers.
fn services(way: &str) -> Response<Body> {
    const HERE: [(&str, &str); 2] = [("alt-svc", "h3=\":443\"; ma=86400"), ("alt-svc", "h2=\"other.example.com:443\"")];
    if way != "trailers" {
        return with(bodies::answer(way.parse().unwrap_or(200), "text/plain", Body::whole("h3?\n")), &HERE);
    }
    let ((feed, body), mut trailers) = (Body::fed(), HeaderMap::new());
    trailers.insert("x-checksum", HeaderValue::from_static("abc123"));
    HERE.into_iter().for_each(|(name, value)| _ = trailers.append(name, HeaderValue::from_static(value)));
    RUNTIME.spawn(async move {
        feed.piece("h3?\n").await;
        feed.trailers(trailers).await;
    });
    with(bodies::answer(200, "text/plain", body), &[("trailer", "x-checksum, alt-svc")])
}

/// So many bytes, each its offset modulo 251.
fn big(bytes: u64) -> Response<Body> {
    const PIECE: u64 = 251 * 256;
    let piece: Vec<u8> = (0..PIECE).map(|offset| u8::try_from(offset % 251).unwrap()).collect();
    let piece = bytes::Bytes::from(piece);
    let (feed, body) = Body::fed();
    RUNTIME.spawn(async move {
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left.min(PIECE)).unwrap();
            if !feed.piece(piece.slice(..now)).await {
                break;
            }
            left -= now as u64;
        }
    });
    with(bodies::answer(200, "application/octet-stream", body), &[("content-length", &bytes.to_string())])
}

/// A compressed page that shows what the client proved itself with.
async fn coded(coding: &str, shown: &str) -> Response<Body> {
    let page = format!("{}you sent {shown}, and again {shown}.\n", "padding that compresses well. ".repeat(200));
    macro_rules! encode {
        ($encoder:ident) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all(page.as_bytes()).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }
    let bytes = match coding {
        "gzip" => encode!(GzipEncoder),
        "br" => encode!(BrotliEncoder),
        "zstd" => encode!(ZstdEncoder),
        "deflate" => encode!(ZlibEncoder),
        _ => page.into_bytes(),
    };
    with(bodies::answer(200, "text/plain", Body::whole(bytes)), &[("content-encoding", coding)])
}

/// The credential given back, in one of the ways in which servers do.
fn leak(way: &str, shown: &str) -> Response<Body> {
    let text = |body: String| bodies::answer(200, "text/plain", Body::whole(body));
    match way {
        "head" => with(
            text("in the head\n".to_owned()),
            &[
                ("set-cookie", &format!("session={shown}; Secure")),
                ("set-cookie", "theme=dark"),
                ("x-request-authorization", &format!("Bearer {shown}")),
                ("location", &format!("https://api.example.com/next?key={shown}&page=2")),
                ("x-basic", &BASE64_STANDARD.encode(format!("user:{shown}"))),
            ],
        ),
        "pieces" => {
            let (feed, body) = Body::fed();
            let page = format!("before {shown} between {shown} after\n");
            RUNTIME.spawn(async move {
                for byte in page.into_bytes() {
                    feed.piece(vec![byte]).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
            bodies::answer(200, "text/plain", body)
        }
        "base64" => {
            let forms = ["", "u", "us", "usr:"].map(|before| BASE64_STANDARD.encode(format!("{before}{shown}")));
            text(forms.join("\n") + "\n")
        }
        "percent" => text(format!("all={}\nsome={}\n", percent(shown, true), percent(shown, false))),
        "json" => {
            bodies::json(200, &json!({ "authorization": format!("Bearer {shown}"), "nested": { "again": [shown] } }))
        }
        "error" => bodies::answer(401, "text/html", Body::whole(format!("<h1>{shown} is not welcome</h1>\n"))),
        _ => text(format!("{shown}\n")),
    }
}

/// Percent-encoded: every byte, or only those that a form has to encode.
fn percent(text: &str, all: bool) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' if !all => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Agrees to a WebSocket (RFC 6455) and sends every frame back, unmasked; below `/ws/reversed` the other way round. To `leak` it says the `Authorization` of the request, in
/// one message that comes a byte at a time.
fn websocket(request: &mut Request<Incoming>, reversed: bool) -> Response<Body> {
    let leak = request.headers().get("authorization").map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    let key = request.headers().get("sec-websocket-key").map(|key| key.as_bytes().to_vec()).unwrap_or_default();
    let accept = [&key[..], b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &accept);
    let upgraded = hyper::upgrade::on(request);
    RUNTIME.spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let mut stream = TokioIo::new(upgraded);
        let _: std::io::Result<()> = async {
            loop {
                let mut head = [0; 6];
                stream.read_exact(&mut head).await?;
                // Masked, as all that clients send. The head goes back as it came, but for the mask.
                let more = match head[1] & 0x7f {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                let mut rest = vec![0; more];
                stream.read_exact(&mut rest).await?;
                let head = [&head[..], &rest].concat();
                let (mask, head) = (&head[2 + more..], &[&[head[0], head[1] & 0x7f], &head[2..2 + more]].concat());
                let short = usize::from(head[1]);
                let length = head[2..].iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
                let length = if more == 0 { short } else { length };
                let mut payload = vec![0; length];
                stream.read_exact(&mut payload).await?;
                payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
                if reversed && head[0] & 0x08 == 0 {
                    payload.reverse();
                }
                if payload == b"leak" {
                    for byte in [&[head[0], u8::try_from(leak.len()).unwrap()], &leak[..]].concat() {
                        stream.write_all(&[byte]).await?;
                        stream.flush().await?;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    continue;
                }
                stream.write_all(&[head, &payload[..]].concat()).await?;
            }
        }
        .await;
    });
    let accept = BASE64_STANDARD.encode(digest);
    let head = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", &*accept)];
    with(Response::builder().status(101).body(Body::empty()).unwrap(), &head)
}
