//! What floods an HTTP/2 connection is told to go away, in bounded memory, and a polite client beside it gets its answers; a slow
//! reader or writer holds back its own stream and no other.

mod coded;
mod judged;
mod pieces;
mod slow;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Exeat, Log, Upstream, python_tools, tools};

/// GOAWAY's error codes (RFC 9113 section 7).
const NO_ERROR: u64 = 0;
const PROTOCOL_ERROR: u64 = 1;
const STREAM_CLOSED: u64 = 5;
const FRAME_SIZE_ERROR: u64 = 6;
const COMPRESSION_ERROR: u64 = 9;
const ENHANCE_YOUR_CALM: u64 = 11;

/// The worker's memory, in MiB, where its clients hold next to nothing.
const MOST: u64 = 120;

/// What is stated of it (bench/README.md, Budgets).
const STATED: u64 = 128;

/// The same where calls take it that wait for an upstream, or what comes faster than it can be seen that nobody moves.
const STATED_OF_CALLS: u64 = 264;

/// What an unoptimised build was seen to have beyond it: 24 MiB more of itself, the rest where several programs want its core.
const UNOPTIMISED: u64 = 72;

/// Runs `program`, which defines `attack`, beside a polite client.
fn attacked(upstream: &Upstream, program: &str) -> (Value, Log) {
    attacked_within(upstream, program, MOST)
}

fn attacked_within(upstream: &Upstream, program: &str, most: u64) -> (Value, Log) {
    let (told, log, peak) = attacked_in(Exeat::new().allow("api.example.com", upstream), program);
    assert!(peak < most, "the worker took {peak} MiB: {told}");
    (told, log)
}

/// What was told of it, the log, and the most memory that the worker had, in MiB.
fn attacked_in(exeat: Exeat, program: &str) -> (Value, Log, u64) {
    let exeat = exeat.sandbox(&format!("read = [\"{}\"]", tools().display())).limit(Duration::from_secs(120));
    let program = format!("{}\n{program}\nattacked(attack)", include_str!("floods/attack.py"));
    let mut live = exeat.start_with_input(&[&python_tools(), "-c", &program]);
    live.wait_for("\n");
    let peak = live.peak_memory();
    live.write("\n");
    let run = live.finish().ok();
    let told = run.json();
    let polite = told["polite"].as_array().unwrap();
    assert!(polite.iter().all(|status| *status == 200) && polite.len() > 3, "{told}");
    assert!(told["slowest"].as_f64().unwrap() < 5.0, "{told}");
    (told["told"].clone(), run.log, peak)
}

/// The connection was ended with one of these codes, and the log says that something was wrong with it.
#[track_caller]
fn assert_sent_away(program: &str, codes: &[u64]) -> Vec<String> {
    let upstream = Upstream::start();
    let (told, log) = attacked(&upstream, program);
    assert_eq!(told["ended"], true, "{told}");
    assert!(codes.iter().any(|code| told["gone"] == *code), "{told}");
    let reasons: Vec<String> =
        log.refusals().iter().map(|refused| format!("{}: {}", refused.kind, refused.reason)).collect();
    assert!(!reasons.is_empty(), "nothing in the log");
    reasons
}

#[test]
fn requests_that_are_reset_as_soon_as_they_are_made() {
    assert_sent_away(
        "def attack():
    flood = Connection().greet()
    for batch in range(200):
        frames = b''
        for number in range(batch * 100, batch * 100 + 100):
            frames += flood.request(number * 2 + 1) + frame(RST_STREAM, 0, number * 2 + 1, b'\\0\\0\\0\\x08')
        if not flood.send(frames):
            break
    flood.wait(lambda: flood.ended)
    return {'ended': flood.ended, 'gone': flood.gone}",
        &[ENHANCE_YOUR_CALM],
    );
}

#[test]
fn requests_that_are_taken_up_and_then_reset() {
    // Slow enough that none is reset before it was taken up: each is a call that was begun.
    assert_sent_away(
        "def attack():
    flood = Connection().greet()
    for number in range(4000):
        stream = number * 2 + 1
        if not flood.send(flood.request(stream, '/slow?ms=60000')):
            break
        if not number % 20:
            time.sleep(0.005)
        flood.send(frame(RST_STREAM, 0, stream, b'\\0\\0\\0\\x08'))
    flood.wait(lambda: flood.ended)
    return {'ended': flood.ended, 'gone': flood.gone}",
        &[NO_ERROR, ENHANCE_YOUR_CALM],
    );
}

