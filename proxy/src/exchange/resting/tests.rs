//! A client and a connection that rests in between: what is asked, and what comes back.
//!
//! Enters: requests, cut anywhere, with pauses. Leaves: their answers. Never: a clock but the test's own.

use std::sync::Mutex;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// Has for how many bytes its reader had room when there were none.
struct Sized(DuplexStream, Arc<Mutex<usize>>);

impl AsyncRead for Sized {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        *self.1.lock().unwrap() = buffer.remaining();
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Sized {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Served {
    client: DuplexStream,
    room: Arc<Mutex<usize>>,
    stop: watch::Sender<bool>,
    end: tokio::task::JoinHandle<hyper::Result<()>>,
}

/// Answers each request with its method, path and body, after `taking`. `pipe`: what is under way between both at most.
fn served(pipe: usize, taking: Duration) -> Served {
    let (client, ours) = tokio::io::duplex(pipe);
    let (stop, stopped) = watch::channel(false);
    let room = Arc::default();
    let service = service_fn(move |request: Request<Incoming>| {
        Box::pin(async move {
            let told = format!("{} {} ", request.method(), request.uri());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            tokio::time::sleep(taking).await;
            let body = [told.as_bytes(), &body].concat();
            Ok::<_, Infallible>(Response::new(Full::from(body).map_err(|never| match never {}).boxed_unsync()))
        })
    });
    let end = tokio::spawn(serve(Sized(ours, Arc::clone(&room)), service, stopped));
    Served { client, room, stop, end }
}

/// What comes until nothing has for a while, less what hyper dates it with.
async fn told(client: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    while let Ok(Ok(length)) = tokio::time::timeout(Duration::from_millis(100), client.read_buf(&mut text)).await {
        if length == 0 {
            text.extend_from_slice(b"(end)");
            break;
        }
    }
    let text = String::from_utf8(text).unwrap();
    text.lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n")
}

const SOON: Duration = Duration::from_millis(10);
const REQUEST: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\ncontent-length: 7\n\nGET /a ";

#[tokio::test(start_paused = true)]
async fn a_connection_at_rest_has_no_buffers_and_goes_on_as_if_it_had_never_rested() {
    let Served { mut client, room, end, stop: _stop } = served(64 * 1024, SOON);
    for _ in 0..3 {
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        assert_eq!(told(&mut client).await, ANSWER);
        assert!(*room.lock().unwrap() > 4096, "it rests at once");
        tokio::time::sleep(limit::REST).await;
        assert_eq!(*room.lock().unwrap(), 4096, "it does not rest");
        tokio::time::sleep(limit::HEAD_WAIT / 2).await;
    }
    drop(client);
    end.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_its_client_does_when_the_worker_stops_and_when_no_request_comes() {
    for rests in [Duration::ZERO, limit::REST * 2] {
        for how in 0..3 {
            let Served { mut client, stop, end, room: _ } = served(64 * 1024, SOON);
            let begun = Instant::now();
            tokio::time::sleep(rests).await;
            match how {
                0 => client.shutdown().await.unwrap(),
                1 => assert!(!stop.send_replace(true)),
                _ => {}
            }
            end.await.unwrap().unwrap();
            let expected = if how == 2 { limit::HEAD_WAIT } else { rests };
            assert_eq!(begun.elapsed().as_secs(), expected.as_secs(), "{rests:?} {how}");
            assert_eq!(told(&mut client).await, "(end)");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_and_no_more_whenever_it_begins() {
    let begun = ["GET /a HT".to_owned(), format!("{REQUEST}GET /a HT")];
    for (begun, rests) in begun.iter().flat_map(|text| [(text, Duration::ZERO), (text, limit::REST * 2)]) {
        let Served { mut client, end, stop: _stop, room: _ } = served(64 * 1024, SOON);
        tokio::time::sleep(rests).await;
        let since = Instant::now();
        client.write_all(begun.as_bytes()).await.unwrap();
        // A byte now and then is no other head.
        let writing = async {
            for _ in 0..20 {
                tokio::time::sleep(limit::REST * 2).await;
                let _ = client.write_all(b"X").await;
            }
        };
        tokio::select! { () = writing => panic!("it goes on"), ended = end => ended.unwrap().unwrap() }
        assert!(since.elapsed() <= limit::HEAD_WAIT + limit::REST * 2, "{begun} {rests:?}: {:?}", since.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_long_or_is_not_read_is_no_rest() {
    let Served { mut client, stop: _stop, .. } = served(64, limit::HEAD_WAIT * 2);
    let body = "x".repeat(1000);
    let request = format!("POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{body}");
    client.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(limit::HEAD_WAIT * 4).await;
    assert_eq!(told(&mut client).await, format!("HTTP/1.1 200 OK\ncontent-length: 1008\n\nPOST /b {body}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn requests_are_answered_alike_wherever_they_are_cut_and_however_long_nothing_comes(
        requests in proptest::collection::vec((0..3_usize, 0..6_000_usize), 1..6),
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0..5_u32), 0..6),
        pipe in prop_oneof![Just(64), Just(64 * 1024)],
        taking in 0..3_u32,
    ) {
        let mut text = String::new();
        let mut expected = String::new();
        for (kind, length) in requests {
            let body = "b".repeat(length);
            let (request, told) = match kind {
                0 => (REQUEST.to_owned(), "GET /a ".to_owned()),
                1 => (format!("GET /{body} HTTP/1.1\r\nhost: a\r\n\r\n"), format!("GET /{body} ")),
                _ => (format!("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"), format!("POST /p {body}")),
            };
            text += &request;
            expected += &format!("HTTP/1.1 200 OK\ncontent-length: {}\n\n{told}", told.len());
        }
        let mut cuts: Vec<_> = cuts.iter().map(|(at, pause)| (at.index(text.len()), limit::REST * *pause / 2)).collect();
        cuts.push((text.len(), Duration::ZERO));
        cuts.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let came = runtime.block_on(async {
            let Served { client, stop: _stop, .. } = served(pipe, limit::REST * taking);
            let (mut reading, mut writing) = tokio::io::split(client);
            let write = async move {
                let mut from = 0;
                for (at, pause) in cuts {
                    writing.write_all(&text.as_bytes()[from..at]).await.unwrap();
                    tokio::time::sleep(pause).await;
                    from = at;
                }
                tokio::time::sleep(limit::REST * 20).await;
            };
            let mut all = Vec::new();
            let read = async { while reading.read_buf(&mut all).await.is_ok_and(|length| length > 0) {} };
            tokio::select! { () = write => {}, () = read => {} }
            String::from_utf8(all).unwrap()
        });
        let came = came.replace("\r\n", "\n");
        let dated = came.split('\n').filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n");
        prop_assert_eq!(dated, expected);
    }
}
