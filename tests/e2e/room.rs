//! How much room a call log takes: texts that are too long are cut and say so, who fills it too fast waits, and where there is no more room no call
//! goes out.

use std::fs;
use std::time::Duration;

use record::cut::LONGEST_TEXT;
use record::{Event, Line};
use serde_json::Value;

use crate::harness::{Exeat, Run, Upstream, python_tools};

/// What a refusal's byte counts for.
const REFUSED: u64 = 8;

const SOME_PATHS: &str = "paths = [\"/echo/**\"]\nmethods = [\"GET\", \"POST\"]";

fn house(upstream: &Upstream, room: &str) -> Exeat {
    let exeat = Exeat::new().allow_with("api.example.com", upstream, SOME_PATHS).limit(Duration::from_secs(120));
    fs::write(exeat.config("log.toml"), format!("[room]\n{room}")).unwrap();
    exeat
}

fn sha256(text: &str) -> String {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What the records of a log count for.
fn counted(run: &Run) -> u64 {
    let bytes = run.log.text.lines().zip(&run.log.lines).map(|(text, line)| {
        assert!(text.len() < 3 * LONGEST_TEXT, "{text}");
        let times = if matches!(line.event, Event::Refused(_)) { REFUSED } else { 1 };
        text.len() as u64 * times
    });
    bytes.sum()
}

#[test]
fn a_flood_of_refusals_keeps_to_the_pace_and_a_polite_client_beside_it_hardly_waits() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "second = \"512KiB\"\nburst = \"1MiB\"\n");
    let run = exeat.run(&["python3", "-c", include_str!("room/flood.py"), "6"]).ok();
    let told = run.json();
    let polite: Vec<&Value> = told["polite"].as_array().unwrap().iter().collect();
    assert!(polite.iter().all(|status| **status == 200) && polite.len() > 15, "{told}");
    assert!(told["median"].as_f64().unwrap() < 0.3 && told["slowest"].as_f64().unwrap() < 3.0, "{told}");
    // A burst, the pace for as long as it ran, and one refusal for each connection that was let go on.
    let most = (1 << 20) + (512 << 10) * (run.took.as_secs() + 1) + 8 * REFUSED * 6000;
    let written = counted(&run);
    assert!(written < most && written > most / 3, "{written} of {most}: {told}");
    // Each that was answered is there.
    assert_eq!(run.log.refusals().len() as u64, told["refused"].as_u64().unwrap(), "{told}");
    exeat.exeat(&["verify"]).finish().ok();
}

#[test]
fn who_does_not_wait_for_an_answer_writes_no_more_and_is_counted() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "second = \"512KiB\"\nburst = \"1MiB\"\n");
    let run = exeat.run(&["python3", "-c", include_str!("room/flood.py"), "5", "leave"]).ok();
    let told = run.json();
    assert!(told["polite"].as_array().unwrap().iter().all(|status| *status == 200), "{told}");
    let most = (1 << 20) + (512 << 10) * (run.took.as_secs() + 1) + 10 * REFUSED * 6000;
    let written = counted(&run);
    assert!(written < most, "{written} of {most}: {told}");
    let refusals = run.log.refusals();
    let gone = refusals
        .iter()
        .filter(|refused| refused.reason.contains("the call log was behind, and its client did not wait"));
    assert!(gone.count() > 3, "{told}: {:?}", run.log.refused_kinds());
}

/// Runs it over HTTP/2 beside a polite client, whose calls are all answered; what came of it.
fn attacked(exeat: &Exeat, attack: &str) -> (Run, Value) {
    let program = format!("{}\n{attack}\nattacked(attack)", include_str!("floods/attack.py"));
    let mut live = exeat.start_with_input(&[&python_tools(), "-c", &program]);
    live.wait_for("\n");
    live.write("\n");
    let run = live.finish().ok();
    let told = run.json();
    assert!(told["polite"].as_array().unwrap().iter().all(|status| *status == 200), "{told}");
    (run, told)
}

#[test]
fn many_streams_of_one_connection_wait_behind_another_connections_call() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "second = \"512KiB\"\nburst = \"1MiB\"\n");
    let exeat = exeat.sandbox(&format!("read = [\"{}\"]", crate::harness::tools().display()));
    let attack = "
