//! Bodies stream both ways as they come: events, trailers, uploads, downloads, WebSockets; nothing is held back.

use std::time::Duration;

use crate::credentials::SECRET;
use crate::harness::{Exeat, Upstream, python_tools, tools};

fn exeat(upstream: &Upstream) -> Exeat {
    let read = format!("read = [\"{}\"]", tools().display());
    Exeat::new().sandbox(&read).allow("api.example.com", upstream)
}

/// The events came about as far apart as they were sent, in milliseconds. A busy machine may bring two of them closer together,
/// but neither most of them nor the first and the last.
#[track_caller]
fn assert_apart(arrived: &[u64], sent: u64) {
    let gaps: Vec<u64> = arrived.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let apart = gaps.iter().filter(|gap| **gap > sent / 2).count();
    assert!(
        apart + 1 >= gaps.len() && gaps.iter().sum::<u64>() > sent * gaps.len() as u64 * 2 / 3,
        "held back: {gaps:?}"
    );
}

#[test]
fn server_sent_events_arrive_as_they_are_sent() {
    let upstream = Upstream::start();
    // Prints how many milliseconds after the first event each one came.
    let run = exeat(&upstream).python(
        "import time, urllib.request
answer = urllib.request.urlopen('https://api.example.com/sse?n=5&ms=200')
begun = None
for line in answer:
    if line.startswith(b'data:'):
        begun = begun or time.monotonic()
        print(int((time.monotonic() - begun) * 1000))",
    );
    let arrived: Vec<u64> = run.ok().stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(arrived.len(), 5);
    assert_apart(&arrived, 200);
}

#[test]
fn an_event_stream_arrives_as_it_is_sent_over_http_2_too() {
    let upstream = Upstream::with_alpn(&["h2"]);
    let run = exeat(&upstream)
        .sh("curl -sSN --http2 'https://api.example.com/sse?n=4&ms=300' | while read -r line; do \
            [ -z \"$line\" ] || echo $(($(date +%s%N) / 1000000)); done");
    let arrived: Vec<u64> = run.ok().stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(arrived.len(), 4);
    assert_apart(&arrived, 300);
}

#[test]
fn trailers_arrive() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let script =
            format!("curl -sS {version} -H 'TE: trailers' -D head https://api.example.com/trailers && cat head");
        let run = exeat(&upstream).sh(&script).ok();
        assert!(run.stdout.starts_with("with trailers\n"), "{run:#?}");
        assert!(run.stdout.contains("x-checksum: abc123"), "{version}: {run:#?}");
    }
}

#[test]
fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let upstream = Upstream::start();
    let script = "head -c 3000 /dev/zero | tr '\\0' x > body; \
        curl -sSv --http1.1 -H 'Expect: 100-continue' --expect100-timeout 30 --data-binary @body \
        https://api.example.com/upload 2>trace && grep 'HTTP/1.1 100' trace";
    let run = exeat(&upstream).limit(Duration::from_secs(20)).sh(script).ok();
    assert!(run.stdout.starts_with("{\"bytes\":3000}"), "{run:#?}");
}

#[test]
fn a_refused_upload_is_refused_before_its_body_is_sent() {
    let upstream = Upstream::start();
    let script = "head -c 3000 /dev/zero > body; \
        curl -sSv --http1.1 -H 'Expect: 100-continue' --expect100-timeout 30 --data-binary @body \
        https://api.example.com/upload 2>trace; grep -c 'HTTP/1.1 100' trace; grep 'HTTP/1.1 403' trace";
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "methods = [\"GET\"]");
    let run = exeat.limit(Duration::from_secs(20)).sh(script).ok();
    assert!(run.stdout.contains("\n0\n"), "{run:#?}");
    upstream.assert_untouched();
}

#[test]
fn an_upload_goes_out_while_it_comes_in() {
    let upstream = Upstream::start();
    let run = exeat(&upstream).python(
        "import http.client, time
def pieces():
    for number in range(4):
        yield b'x' * 200_000
        time.sleep(0.4)
connection = http.client.HTTPSConnection('api.example.com')
connection.request('POST', '/upload', pieces(), encode_chunked=True, headers={'Transfer-Encoding': 'chunked'})
print(connection.getresponse().read().decode())",
    );
    assert_eq!(run.ok().json()["bytes"], 800_000);
    let pieces = upstream.only().pieces;
    let spread = *pieces.last().unwrap() - pieces[0];
    assert!(spread > Duration::from_millis(900), "the upload was collected first: {spread:?}");
}

