//! A request's body, examined for placeholders before it goes upstream.
//!
//! Enters: the body as the client sends it. Leaves: the same bytes, or those with the credential where its placeholder may be
//! swapped, counted; a short one whole, a long one as it comes. Never: a whole placeholder: in a body that streams, it ends the
//! request before the piece that would complete it. Nor a byte of a body that may need a credential before that is there.

use std::convert::Infallible;
use std::future::poll_fn;

use broker::Lease;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt;
use zeroize::Zeroizing;

use super::coded::CodedWatch;
use super::kept::Kept;
use super::swapped::Swapped;
use super::watched::Watched;
use crate::error::Refusal;
use crate::limit;
use crate::record::Sent;
use crate::request::{Behind, FormWatch};
use crate::swap::{BodySwap, Gapped, Head, Plan, Swap};
use crate::tool::Room;
use crate::upstream::{Body, BoxError};

/// What was found in, and counted of, a body.
#[derive(Debug, Clone, Default)]
pub(super) struct Upload {
    sent: Sent,
    streams: bool,
}

impl Upload {
    /// What of the body is counted.
    pub(super) fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Whether it streams on after its head was sent.
    pub(super) fn streams(&self) -> bool {
        self.streams
    }

    /// The refusal that broke the body off, if one did; otherwise `other`, which then was somebody else's doing.
    pub(super) fn or(&self, other: Refusal) -> Refusal {
        self.sent.broke_off().cloned().unwrap_or(other)
    }

    /// Breaks the body off. Only the first refusal counts; a second cannot come, for the body ends there.
    pub(super) fn break_off(&self, refusal: Refusal) -> BoxError {
        self.sent.break_off(refusal.clone());
        refusal.into()
    }

    /// The same for one that its client broke off.
    pub(super) fn broken(&self, error: BoxError) -> BoxError {
        self.break_off(Refusal::of_body(error))
    }
}

/// A body that may go upstream once it has the credential that it needs.
pub(super) struct Examined {
    content: Content,
    upload: Upload,
}

enum Content {
    Whole(Bytes, Option<HeaderMap>),
    Gapped(Gapped, Box<BodySwap>, Option<HeaderMap>),
    Watched(Body, Box<CodedWatch>, Behind),
    Swapped(Body, Box<BodySwap>, Option<Box<FormWatch>>, Behind),
}

/// Examines a short body whole; a long one, or one of unknown length, is examined while it passes. Where it may be a `form` that has the
/// call taken for another, for that, too.
///
/// # Errors
/// [`Refusal::Misdirected`] for a placeholder, [`Refusal::UnswappableBody`] for one that would be at its place in another body,
/// [`Refusal::UnexaminedBody`] where one could hide, [`Refusal::Malformed`] for a body that does not come, or such a form.
pub(super) async fn examine(
    body: Body,
    head: &Head<'_>,
    swap: &Swap,
    room: &Room,
    mut form: Option<Box<FormWatch>>,
) -> Result<Examined, Refusal> {
    if body.is_end_stream() {
        return Ok(Examined { content: Content::Whole(Bytes::new(), None), upload: Upload::default() });
    }
    // In boxes: a call's future has them twice, and is moved.
    let in_body = swap.in_body(head).map(Box::new);
    let behind = || Behind::new(head, swap);
    let short = body.size_hint().upper().is_some_and(|length| length <= limit::EXAMINED_BODY);
    let content = match (in_body, short) {
        (Some(in_body), false) => Content::Swapped(body, in_body, form, behind()),
        (None, false) => {
            let mut watch = CodedWatch::new(head, swap, form)?;
            watch.within(room.decoders()).await?;
            Content::Watched(body, Box::new(watch), behind())
        }
        (Some(mut in_body), true) => {
            let (bytes, trailers) = whole(body).await?;
            if let Some(form) = &mut form {
                form.push(&bytes)?;
                form.finish()?;
            }
            let mut gapped = in_body.push(&bytes)?;
            gapped.append(&in_body.finish()?);
            if let Some(trailers) = &trailers {
                behind().judge(trailers)?;
                in_body.trailers(trailers)?;
            }
            if gapped.gaps() == 0 {
                Content::Whole(bytes, trailers)
            } else {
                Content::Gapped(gapped, in_body, trailers)
            }
        }
        (None, true) => {
            // No coding can hide anything where there is nothing.
            let coded = body.size_hint().exact() != Some(0);
            let watch = coded.then(|| CodedWatch::new(head, swap, form)).transpose()?;
            let (bytes, trailers) = whole(body).await?;
            if let Some(mut watch) = watch {
                watch.within(room.decoders()).await?;
                watch.feed(&bytes)?;
                poll_fn(|cx| watch.poll_seen(cx)).await?;
                watch.finish()?;
            }
            trailers.iter().try_for_each(|trailers| behind().judge(trailers))?;
            Content::Whole(bytes, trailers)
        }
    };
    Ok(Examined { content, upload: Upload { streams: !short, ..Upload::default() } })
}