#[test]
fn streams_that_make_the_server_reset_them() {
    // MadeYouReset (CVE-2025-8671): what is an error of one stream has the server reset it, and costs the client nothing.
    // What ends the connection at once is no better for whoever tries.
    let (calm, wrong) = ([ENHANCE_YOUR_CALM, NO_ERROR], [PROTOCOL_ERROR, STREAM_CLOSED]);
    for (what, error, codes) in [
        ("a window that becomes too large", "frame(WINDOW_UPDATE, 0, stream, b'\\x7f\\xff\\xff\\xff')", calm),
        ("a priority below itself", "frame(PRIORITY, 0, stream, stream.to_bytes(4, 'big') + b'\\0')", calm),
        (
            "a head below itself",
            "frame(HEADERS, 0x25, stream + 2, (stream + 2).to_bytes(4, 'big') + b'\\0\\x82\\x87\\x84')",
            calm,
        ),
        ("a window that grows by nothing", "frame(WINDOW_UPDATE, 0, stream, b'\\0\\0\\0\\0')", wrong),
        ("data behind the end", "frame(DATA, 0, stream, b'x')", wrong),
        ("a head behind the end", "flood.request(stream)", wrong),
        ("trailers behind the end", "frame(HEADERS, 5, stream, flood.encoder.encode([('x-late', '1')]))", wrong),
        (
            "a priority that is cut short",
            "frame(PRIORITY, 0, stream, b'\\0\\0\\0\\0')",
            [PROTOCOL_ERROR, FRAME_SIZE_ERROR],
        ),
    ] {
        let program = format!(
            "def attack():
    flood = Connection().greet()
    for batch in range(200):
        frames = b''
        for number in range(batch * 100, batch * 100 + 100):
            stream = number * 4 + 1
            frames += flood.request(stream) + {error}
        if not flood.send(frames):
            break
    flood.wait(lambda: flood.ended)
    return {{'ended': flood.ended, 'gone': flood.gone, 'what': '{what}'}}"
        );
        assert_sent_away(&program, &codes);
    }
}

#[test]
fn heads_that_are_continued_without_an_end() {
    let reasons = assert_sent_away(
        "def attack():
    flood = Connection().greet()
    flood.send(frame(HEADERS, 1, 1, b'\\x82\\x84'))
    block = hpack.Encoder().encode([('x-filler', 'x' * 100)])
    flood.overwhelm(frame(CONTINUATION, 0, 1, block))
    return {'ended': flood.ended, 'gone': flood.gone}",
        &[ENHANCE_YOUR_CALM, COMPRESSION_ERROR],
    );
    assert!(reasons.iter().any(|reason| reason.contains("excessive load")), "{reasons:?}");
}

#[test]
fn a_head_that_unpacks_to_far_more_than_it_is() {
    // One long value in the table, then a byte for each time it is repeated: 16 KiB that would be 60 MiB.
    assert_sent_away(
        "def attack():
    flood = Connection().greet()
    first = hpack.Encoder().encode([(':method', 'GET'), (':scheme', 'https'), (':authority', NAME), (':path', '/'), ('x-long', 'x' * 3900)])
    flood.send(frame(HEADERS, 5, 1, first + b'\\xbe' * 12000))
    flood.wait(lambda: flood.ended)
    return {'ended': flood.ended, 'gone': flood.gone}",
        &[ENHANCE_YOUR_CALM, COMPRESSION_ERROR],
    );
}

#[test]
fn settings_without_end() {
    assert_sent_away(
        "def attack():
    flood = Connection().greet()
    flood.overwhelm(frame(SETTINGS, 0, 0, b'\\0\\4\\0\\1\\0\\0'))
    return {'ended': flood.ended, 'gone': flood.gone}",
        &[NO_ERROR, ENHANCE_YOUR_CALM],
    );
}

#[test]
fn pings_without_end() {
    let reasons = assert_sent_away(
        "def attack():
    flood = Connection().greet()
    flood.overwhelm(frame(PING, 0, 0, b'flooding'))
    return {'ended': flood.ended, 'gone': flood.gone}",
        &[NO_ERROR, ENHANCE_YOUR_CALM],
    );
    assert!(reasons.iter().any(|reason| reason.starts_with("flood: ")), "{reasons:?}");
}

