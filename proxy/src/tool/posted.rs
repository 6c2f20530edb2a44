//! The body of a request, whole.
//!
//! Enters: headers and a body that streams. Leaves: its bytes, in a place of their own. Never: more of them than the bound; a
//! coding or a charset that would have to be guessed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

use super::objection::Why;
use super::room::{Place, Room};
use crate::error::Refusal;
use crate::limit;
use crate::upstream::Body;

/// A body that was read to its end.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    pub(super) bytes: Bytes,
    place: Place,
}

impl Posted {
    /// What it is.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same bytes, on their way upstream. What was in trailers was not judged, and stays here.
    pub(crate) fn into_body(self) -> Body {
        Held { rest: self.bytes, _place: self.place }.map_err(|never| match never {}).boxed_unsync()
    }
}

/// Bytes that keep their place until they are gone.
struct Held {
    rest: Bytes,
    _place: Place,
}

/// What goes on at once, so that looking through it takes no longer than others can wait.
const PIECE: usize = 64 * 1024;

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        Poll::Ready((!piece.is_empty()).then_some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Reads a body up to the bound; the inner error is for one that is longer.
pub(super) async fn whole(room: &Room, body: Body) -> Result<Result<Posted, Why>, Refusal> {
    if body.is_end_stream() {
        return Ok(Ok(Posted::default()));
    }
    let late = |_| Refusal::Malformed("so many bodies are being judged that there is no room for this one".to_owned());
    let place = tokio::time::timeout(limit::EXAMINED_BODY_WAIT, room.body()).await.map_err(late)?;
    let whole = up_to(place, body, limit::JUDGED_BODY).await?;
    Ok(whole.ok_or_else(|| Why::too_large(limit::JUDGED_BODY)))
}

/// Reads a body up to a bound into a place; `None` for one that is longer.
pub(crate) async fn up_to(place: Place, mut body: Body, most: usize) -> Result<Option<Posted>, Refusal> {
    let whole = async {
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(Refusal::of_body)?;
            let Ok(bytes) = frame.into_data() else { continue };
            if whole.len() + bytes.len() > most {
                return Ok(None);
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(Some(Posted { bytes: whole.freeze(), place }))
    };
    let late = |_| Err(Refusal::Malformed("the body did not arrive in time".to_owned()));
    tokio::time::timeout(limit::EXAMINED_BODY_WAIT, whole).await.unwrap_or_else(late)
}

/// Whether the head says that the body is JSON in UTF-8, as it is.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Why> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Why::form("in a content coding, which hides what it asks for", "send the body uncompressed"));
    }
    let ask = "send it once, as `Content-Type: application/json`";
    let json = essence(headers).is_some_and(|essence| essence == "application/json");
    json.then_some(()).ok_or_else(|| Why::form("not of the one content type that is judged", ask))
}

/// The content type, where there is one, and none but UTF-8 is named as its charset.
pub(super) fn essence(headers: &HeaderMap) -> Option<String> {
    let value = only(headers, &CONTENT_TYPE)?.to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next()?.to_owned();
    let utf8 = |parameter: &str| matches!(parameter, "charset=utf-8" | "charset=\"utf-8\"");
    (parts.next().is_none_or(utf8) && parts.next().is_none()).then_some(essence)
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::Full;

    use super::*;

    fn taken(types: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in types {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
        }
        is_json(&headers).is_ok()
    }

    #[test]
    fn only_json_in_utf_8_is_judged() {
        assert!(taken(&["application/json"]) && taken(&["Application/JSON; charset=UTF-8"]));
        for types in [
            &[][..],
            &["application/json", "application/json"],
            &["text/plain"],
            &["application/json; charset=utf-16"],
            &["application/json; charset=utf-8; charset=utf-7"],
            &["application/json, text/plain"],
            &["application/jsonx"],
        ] {
            assert!(!taken(types), "{types:?}");
        }
    }

    #[tokio::test]
    async fn a_body_keeps_its_place_until_it_is_gone() {
        let room = Room::new(|_| {});
        let body = || Full::new(Bytes::from_static(b"{}")).map_err(|never| match never {}).boxed_unsync();
        let mut held = Vec::new();
        for _ in 0..limit::JUDGED_AT_ONCE {
            held.push(whole(&room, body()).await.unwrap().unwrap().into_body());
        }
        let next = whole(&room, body());
        let mut next = std::pin::pin!(next);
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, next.as_mut()).await.is_err(), "more are held than the bound");
        let empty = http_body_util::Empty::new().map_err(|never: Infallible| match never {});
        assert!(whole(&room, empty.boxed_unsync()).await.unwrap().unwrap().bytes.is_empty());
        held.pop();
        assert_eq!(next.await.unwrap().unwrap().bytes, "{}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_place_in_time_is_refused_and_held_nowhere() {
        let room = Room::new(|_| {});
        let body = || Full::new(Bytes::from_static(b"{}")).map_err(|never| match never {}).boxed_unsync();
        let mut held = Vec::new();
        for _ in 0..limit::JUDGED_AT_ONCE {
            held.push(whole(&room, body()).await.unwrap().unwrap().into_body());
        }
        assert!(matches!(whole(&room, body()).await, Err(Refusal::Malformed(_))));
    }
}