/// A body that is announced to be short enough. What comes behind it is not judged yet.
pub(super) async fn whole(mut body: Body) -> Result<(Bytes, Option<HeaderMap>), Refusal> {
    let whole = async {
        let (mut whole, mut trailers) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(Refusal::of_body)?;
            match frame.into_data() {
                Ok(bytes) if (whole.len() + bytes.len()) as u64 > limit::EXAMINED_BODY => {
                    return Err(Refusal::Malformed("the body is longer than it was announced".to_owned()));
                }
                Ok(bytes) => whole.extend_from_slice(&bytes),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok((whole.freeze(), trailers))
    };
    let late = |_| Err(Refusal::Malformed("the body did not arrive in time".to_owned()));
    tokio::time::timeout(limit::EXAMINED_BODY_WAIT, whole).await.unwrap_or_else(late)
}

impl Examined {
    /// What of it is found and counted from here on.
    pub(super) fn upload(&self) -> Upload {
        self.upload.clone()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes, _) if bytes.is_empty())
    }

    /// What has to be leased before any of it goes upstream: the credential for a placeholder that is in it, or, where it streams,
    /// for one that may come.
    pub(super) fn plan(&self) -> Option<&Plan> {
        match &self.content {
            Content::Gapped(_, in_body, _) | Content::Swapped(_, in_body, ..) => Some(in_body.plan()),
            Content::Whole(..) | Content::Watched(..) => None,
        }
    }

    /// The body with its placeholders, for whoever judges what it asks for.
    pub(super) fn unswapped(self) -> Body {
        let Self { content, upload } = self;
        let came = |in_body: &BodySwap| in_body.spell(in_body.plan().placeholder().value());
        let came = |in_body: &BodySwap| Ok::<_, Infallible>(came(in_body));
        content.into_body(upload, Kept::default(), came).unwrap_or_else(|never| match never {})
    }

    /// The body as it goes upstream, and what of it is kept where it goes with a credential.
    ///
    /// # Errors
    /// [`Refusal::CredentialUnavailable`] without the lease that [`Examined::plan`] asks for.
    pub(super) fn into_body(self, lease: Option<&Lease>) -> Result<(Body, Kept), Refusal> {
        let Self { content, upload } = self;
        let kept = if lease.is_some() { content.kept() } else { Kept::default() };
        let body = content.into_body(upload, kept.clone(), |in_body| match lease {
            Some(lease) => Ok(in_body.spell(lease.secret.expose())),
            None => Err(Refusal::CredentialUnavailable {
                credential: in_body.plan().credential().clone(),
                reason: "nothing was leased for the body".to_owned(),
            }),
        })?;
        Ok((body, kept))
    }
}

impl Content {
    /// What is here of it already, or will be kept as it passes.
    fn kept(&self) -> Kept {
        match self {
            Self::Whole(bytes, trailers) => Kept::whole(&Gapped::of(bytes), None, trailers.as_ref()),
            Self::Gapped(gapped, in_body, trailers) => Kept::whole(gapped, Some(in_body.spelling()), trailers.as_ref()),
            Self::Watched(..) => Kept::passing(None),
            Self::Swapped(_, in_body, ..) => Kept::passing(Some(in_body.spelling())),
        }
    }

    /// The body, with what is `spelt` in the place of its placeholders.
    fn into_body<E>(
        self,
        upload: Upload,
        kept: Kept,
        spelt: impl Fn(&BodySwap) -> Result<Zeroizing<Vec<u8>>, E>,
    ) -> Result<Body, E> {
        Ok(match self {
            Self::Whole(bytes, trailers) => full(bytes, trailers, &upload),
            Self::Gapped(gapped, in_body, trailers) => {
                upload.sent.swapped(gapped.gaps());
                full(gapped.filled(&spelt(&in_body)?), trailers, &upload)
            }
            Self::Watched(body, watch, behind) => Watched::new(body, (*watch, behind), (upload, kept)).boxed_unsync(),
            Self::Swapped(body, in_body, form, behind) => {
                let spelt = spelt(&in_body)?;
                Swapped::new(body, (*in_body, form, behind), spelt, (upload, kept)).boxed_unsync()
            }
        })
    }
}