#[test]
fn pieces_of_a_body_that_are_empty_without_end() {
    // CVE-2019-9518: no window bounds these, and each is work.
    let reasons = assert_sent_away(
        "def attack():
    flood = Connection().greet()
    flood.send(flood.request(1, '/upload', 'POST', end=False))
    flood.overwhelm(frame(DATA, 0, 1))
    return {'ended': flood.ended, 'gone': flood.gone}",
        &[NO_ERROR, ENHANCE_YOUR_CALM],
    );
    assert!(reasons.iter().any(|reason| reason.starts_with("flood: ")), "{reasons:?}");
}

#[test]
fn pings_whose_answers_are_not_read() {
    // Each answer has to be written; whoever does not read them is not read either.
    let upstream = Upstream::start();
    let (told, _) = attacked(
        &upstream,
        "def attack():
    flood = Connection()
    flood.send(flood.greeting)
    sent, moved = 0, time.monotonic()
    while time.monotonic() < moved + 3 and sent < 200_000_000:
        try:
            sent, moved = sent + flood.stream.send(frame(PING, 0, 0, b'flooding') * 900), time.monotonic()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            time.sleep(0.01)
        except OSError:
            break
    return sent",
    );
    assert!(told.as_u64().unwrap() < 50_000_000, "{told} bytes of pings were taken");
}

#[test]
fn a_broken_rule_ends_the_connection() {
    assert_sent_away(
        "def attack():
    flood = Connection().greet()
    flood.send(frame(PING, 0, 5, b'on a stream'[:8]))
    flood.wait(lambda: flood.ended)
    return {'ended': flood.ended, 'gone': flood.gone}",
        &[PROTOCOL_ERROR],
    );
}

#[test]
fn more_streams_than_are_offered_are_refused_and_more_fields_too() {
    let upstream = Upstream::start();
    let (told, _) = attacked(
        &upstream,
        "def attack():
    flood = Connection().greet()
    many = [('x-%d' % number, '1') for number in range(129)]
    flood.send(flood.request(1, fields=many))
    flood.wait(lambda: 1 in flood.done)
    for number in range(1, 301):
        flood.send(flood.request(number * 2 + 1, '/upload', 'POST', end=False))
    refused = lambda: [stream for stream, code in flood.resets.items() if code == 7]
    flood.wait(lambda: len(refused()) >= 172)
    return {'refused': len(refused()), 'fields': flood.statuses[1], 'ended': flood.ended}",
    );
    assert_eq!(told, json!({ "refused": 172, "fields": 400, "ended": false }));
    let begun = upstream.seen().iter().filter(|seen| seen.target == "/upload").count();
    assert!(begun <= 128, "{begun} calls at once");
}

#[test]
fn a_connection_that_says_nothing_after_its_handshake_is_ended() {
    let upstream = Upstream::start();
    let (told, _) = attacked(
        &upstream,
        "def attack():
    mute = Connection()
    mute.reply = lambda said: None
    threading.Thread(target=mute.listen, daemon=True).start()
    begun = time.monotonic()
    mute.wait(lambda: mute.ended, 40)
    return [mute.ended, time.monotonic() - begun]",
    );
    assert!(told[0] == true && told[1].as_f64().unwrap() < 15.0, "{told}");
}

#[test]
fn a_stream_that_is_not_read_holds_back_no_other() {
    for alpn in ["h2", "http/1.1"] {
        let upstream = Upstream::with_alpn(&[alpn]);
        let (told, _) = attacked(
            &upstream,
            "def attack():
    # Each of these has a window that is never opened again; the connection's is wide open.
    slow = Connection(settings=b'\\0\\4\\0\\0\\x10\\0').greet()
    slow.send(frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, 'big')))
    for number in range(60):
        slow.send(slow.request(number * 2 + 1, '/big?bytes=100000000'))
    slow.wait(lambda: len(slow.bytes) == 60)
    stuck = sum(slow.bytes.values())
    slow.send(slow.request(201, '/echo') + frame(WINDOW_UPDATE, 0, 201, (1 << 20).to_bytes(4, 'big')))
    slow.send(slow.request(203, '/big?bytes=3000000') + frame(WINDOW_UPDATE, 0, 203, (1 << 30).to_bytes(4, 'big')))
    quick = slow.wait(lambda: {201, 203} <= slow.done)
    return {'stuck': stuck, 'quick': quick, 'bytes': slow.bytes.get(203)}",
        );
        assert_eq!(told, json!({ "stuck": 60 * 4096, "quick": true, "bytes": 3_000_000 }), "{alpn}");
    }
}