#[test]
fn a_large_upload_and_a_large_download_pass_through_little_memory() {
    const BYTES: u64 = 300 << 20;
    let upstream = Upstream::start();
    let script = format!(
        "head -c {BYTES} /dev/zero | curl -sSf --http1.1 -T - https://api.example.com/upload && echo
         curl -sSf 'https://api.example.com/big?bytes={BYTES}' | wc -c
         echo measured; read -r go"
    );
    let exeat = exeat(&upstream).limit(Duration::from_secs(120));
    let mut live = exeat.start_with_input(&["sh", "-c", &script]);
    live.wait_for("measured");
    let peak = live.peak_memory();
    live.write("go\n");
    let run = live.finish().ok();
    assert_eq!(run.stdout, format!("{{\"bytes\":{BYTES}}}\n{BYTES}\nmeasured\n"));
    assert!(peak < 100, "the worker took {peak} MiB");
    let ends = run.log.ends();
    assert_eq!((ends[0].sent, ends[1].received), (BYTES, BYTES));
}

#[test]
fn a_download_arrives_byte_for_byte() {
    let upstream = Upstream::start();
    for version in ["--http1.1", "--http2"] {
        let script = format!(
            "curl -sSf {version} 'https://api.example.com/big?bytes=3000001' | python3 -c '
import sys
bytes = sys.stdin.buffer.read()
assert len(bytes) == 3000001
assert all(byte == offset % 251 for offset, byte in enumerate(bytes))'"
        );
        exeat(&upstream).sh(&script).ok();
    }
}

#[test]
fn a_client_that_stops_reading_stops_the_upstream() {
    let upstream = Upstream::start();
    // The answer is far larger than every buffer in between; without backpressure it would be in the worker's memory.
    let mut live = exeat(&upstream).start_with_input(&[
        "python3",
        "-c",
        "import urllib.request
answer = urllib.request.urlopen('https://api.example.com/big?bytes=1000000000')
answer.read(1000)
print('reading', flush=True)
input()",
    ]);
    live.wait_for("reading");
    std::thread::sleep(Duration::from_secs(2));
    let peak = live.peak_memory();
    live.write("go\n");
    let run = live.finish().ok();
    assert!(peak < 100, "the worker took {peak} MiB");
    assert_eq!(run.log.ends()[0].outcome, "abandoned");
}

#[test]
fn a_websocket_opens_after_the_upstream_agreed_and_passes_both_ways() {
    let upstream = Upstream::with_alpn(&["h2", "http/1.1"]);
    let program = "import asyncio, websockets
async def main():
    async with websockets.connect('wss://api.example.com/ws', proxy=None) as socket:
        for text in ('hello', 'world'):
            await socket.send(text)
            print(await socket.recv())
asyncio.run(main())";
    let run = exeat(&upstream).run(&[&python_tools(), "-c", program]).ok();
    assert_eq!(run.stdout, "hello\nworld\n");
    assert_eq!(run.log.ends()[0].status, Some(101));
}

#[test]
fn an_upgrade_that_the_upstream_does_not_take_is_an_ordinary_answer() {
    let upstream = Upstream::start();
    let script = "curl -sS --http1.1 -w '\\n%{http_code}' -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
        -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' https://api.example.com/echo";
    let run = exeat(&upstream).sh(script).ok();
    assert!(run.stdout.ends_with("\n200"), "{run:#?}");
}

#[test]
fn an_upgrade_to_anything_else_does_not_reach_the_upstream() {
    let upstream = Upstream::start();
    let script = "curl -sSf --http1.1 -H 'Connection: Upgrade, HTTP2-Settings' -H 'Upgrade: h2c' -H 'HTTP2-Settings: AAMAAABk' \
        https://api.example.com/echo";
    exeat(&upstream).sh(script).ok();
    let seen = upstream.only();
    for name in ["upgrade", "connection", "http2-settings"] {
        assert_eq!(seen.header(name), None, "{seen:#?}");
    }
}

#[test]
fn alternative_services_are_not_passed_on() {
    let scrubs = |exeat: Exeat| {
        exeat.fixed("api", SECRET, "to = [\"api.example.com\"]\nenv = \"API_KEY\"\ninject = \"X-Api-Key\"\n")
    };
    for alpn in ["http/1.1", "h2"] {
        let upstream = Upstream::with_alpn(&[alpn]);
        let plainly = exeat(&upstream);
        let scrubbed = scrubs(Exeat::new()).allow_with("api.example.com", &upstream, "credential = \"api\"");
        for (exeat, version) in
            [(&plainly, "--http1.1"), (&plainly, "--http2"), (&scrubbed, "--http1.1"), (&scrubbed, "--http2")]
        {
            let script = format!(
                "for way in 200 404 503 trailers; do curl -sS {version} -H 'TE: trailers' -D head https://api.example.com/alt-svc/$way && cat head; done"
            );
            let told = exeat.sh(&script).ok().stdout.to_ascii_lowercase();
            assert_eq!(
                (told.matches("h3?").count(), told.matches("x-checksum: abc123").count()),
                (4, 1),
                "{alpn} {version}: {told}"
            );
            let fields = told.lines().filter(|line| line.starts_with("alt-svc:")).count();
            assert!(fields == 0 && !told.contains("other.example.com"), "{alpn} {version}: {told}");
        }
    }
}