/// A body that is all there, counted.
pub(super) fn full(bytes: Bytes, trailers: Option<HeaderMap>, upload: &Upload) -> Body {
    upload.sent.bytes(bytes.len());
    let body = http_body_util::Full::new(bytes);
    match trailers {
        None => body.map_err(|never| match never {}).boxed_unsync(),
        Some(trailers) => body
            .with_trailers(std::future::ready(Some(Ok(trailers))))
            .map_err(|never: Infallible| match never {})
            .boxed_unsync(),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;

    fn body(frames: impl IntoIterator<Item = Bytes>) -> Body {
        let frames: Vec<_> = frames.into_iter().map(|bytes| Ok::<_, BoxError>(Frame::data(bytes))).collect();
        Frames(frames.into_iter()).boxed_unsync()
    }

    struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, BoxError>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.0.next())
        }
    }

    #[test]
    fn a_coded_form_is_seen_through_where_there_are_no_placeholders() {
        let swap = Swap::new(Vec::new());
        let destination = config::Destination::parse_authority("b.example", 443).unwrap();
        let passes = |coding: &'static str, body: &[u8]| {
            let coding = (http::header::CONTENT_ENCODING, http::HeaderValue::from_static(coding));
            let headers = HeaderMap::from_iter([coding]);
            let head = Head { destination: &destination, permitted: None, path: "/", query: None, headers: &headers };
            let mut watch = CodedWatch::new(&head, &swap, FormWatch::of(&headers).map(Box::new))?;
            body.chunks(7).try_for_each(|piece| watch.push(&Bytes::copy_from_slice(piece)))?;
            watch.finish()
        };
        // Of zstd, a frame of one raw block.
        let coded = |text: &[u8]| {
            let length = u8::try_from(text.len()).unwrap();
            [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, length, length << 3 | 1, length >> 5, 0][..], text].concat()
        };
        for (coding, code) in [("zstd", &coded as &dyn Fn(&[u8]) -> Vec<u8>), ("identity", &|text| text.to_vec())] {
            assert!(matches!(passes(coding, &code(b"a=1&methods=x&b%\\u0041")), Ok(())), "{coding}");
            let refused = passes(coding, &code(b"a=1&b=2&_method=x"));
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{coding}: {refused:?}");
        }
        assert!(matches!(passes("compress", b"x"), Err(Refusal::UnexaminedBody(_))));
    }

    #[tokio::test]
    async fn a_body_that_is_longer_than_it_was_announced_is_not_held() {
        let most = usize::try_from(limit::EXAMINED_BODY).unwrap();
        let pieces =
            |length: usize| vec![Bytes::from(vec![b'x'; length / 2]), Bytes::from(vec![b'x'; length - length / 2])];
        assert_eq!(whole(body(pieces(most))).await.unwrap().0.len(), most);
        assert!(matches!(whole(body(pieces(most + 1))).await, Err(Refusal::Malformed(_))));
    }

    /// Frames, and then nothing.
    struct Stalls(Option<Bytes>);

    impl http_body::Body for Stalls {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_keeps_the_room_of_its_decoder_only_until_another_needs_it() {
        let to = vec!["a.example".parse().unwrap()];
        let grant = config::Grant::new("api".parse().unwrap(), to, config::Places::default(), None);
        let swap = Swap::new(vec![(grant, config::Placeholder::from_value("exeat_Zq3vB8nK1xW5cT7yL0p".into()))]);
        let destination = config::Destination::parse_authority("b.example", 443).unwrap();
        let headers = HeaderMap::from_iter([(http::header::CONTENT_ENCODING, http::HeaderValue::from_static("zstd"))]);
        let head = Head { destination: &destination, permitted: None, path: "/", query: None, headers: &headers };
        let room = Room::new(|_| {});
        // A window of 8 MiB, and as many zeros.
        let filled = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3][..], &[2, 0, 0x10, 0].repeat(64)].concat();
        let begun = tokio::time::Instant::now();
        let mut bodies = Vec::new();
        for _ in 0..8 {
            let stalls = Stalls(Some(filled.clone().into())).boxed_unsync();
            let (mut body, _) = examine(stalls, &head, &swap, &room, None).await.unwrap().into_body(None).unwrap();
            assert!(body.frame().await.unwrap().is_ok());
            bodies.push(body);
        }
        assert!(begun.elapsed() < limit::DECODED_WAIT / 2, "{:?}", begun.elapsed());
        let mut ended = 0;
        for body in &mut bodies {
            if let Ok(frame) = tokio::time::timeout(std::time::Duration::from_millis(1), body.frame()).await {
                let error = frame.unwrap().unwrap_err().to_string();
                assert!(error.contains("it hardly moved") && error.contains("64 MiB"), "{error}");
                ended += 1;
            }
        }
        assert_eq!(ended, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for_without_end() {
        struct Never;
        impl http_body::Body for Never {
            type Data = Bytes;
            type Error = BoxError;

            fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
                Poll::Pending
            }
        }
        assert!(matches!(whole(Never.boxed_unsync()).await, Err(Refusal::Malformed(_))));
    }
}