def attack():
    flood, number, end = Connection().greet(), 0, time.monotonic() + 5
    flood.send(frame(WINDOW_UPDATE, 0, 0, b'\\x7f\\0\\0\\0'))
    # Encoded once, which takes long: the path is longer than the table, and leaves it empty.
    request = flood.request(1, '/no/' + 'z' * 15_000)
    while time.monotonic() < end:
        while number < len(flood.done) + 100 and time.monotonic() < end:
            flood.send(request[:5] + (number * 2 + 1).to_bytes(4, 'big') + request[9:])
            number += 1
        time.sleep(0.01)
    return {'refused': len(flood.done)}";
    let (run, told) = attacked(&exeat, attack);
    // Each refusal takes 80 ms, a hundred take eight seconds.
    assert!(told["slowest"].as_f64().unwrap() < 1.0, "{told}");
    // Those that wait when the worker stops are refused then, all at once.
    let most = (1 << 20) + (512 << 10) * (run.took.as_secs() + 1) + 108 * REFUSED * 6000;
    let written = counted(&run);
    assert!(written < most && written > most / 3, "{written} of {most}: {told}");
}

#[test]
fn calls_that_were_taken_up_and_are_refused_later_wait_again_and_nobody_waits_for_all_of_them() {
    let upstream = Upstream::start();
    let room = "[room]\nsecond = \"512KiB\"\nburst = \"1MiB\"\n";
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "paths = [\"/echo/**\"]");
    let exeat = exeat.rule(&format!(
        "[[allow]]\nto = \"mcp.example.com\"\ndial = \"{}\"\nmcp = {{ tools = [\"search\"] }}",
        upstream.dial()
    ));
    fs::write(exeat.config("log.toml"), room).unwrap();
    let exeat =
        exeat.limit(Duration::from_secs(120)).sandbox(&format!("read = [\"{}\"]", crate::harness::tools().display()));
    let attack = "
def attack():
    flood = Connection(name='mcp.example.com').greet()
    body = json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'tools/call', 'params': {'name': 'other', 'arguments': {}}}).encode()
    fields = [('content-type', 'application/json'), ('accept', 'application/json, text/event-stream'), ('content-length', str(len(body)))]
    streams = range(1, 161, 2)
    # Taken up while the log is within its pace, and not refused before their last byte.
    for stream in streams:
        flood.send(flood.request(stream, '/mcp/' + 'z' * 8_000, 'POST', fields, end=False) + frame(DATA, 0, stream, body[:-1]))
    time.sleep(2)
    for stream in streams:
        flood.send(frame(DATA, 1, stream, body[-1:]))
    flood.wait(lambda: len(flood.done) == len(streams))
    return {'refused': sorted(set(flood.statuses.values())), 'done': len(flood.done)}";
    let (run, told) = attacked(&exeat, attack);
    // Each takes 80 ms or so, all of them six seconds.
    assert!(told["slowest"].as_f64().unwrap() < 1.5, "{told}");
    assert_eq!((&told["told"]["done"], run.log.refusals().len()), (&80.into(), 80), "{told}");
    assert!(
        run.log.refusals().iter().all(|refused| refused.kind == "tool-not-allowed"),
        "{:?}",
        run.log.refused_kinds()
    );
}