#[test]
fn an_upload_that_is_not_taken_holds_back_no_other() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let (told, _) = attacked(
        &upstream,
        "def attack():
    slow = Connection().greet()
    slow.wait(lambda: slow.first_window)
    deaf = [number * 2 + 1 for number in range(12)]
    for stream in deaf:
        slow.send(slow.request(stream, '/deaf?ms=60000', 'POST', end=False))
    sent = slow.pump(deaf)
    slow.send(slow.request(301, '/upload', 'POST', end=False))
    quick = slow.pump([301], most=2_000_000)
    slow.send(frame(DATA, 1, 301))
    return [sent > 1_000_000, quick, slow.wait(lambda: 301 in slow.done), slow.statuses.get(301)]",
    );
    assert_eq!(told, json!([true, 2_000_000, true, 200]));
}

#[test]
fn answers_that_nobody_reads_make_room_for_those_that_somebody_does() {
    let streams = "def attack():
    # No stream of these has a window, ever.
    deaf = [Connection(settings=b'\\0\\4\\0\\0\\0\\0').greet() for _ in range(8)]
    for connection in deaf:
        connection.send(b''.join(connection.request(number * 2 + 1, '/big?bytes=100000000') for number in range(100)))
        time.sleep(0.2)
    return deaf[0].wait(lambda: any(connection.ended for connection in deaf))";
    let upstream = Upstream::with_alpn(&["h2"]);
    let (told, log) = attacked_within(&upstream, streams, STATED + UNOPTIMISED);
    assert_eq!(told, true);
    let reasons: Vec<String> = log.refusals().iter().map(|refused| refused.reason.clone()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("neither read its answers nor sent")), "{reasons:?}");
}

#[test]
fn uploads_that_nobody_takes_make_room_too() {
    let uploads = "def attack():
    # Nobody is waited for but the upstream, which reads none of them.
    deaf = [Connection().greet() for _ in range(30)]
    for connection in deaf:
        connection.wait(lambda: connection.first_window)
        streams = range(1, 201, 2)
        for stream in streams:
            connection.send(connection.request(stream, '/deaf?ms=60000', 'POST', end=False))
        connection.pump(streams, most=100 * 128 * 1024)
    return deaf[0].wait(lambda: any(connection.ended for connection in deaf))";
    let upstream = Upstream::with_alpn(&["h2"]);
    let (told, log) = attacked_within(&upstream, uploads, STATED_OF_CALLS);
    assert_eq!(told, true);
    let reasons: Vec<String> = log.refusals().iter().map(|refused| refused.reason.clone()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("more calls under way than others")), "{reasons:?}");
}

/// Uploads on so many connections, one begun every so many seconds; of each the last byte never comes.
fn endless_bodies(connections: usize, pause: f32) -> String {
    format!(
        "def attack():
    deaf = [Connection().greet() for _ in range({connections})]
    for connection in deaf:
        connection.wait(lambda: connection.first_window)
        body = lambda stream: b''.join(frame(DATA, 0, stream, b'x' * 16000) for _ in range(4))
        length = ('content-length', '64001')
        for stream in range(1, 201, 2):
            connection.send(connection.request(stream, '/upload', 'POST', [length], end=False) + body(stream))
        time.sleep({pause})
    return deaf[0].wait(lambda: any(connection.ended for connection in deaf))"
    )
}

#[test]
fn bodies_that_nobody_sends_to_their_end_make_room_for_those_that_somebody_does() {
    let upstream = Upstream::with_alpn(&["h2"]);
    let (told, log) = attacked_within(&upstream, &endless_bodies(80, 0.0), STATED_OF_CALLS);
    assert_eq!(told, true);
    assert!(log.refused_kinds().contains(&"crowded"), "{:?}", log.refused_kinds());
}

#[test]
fn where_they_come_slowly_enough_to_be_seen_not_to_move_they_take_less() {
    let upstream = Upstream::with_alpn(&["h2"]);
    let (told, log) = attacked_within(&upstream, &endless_bodies(40, 0.2), STATED + UNOPTIMISED);
    assert_eq!(told, true);
    assert!(log.refused_kinds().contains(&"crowded"), "{:?}", log.refused_kinds());
}
