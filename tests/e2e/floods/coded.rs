//! Answers and uploads in codings whose decoders hold much: however many stall, the worker's memory stays bounded and others go on; a bomb leaves its
//! neighbours their turns.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::attacked_in;
use crate::credentials::SECRET;
use crate::harness::{Authority, Body, Exeat, Server, Upstream};

/// The worker's memory, in MiB: half of the bound, with what the decoders may have in it.
const MOST: u64 = 128;

/// Bits, the first one lowest, as brotli has them.
fn bits(fields: &[(u32, u32)]) -> Vec<u8> {
    let all: Vec<bool> =
        fields.iter().flat_map(|&(value, width)| (0..width).map(move |at| value >> at & 1 == 1)).collect();
    all.chunks(8).map(|byte| byte.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit))).collect()
}

/// The largest window of RFC 7932, filled by a command each time: a zero, copied until there are 16 MiB of them. More is to come: four of them are
/// whole bytes again, but for the four bits in front.
fn brotli(times: usize) -> Vec<u8> {
    let largest = (0b1111, 4);
    let (not_the_last, length, coded, one_type_of_each) = ((0b100, 3), (0xff_ffff, 24), (0, 1), (0, 3 + 2 + 4 + 2 + 2));
    let [only, literal, command, distance] = [(0b0001, 4), (u32::from(b'0'), 8), (399, 10), (16, 6)];
    let codes = [only, literal, only, command, only, distance];
    let copied = ((1 << 24) - 1 - 2118, 24);
    let filled = [&[not_the_last, length, coded, one_type_of_each][..], &codes, &[copied, (0, 1)]].concat();
    bits(&[&[largest][..], &filled.repeat(times)].concat())
}

/// The largest window of RFC 9659, filled by zeros. More is to come.
fn zstd() -> Vec<u8> {
    let (head, block) = ([0x28, 0xb5, 0x2f, 0xfd, 0, (23 - 10) << 3], [2, 0, 0x10, b'0']);
    [&head[..], &block.repeat(64)].concat()
}

/// At `/stalled/CODING` a window is filled and nothing comes any more, at `/bomb/CODING` it goes on and on.
async fn answer(request: Request<Incoming>) -> Response<Body> {
    let (route, coding) = request.uri().path()[1..].split_once('/').unwrap();
    let (begins, goes_on) = match (route, coding) {
        ("stalled", "br") => (brotli(1), None),
        ("stalled", _) => (zstd(), None),
        (_, "br") => (brotli(4)[..1].to_vec(), Some(brotli(5)[1..52].to_vec())),
        _ => (zstd(), Some(zstd()[6..].to_vec())),
    };
    let (feed, body) = Body::fed();
    tokio::spawn(async move {
        feed.piece(begins).await;
        while let Some(more) = &goes_on {
            if !feed.piece(more.clone()).await {
                return;
            }
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
    });
    Response::builder().header("content-encoding", coding).body(body).unwrap()
}

fn hostile() -> Server {
    let tls = Authority::trusted().identity(&["*.example.com"]).configuration(&["h2"]);
    Server::start(Some(tls), Arc::new(|request| Box::pin(answer(request))))
}

/// A worker that has a credential to look for, and may call both.
fn worker(upstream: &Upstream, hostile: &Server) -> Exeat {
    let lines = "to = [\"api.example.com\"]\nin = [\"header\"]\nenv = \"API_KEY\"\n";
    Exeat::new()
        .fixed("api", SECRET, lines)
        .allow_with("api.example.com", upstream, "credential = \"api\"")
        .rule(&format!("[[allow]]\nto = \"hostile.example.com\"\ndial = \"{}\"\n", hostile.address))
}

/// Defines `whole()`: the seconds that a short answer in gzip takes, or more than anybody waits.
const WHOLE: &str = "
def whole():
    begun, connection = time.monotonic(), http.client.HTTPSConnection(NAME, timeout=40, context=polite_context)
    try:
        connection.request('GET', '/coded/gzip')
        answer = connection.getresponse()
        return time.monotonic() - begun if answer.status == 200 and b'padding' in answer.read() else 1000
    except OSError:
        return 1000
";

/// Opens every window of a connection.
const WIDE: &str = "
wide = frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, 'big'))
def greedy():
    return Connection(settings=b'\\0\\4\\x7f\\xff\\xff\\xff', name='hostile.example.com').greet()
";

