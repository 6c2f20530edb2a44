//! What a call under way stands on may go: the policy, the lease, the broker. Then it is cut off within a second; what still
//! stands goes on.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use record::{CallEnd, Event, Line};
use rustix::process::Signal;

use crate::broker_service::serve;
use crate::credentials::leased;
use crate::harness::{Exeat, Live, RawUpstream, TokenEndpoint, Upstream, python_tools, tools, within};

/// For a busy machine; how long it took by exeat's own clock is in the log.
const SOON: Duration = Duration::from_secs(5);
/// What is promised.
const SECOND: Duration = Duration::from_secs(1);

/// An event every tenth of a second for a minute.
const EVENTS: &str = "https://api.example.com/sse?n=600&ms=100";

/// Prints what comes over a WebSocket on which something is said ten times a second, and how it ends.
const TALKING: &str = "import asyncio, websockets
async def main():
    async with websockets.connect('wss://api.example.com/ws', proxy=None) as socket:
        while True:
            await socket.send('still there')
            print(await socket.recv(), flush=True)
            await asyncio.sleep(0.1)
try:
    asyncio.run(main())
except websockets.ConnectionClosed:
    print('closed', flush=True)";

/// Sends a piece of a body ten times a second, for a minute, and prints how far it came and the answer.
const UPLOADING: &str = "import http.client, time
connection = http.client.HTTPSConnection('api.example.com')
connection.putrequest('POST', '/upload')
connection.putheader('Transfer-Encoding', 'chunked')
connection.endheaders()
try:
    for _ in range(600):
        connection.send(b'5\\r\\nhello\\r\\n')
        print('sent', flush=True)
        time.sleep(0.1)
except OSError:
    print('broken off', flush=True)
try:
    print(connection.getresponse().status, flush=True)
except (OSError, http.client.HTTPException):
    print('no answer', flush=True)";

/// Edits the policy; when that began.
fn edit(exeat: &Exeat, from: &str, to: &str) -> Timestamp {
    let before = fs::read_to_string(exeat.policy_file()).unwrap();
    assert!(before.contains(from), "{before}");
    let edited = Timestamp::now();
    fs::write(exeat.policy_file(), before.replace(from, to)).unwrap();
    edited
}

/// The first end of a call since then, which was recorded within a second: of the edit, not of the reload.
#[track_caller]
pub fn ended_within_a_second(lines: &[Line], since: Timestamp) -> &CallEnd {
    let ended = |line: &&Line| matches!(line.event, Event::CallEnd(_)) && line.time >= since;
    let line = lines.iter().find(ended).expect("no call ended since");
    let took = line.time.duration_since(since).unsigned_abs();
    assert!(took <= SECOND, "it took {took:?}");
    let Event::CallEnd(end) = &line.event else { unreachable!("it was looked for") };
    end
}

fn cut(live: &Live) -> bool {
    live.log().ends().iter().any(|end| end.outcome == "cut")
}

#[test]
fn a_policy_that_no_longer_allows_it_cuts_off_a_stream() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::with_alpn(&["h2", "http/1.1"]);
        let exeat = Exeat::new().allow("api.example.com", &upstream);
        let mut live = exeat.start(&["sh", "-c", &format!("curl -sSN {version} '{EVENTS}'; echo ended")]);
        live.wait_for("data:");
        let edited = edit(&exeat, "api.example.com", "www.example.com");
        within(SOON, "the stream ended", || live.stdout().contains("ended"));
        let log = live.finish().log;
        let end = ended_within_a_second(&log.lines, edited);
        assert_eq!((&*end.outcome, end.status), ("cut", Some(200)), "{version}: {end:?}");
        assert!(end.reason.as_ref().unwrap().contains("api.example.com"), "{end:?}");
    }
}

#[test]
fn and_a_websocket_and_an_upload() {
    for program in [TALKING, UPLOADING] {
        let upstream = Upstream::start();
        let read = format!("read = [\"{}\"]", tools().display());
        let exeat = Exeat::new().sandbox(&read).allow("api.example.com", &upstream);
        let mut live = exeat.start(&[&python_tools(), "-c", program]);
        live.wait_for(if program == TALKING { "still there\nstill there" } else { "sent\nsent" });
        let edited = edit(&exeat, "api.example.com", "www.example.com");
        let run = live.finish().ok();
        let end = ended_within_a_second(&run.log.lines, edited);
        let expected = if program == TALKING { "cut" } else { "refused" };
        assert_eq!(end.outcome, expected, "{run:#?}");
        match program == TALKING {
            true => assert!(run.stdout.ends_with("closed\n"), "{run:#?}"),
            false => assert!(run.stdout.ends_with("403\n") || run.stdout.ends_with("no answer\n"), "{run:#?}"),
        }
    }
}