#[test]
fn what_is_too_long_for_a_record_is_cut_says_so_everywhere_and_can_be_proven() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "").option(&["--observe"]);
    let (path, query) = (format!("/echo/{}", "p".repeat(12_000)), "q=".to_owned() + &"Q".repeat(20_000));
    let (unlisted, long) = (format!("/other/{}", "o".repeat(12_000)), format!("/{}", "l".repeat(60_000)));
    exeat
        .python(&format!(
            "import http.client
def get(path):
    connection = http.client.HTTPSConnection('api.example.com')
    connection.request('GET', path)
    answer = connection.getresponse()
    answer.read()
    return answer.status
assert get('{path}?key=s3cret&{query}') == 200
assert get('{unlisted}') == 200
assert get('{long}') == 400"
        ))
        .ok();
    // What goes upstream is what was judged.
    assert!(upstream.seen().iter().any(|seen| seen.target == format!("{path}?key=s3cret&{query}")));
    let log = exeat.log();
    let line = |starts: &str| -> &Line {
        let has = |line: &&Line| match &line.event {
            Event::CallStart(start) => start.path.starts_with(starts),
            Event::Refused(refused) => refused.path.as_deref().is_some_and(|path| path.starts_with(starts)),
            _ => false,
        };
        log.lines.iter().find(has).unwrap()
    };
    let cut = &line("/echo/pp").cut;
    let expected = [("path", path.clone()), ("query", format!("key=…&{query}"))];
    for (field, whole) in &expected {
        assert_eq!((cut[*field].bytes, cut[*field].sha256.to_string()), (whole.len() as u64, sha256(whole)), "{field}");
    }
    let Event::CallStart(start) = &line("/echo/pp").event else { panic!("{log:?}") };
    assert!(start.path.len() <= LONGEST_TEXT && path.starts_with(start.path.strip_suffix('…').unwrap()));
    let Event::Refused(refused) = &line("/ll").event else { panic!("{log:?}") };
    assert_eq!((line("/ll").cut["path"].sha256.to_string(), refused.kind.as_str()), (sha256(&long), "malformed"));
    // Whoever reads it is told.
    let told = format!("path ({} bytes, SHA-256 {}", path.len(), sha256(&path));
    let shown = |arguments: &[&str]| exeat.exeat(arguments).finish().ok().stdout;
    assert!(shown(&["calls"]).contains(&format!("CUT: {told}")));
    assert_eq!(shown(&["calls", "--flagged"]).matches("CUT: path (").count(), 3);
    let flagged: Value = serde_json::from_str(shown(&["calls", "export", "--ocsf"]).lines().next().unwrap()).unwrap();
    assert_eq!(flagged["unmapped"]["cut"]["path"]["sha256"], sha256(&path), "{flagged}");
    let id = shown(&["calls", "--csv"]).lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert!(shown(&["calls", "show", &id]).contains(&format!("CUT         {told}")));
    // No rule is made of a part of a path, nor is one judged anew.
    let suggested = shown(&["suggest", "--agent", "bot", "--json"]);
    let suggested: Value = serde_json::from_str(&suggested).unwrap();
    assert_eq!((&suggested["rules"], &suggested["cut"]), (&Value::Array(Vec::new()), &3.into()), "{suggested}");
    let replayed = shown(&["check", "--replay", "1h"]);
    assert!(
        replayed.contains("0 calls of 0 agents judged again") && replayed.contains("only the beginning"),
        "{replayed}"
    );
    exeat.exeat(&["verify"]).finish().ok();
}

/// Calls until it is not answered 200; what it was answered then, and how often it was before.
const UNTIL_REFUSED: &str = "
import http.client, json
connection, answered = http.client.HTTPSConnection('api.example.com'), 0
for _ in range(3000):
    connection.request('GET', f'/echo/{answered}')
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        break
    answered += 1
print(json.dumps({'answered': answered, 'status': answer.status, 'text': text}))
";

#[test]
fn a_log_that_is_as_long_as_it_may_be_lets_no_further_call_out_and_says_so() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "worker = \"64KiB\"\n");
    let run = exeat.python(UNTIL_REFUSED).ok();
    let (told, log) = (run.json(), &run.log);
    assert!(
        told["status"] == 503 && told["text"].as_str().unwrap().contains("log.toml lets no worker write more"),
        "{told}"
    );
    let answered = told["answered"].as_u64().unwrap();
    assert!(
        answered > 20 && log.calls().len() as u64 == answered && upstream.seen().len() as u64 == answered,
        "{told}"
    );
    assert_eq!(log.refused_kinds(), ["log-unavailable"]);
    assert!((65_536..75_000).contains(&log.text.len()), "{}", log.text.len());
    exeat.exeat(&["verify"]).finish().ok();
}

#[test]
fn no_call_goes_out_where_its_disk_has_too_little_room_left() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "free = \"1000TiB\"\n");
    let run = exeat.python(UNTIL_REFUSED).ok();
    let told = run.json();
    let text = told["text"].as_str().unwrap();
    assert!(
        told["status"] == 503 && text.contains("its disk has ") && text.contains("1048576000 MiB stay free"),
        "{told}"
    );
    assert_eq!((told["answered"].as_u64(), run.log.refused_kinds()), (Some(0), vec!["log-unavailable"]));
    upstream.assert_untouched();
}