#[test]
fn answers_that_stall_with_the_largest_windows_leave_room_for_others() {
    let (upstream, hostile) = (Upstream::start(), hostile());
    let attack = "def attack():
    stalled = [greedy() for _ in range(4)]
    for connection, coding in zip(stalled, ['br', 'br', 'br', 'zstd']):
        numbers = range(20 if coding == 'zstd' else 60)
        connection.send(wide + b''.join(connection.request(number * 2 + 1, '/stalled/' + coding) for number in numbers))
    time.sleep(5)
    return {'took': whole(), 'reset': sum(len(connection.resets) for connection in stalled)}";
    let (told, log, peak) = attacked_in(worker(&upstream, &hostile), &format!("{WHOLE}{WIDE}{attack}"));
    assert!(peak < MOST, "the worker took {peak} MiB: {told}");
    assert!(told["reset"].as_u64().unwrap() > 3, "{told}");
    assert!(told["took"].as_f64().unwrap() < 20.0, "{told}");
    let reasons: Vec<_> = log.ends().iter().filter_map(|end| end.reason.clone()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("it hardly moved")), "{reasons:?}");
}

#[test]
fn a_bomb_leaves_its_neighbours_their_turns() {
    let (upstream, hostile) = (Upstream::start(), hostile());
    for coding in ["br", "zstd"] {
        let attack = format!(
            "def attack():
    bomb = greedy()
    bomb.send(wide + bomb.request(1, '/bomb/{coding}'))
    time.sleep(3)
    return sum(bomb.bytes.values()) >> 20"
        );
        let (told, _, peak) = attacked_in(worker(&upstream, &hostile), &format!("{WIDE}{attack}"));
        assert!(told.as_u64().unwrap() > 0 && peak < MOST, "{told} MiB of it, and {peak} were taken");
    }
}

#[test]
fn an_upload_that_becomes_a_bomb_leaves_its_neighbours_their_turns() {
    let (upstream, hostile) = (Upstream::start(), hostile());
    // Long enough, as it is, that 300 MiB may be in the rest of it, which are a few KiB.
    let attack = "def attack():
    bomb = Connection().greet()
    bomb.wait(lambda: bomb.first_window)
    bomb.send(bomb.request(1, '/upload', 'POST', [('content-encoding', 'zstd')], end=False))
    head, plain = bytes([0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3]), bytes([0, 0, 0x10]) + random.randbytes(1 << 17)
    for piece in [head] + [plain] * 13:
        for at in range(0, len(piece), 16000):
            assert bomb.wait(lambda: min(bomb.windows[0], bomb.windows.setdefault(1, bomb.first_window)) >= 16000)
            bomb.send(frame(DATA, 0, 1, piece[at:at + 16000]))
            for stream in (0, 1):
                bomb.windows[stream] -= len(piece[at:at + 16000])
    time.sleep(0.5)
    before = len(polite)
    bomb.send(frame(DATA, 0, 1, bytes([2, 0, 0x10, 48]) * 2400))
    end = time.monotonic() + 60
    while time.monotonic() < end and len(polite) < before + 20:
        time.sleep(0.01)
    return max([took for _, took in polite[before:]], default=60)";
    let attack = format!("import random\n{attack}");
    let (told, _, peak) = attacked_in(worker(&upstream, &hostile), &attack);
    assert!(told.as_f64().unwrap() < 0.5 && peak < MOST, "{told}, and {peak} MiB were taken");
}

#[test]
fn uploads_that_stall_leave_room_for_those_that_do_not() {
    let (upstream, hostile) = (Upstream::start(), hostile());
    let attack = "def attack():
    stalled = Connection().greet()
    stalled.wait(lambda: stalled.first_window)
    filled = bytes([0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3]) + bytes([2, 0, 0x10, 48]) * 64
    for stream in range(1, 25, 2):
        stalled.send(stalled.request(stream, '/upload', 'POST', [('content-encoding', 'zstd')], end=False) + frame(DATA, 0, stream, filled))
    time.sleep(3)
    begun, connection = time.monotonic(), http.client.HTTPSConnection(NAME, timeout=50, context=polite_context)
    text = bytes([0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0]) + b'abc'
    connection.request('POST', '/upload', iter([text]), {'Content-Encoding': 'zstd', 'Transfer-Encoding': 'chunked'}, encode_chunked=True)
    return [connection.getresponse().status, time.monotonic() - begun]";
    let (told, _, peak) = attacked_in(worker(&upstream, &hostile), attack);
    assert!(told[0] == 200 && told[1].as_f64().unwrap() < 10.0, "{told}");
    assert!(peak < MOST, "the worker took {peak} MiB: {told}");
}