#[test]
fn each_of_many_uploads_is_refused_and_none_is_said_to_have_failed_upstream() {
    let upstream = Upstream::with_alpn(&["h2", "http/1.1"]);
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let threads = "import threading
all = [threading.Thread(target=exec, args=(uploading, {})) for _ in range(16)]
[thread.start() for thread in all]
[thread.join() for thread in all]";
    let mut live = exeat.start(&["python3", "-c", &format!("uploading = r'''{UPLOADING}'''\n{threads}")]);
    live.wait_for("sent");
    within(SOON, "all under way", || live.log().calls().len() == 16);
    edit(&exeat, "api.example.com", "www.example.com");
    let log = live.finish().ok().log;
    let told: Vec<_> = log.ends().iter().map(|end| (end.outcome.clone(), end.status)).collect();
    assert_eq!(told, vec![("refused".into(), Some(403)); 16], "{:#?}", log.ends());
}

#[test]
fn other_tools_than_it_was_opened_with_cut_off_the_stream_of_a_session() {
    let upstream = RawUpstream::start(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n");
    let rule = format!(
        "[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"\nmcp = {{ tools = [\"search\"] }}\n",
        upstream.dial()
    );
    let exeat = Exeat::new().rule(&rule);
    let mut live = exeat.start(&["sh", "-c", "curl -sSN https://api.example.com/mcp; echo ended"]);
    live.wait_for(":");
    edit(&exeat, "dial", "rate = \"9/s\"\ndial");
    let is_reload = |line: &Line| matches!(line.event, Event::PolicyReloaded { .. });
    within(SOON, "the first policy", || live.log().lines.iter().any(is_reload));
    let edited = edit(&exeat, "search", "write");
    within(SOON, "the stream ended", || live.stdout().contains("ended"));
    let log = live.finish().log;
    let end = ended_within_a_second(&log.lines, edited);
    assert_eq!(end.outcome, "cut", "{end:?}");
    assert!(end.reason.as_ref().unwrap().contains("was changed while the call was under way"), "{end:?}");
    let before = log.lines.iter().take_while(|line| !matches!(line.event, Event::CallEnd(_)));
    assert_eq!(before.filter(|line| is_reload(line)).count(), 2, "a policy that says the same of tools cut it off");
}

#[test]
fn an_address_that_is_another_or_listed_no_longer_cuts_off_what_stands_on_it_and_one_that_is_added_does_not() {
    for (before, grown, after) in [
        ("dial = \"{}\"", "dial = \"{}\"\naddresses = [\"10.0.0.0/8\"]", "dial = \"127.0.0.1:1\""),
        ("dial = \"{}\"\naddresses = [\"10.0.0.0/8\"]", "dial = \"{}\"\naddresses = [\"10.0.0.0/7\"]", "dial = \"{}\""),
    ] {
        let upstream = Upstream::start();
        let [before, grown, after] = [before, grown, after].map(|lines| lines.replace("{}", &upstream.dial()));
        let exeat = Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\n{before}\n# end\n"));
        let mut live = exeat.start(&["sh", "-c", &format!("curl -sSN '{EVENTS}'; echo ended")]);
        live.wait_for("data:");
        let is_reload = |line: &Line| matches!(line.event, Event::PolicyReloaded { .. });
        edit(&exeat, &format!("{before}\n# end"), &format!("{grown}\n# end"));
        within(SOON, "the first policy", || live.log().lines.iter().any(is_reload));
        let edited = edit(&exeat, &format!("{grown}\n# end"), &format!("{after}\n# end"));
        within(SOON, "the stream ended", || live.stdout().contains("ended"));
        let log = live.finish().log;
        let end = ended_within_a_second(&log.lines, edited);
        assert_eq!(end.outcome, "cut", "{end:?}");
        assert!(end.reason.as_ref().unwrap().contains("is another than the call took"), "{end:?}");
        let before = log.lines.iter().take_while(|line| !matches!(line.event, Event::CallEnd(_)));
        assert_eq!(before.filter(|line| is_reload(line)).count(), 2, "a longer list cut it off");
    }
}

#[test]
fn one_that_still_allows_it_leaves_it_alone() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let script = "curl -sSfN 'https://api.example.com/sse?n=40&ms=100' | grep -c data:";
    let live = exeat.start(&["sh", "-c", script]);
    within(SOON, "the call", || !live.log().calls().is_empty());
    edit(&exeat, "[[allow]]", "[[deny]]\nto = \"www.example.com\"\n\n[[allow]]\nmethods = [\"GET\"]");
    let run = live.finish().ok();
    assert_eq!(run.stdout, "40\n");
    assert_eq!(run.log.ends()[0].outcome, "done");
}

#[test]
fn a_credential_that_the_rule_no_longer_names_cuts_off_what_carries_it() {
    let upstream = Upstream::start();
    let issuer = TokenEndpoint::start(300);
    let exeat = leased(&upstream, &issuer);
    let script = format!("curl -sSN -H \"Authorization: Bearer $API_KEY\" '{EVENTS}'; echo ended");
    let mut live = exeat.start(&["sh", "-c", &script]);
    live.wait_for("data:");
    let edited = edit(&exeat, "credential = \"api\"", "");
    within(SOON, "the stream ended", || live.stdout().contains("ended"));
    let log = live.finish().log;
    let end = ended_within_a_second(&log.lines, edited);
    assert_eq!(end.outcome, "cut");
    assert!(end.reason.as_ref().unwrap().contains("credential `api` was taken back"), "{end:?}");
}

/// A worker of a broker that is a service: one stream with its lease, and one without.
fn two_streams(upstream: &Upstream, issuer: &TokenEndpoint) -> (Live, Exeat, Live, String) {
    let team = leased(upstream, issuer);
    let (serving, socket) = serve(&team);
    let exeat = Exeat::new()
        .allow_with("api.example.com", upstream, "credential = \"api\"")
        .allow("www.example.com", upstream)
        .option(&["--broker", &socket]);
    let script = format!(
        "key=\"Authorization: Bearer $API_KEY\"
        (curl -sSN '{}' | sed -u s/data:/other/) &
        curl -sSN -H \"$key\" '{EVENTS}'; echo ended
        curl -sS -o /dev/null -w 'then %{{http_code}}\\n' -H \"$key\" https://api.example.com/echo; sleep 60",
        EVENTS.replace("api.", "www.")
    );
    let mut live = exeat.start(&["sh", "-c", &script]);
    live.wait_for("data:");
    live.wait_for("other");
    (serving, exeat, live, socket)
}

#[test]
fn a_lease_that_is_revoked_cuts_off_what_carries_it_and_is_used_no_more() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let (_serving, exeat, mut live, socket) = two_streams(&upstream, &issuer);
    let lease = live.log().calls().iter().find_map(|call| call.credential.clone()).unwrap().lease;
    let told = Timestamp::now();
    let run = exeat.exeat(&["revoke", "--broker", &socket, "--lease", &lease]).finish().ok();
    assert_eq!(run.stdout, format!("{lease}: revoked\n"));
    within(SOON, "the stream cut", || cut(&live));
    assert_eq!(ended_within_a_second(&live.log().lines, told).outcome, "cut");
    live.wait_for("then 200");
    assert_eq!(issuer.issued().len(), 2, "the next call has a lease of its own");
    assert_eq!(issuer.revoked(), issuer.issued()[..1]);
    let sent = upstream.seen().last().unwrap().header("authorization").unwrap().to_owned();
    assert_eq!(sent, format!("Bearer {}", issuer.issued()[1]));
    let others = live.stdout().matches("other").count();
    within(SOON, "more of the other stream", || live.stdout().matches("other").count() > others + 3);
    let again = exeat.exeat(&["revoke", "--broker", &socket, "--lease", &lease]).finish();
    assert!(again.code == Some(125) && again.stderr.contains("hint:"), "{again:#?}");
    live.signal(Signal::KILL);
}

#[test]
fn a_broker_that_stops_cuts_off_what_carries_its_leases() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let (serving, _exeat, mut live, _) = two_streams(&upstream, &issuer);
    let told = Timestamp::now();
    serving.signal(Signal::TERM);
    within(SOON, "the stream cut", || cut(&live));
    assert_eq!(ended_within_a_second(&live.log().lines, told).outcome, "cut");
    live.wait_for("then 503");
    serving.finish().ok();
    let others = live.stdout().matches("other").count();
    within(SOON, "more of the other stream", || live.stdout().matches("other").count() > others + 3);
    assert_eq!(issuer.issued().len(), 1);
    live.signal(Signal::KILL);
}

#[test]
fn a_worker_takes_back_no_lease_of_another() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let (_serving, exeat, live, socket) = two_streams(&upstream, &issuer);
    let lease = live.log().calls().iter().find_map(|call| call.credential.clone()).unwrap().lease;
    let asking = format!(
        "import http.client, json, socket
connection = http.client.HTTPConnection('broker')
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect('{socket}')
shown = open('{socket}.key').read()
for method, path, body in (('POST', '/v1/workers', '{{\"agent\":\"bot\"}}'), ('DELETE', '/v1/leases/{lease}', None)):
    connection.request(method, path, body, {{'Authorization': 'Bearer ' + shown}})
    answer = connection.getresponse()
    said = answer.read().decode()
    shown = json.loads(said).get('session')
    print(answer.status, said)"
    );
    let asked = std::process::Command::new("python3").args(["-c", &asking]).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(said.contains("\n403 "), "{said} {asked:?}");
    assert!(issuer.revoked().is_empty() && !cut(&live));
    drop(exeat);
    live.signal(Signal::KILL);
}

#[test]
fn what_is_open_when_the_command_ends_has_its_end_in_the_log_before_the_worker() {
    let upstream = Upstream::start();
    let read = format!("read = [\"{}\"]", tools().display());
    let exeat = Exeat::new().sandbox(&read).allow("api.example.com", &upstream);
    let script = "import os, threading
def leave():
    import time
    time.sleep(1)
    os._exit(0)
threading.Thread(target=leave).start()
";
    let run = exeat.run(&[&python_tools(), "-c", &format!("{script}{TALKING}")]).ok();
    assert!(matches!(run.log.lines.last().unwrap().event, Event::WorkerEnd(_)), "{run:#?}");
    assert_eq!((run.log.calls().len(), run.log.ends().len()), (1, 1), "{run:#?}");
}
