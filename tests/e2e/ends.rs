//! A command that is to end is asked first, has time to, and is killed when that is over: by its wall clock, by SIGTERM, by an operator.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Authority, Exeat, Live, Run, Upstream, process_with, python_tools, tools};

/// With a child that is known by its mark.
fn stubborn(mark: &str) -> String {
    format!("trap '' TERM; echo up; sleep {mark} & while :; do sleep 0.1; done")
}

fn started(exeat: &Exeat, script: &str) -> Live {
    let mut live = exeat.start(&["sh", "-c", script]);
    live.wait_for("up");
    live
}

#[track_caller]
fn took(run: &Run, least: f64) {
    assert!((least..least + 15.0).contains(&run.took.as_secs_f64()), "{run:#?}");
}

#[test]
fn when_the_wall_clock_runs_out_who_can_end_does_so_in_peace() {
    let exeat = Exeat::new().sandbox("wall_clock = \"1s\"");
    let run = exeat.sh("trap 'echo written down; exit 0' TERM; echo up; sleep 60 & wait").ended_with(124);
    assert_eq!(run.stdout, "up\nwritten down\n", "{run:#?}");
    assert_eq!(
        (run.log.end().outcome.as_str(), run.log.end().limit.as_deref()),
        ("out of time after 1s", Some("wall_clock"))
    );
    assert!(run.stderr.contains("wall clock of 1s") && run.stderr.contains("raise `wall_clock`"), "{run:#?}");
    assert!(run.took < Duration::from_secs(5), "{run:#?}");
    let limits = &run.log.start().sandbox["limits"];
    assert_eq!((&limits["wall_clock"], &limits["grace"]), (&1.into(), &5.into()));
}

#[test]
fn who_ignores_being_asked_is_killed_after_its_grace_with_all_its_children() {
    let exeat = Exeat::new().sandbox("wall_clock = \"1s\"\ngrace = \"1s\"");
    let run = exeat.sh(&stubborn("4715.1")).ended_with(124);
    took(&run, 2.0);
    assert_eq!(run.log.end().outcome, "out of time after 1s, and killed 1s later");
    assert!(!process_with("4715.1"));
    exeat.exeat(&["verify"]).finish().ok();
}

#[test]
fn a_stopped_command_is_woken_to_end() {
    let exeat = Exeat::new().sandbox("wall_clock = \"1s\"\ngrace = \"20s\"");
    let run = exeat.sh("kill -STOP $$").ended_with(124);
    assert!(run.took < Duration::from_secs(15), "{run:#?}");
}

#[test]
fn sigterm_is_passed_on_and_a_command_that_does_not_end_is_killed() {
    let exeat = Exeat::new().sandbox("grace = \"1s\"");
    let live = started(&exeat, &stubborn("4715.2"));
    live.signal(Signal::TERM);
    let run = live.finish().ended_with(137);
    took(&run, 1.0);
    assert!(run.stderr.contains("did not end within 1s of SIGTERM") && run.stderr.contains("`grace`"), "{run:#?}");
    assert_eq!(run.log.end().outcome, "killed, as it did not end within 1s of SIGTERM");

    let live = started(&exeat, "trap 'exit 7' TERM; echo up; sleep 60 & wait");
    live.signal(Signal::TERM);
    let run = live.finish().ended_with(7);
    assert!(run.log.end().outcome == "Code(7)" && run.stderr.is_empty(), "it ended by itself: {run:#?}");
}

#[test]
fn a_second_sigterm_kills_at_once_and_one_that_is_sent_twice_does_not() {
    let exeat = Exeat::new().sandbox("grace = \"50s\"");
    let live = started(&exeat, &stubborn("4715.3"));
    live.signal(Signal::TERM);
    sleep(Duration::from_millis(1500));
    live.signal(Signal::TERM);
    let run = live.finish().ended_with(137);
    assert!(run.took < Duration::from_secs(20), "{run:#?}");

    // As timeout(1) does, which signals its child and then its child's group.
    let live = started(&exeat, "trap 'sleep 2; echo written down; exit 3' TERM; echo up; sleep 60 & wait");
    live.signal(Signal::TERM);
    sleep(Duration::from_millis(100));
    live.signal(Signal::TERM);
    assert!(live.finish().ended_with(3).stdout.contains("written down"));
}

#[test]
fn an_interrupt_is_the_commands_to_judge() {
    let exeat = Exeat::new().sandbox("grace = \"1s\"");
    let live = started(
        &exeat,
        "trap 'echo not yet' INT; echo up; n=0; while [ $n -lt 30 ]; do sleep 0.1; n=$((n+1)); done; exit 4",
    );
    live.signal(Signal::INT);
    assert!(live.finish().ended_with(4).stdout.contains("not yet"));
}

#[test]
fn what_an_operator_stops_may_save_its_work_and_has_no_way_out_any_more() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let call = "curl -sS -m 3 -o /dev/null -w '%{http_code}' https://api.example.com/echo";
    let script = format!(
        "trap 'sleep 1; {call} > after; echo saved > work; exit 0' TERM; {call} > before; echo up; sleep 60 & wait"
    );
    let live = started(&exeat, &script);
    let begun = Instant::now();
    let stopped = exeat.exeat(&["stop", "--agent", "bot"]).finish().ok();
    assert!(stopped.stdout.ends_with("(bot): stopped\n") && begun.elapsed() < Duration::from_secs(10), "{stopped:#?}");
    let run = live.finish().ended_with(123);
    let read = |name: &str| fs::read_to_string(exeat.work().join(name)).unwrap();
    assert_eq!((read("before").as_str(), read("work").as_str()), ("200", "saved\n"), "{run:#?}");
    assert_ne!(read("after"), "200");
    assert_eq!((run.log.calls().len(), upstream.seen().len()), (1, 1), "{run:#?}");
}

/// A program inside that prepares, says so, and goes on once it is asked to end; HTTP/2 is spoken by hand.
fn stopped_by_hand(exeat: Exeat, prepare: &str, then: &str) -> Run {
    let exeat = exeat.sandbox(&format!("read = [\"{}\"]", tools().display()));
    let program = format!(
        "{}\nimport signal\nasked = threading.Event()\nsignal.signal(signal.SIGTERM, lambda *_: asked.set())\n{prepare}\nprint('up', flush=True)
while not asked.is_set():
    time.sleep(0.01)\n{then}",
        include_str!("floods/attack.py")
    );
    let mut live = exeat.start(&[&python_tools(), "-c", &program]);
    live.wait_for("up");
    exeat.exeat(&["stop", "--agent", "bot"]).finish().ok();
    live.finish().ended_with(123)
}

#[test]
fn what_stands_open_when_an_operator_stops_begins_no_further_call() {
    let upstream = Upstream::with_alpn(&["h2", "http/1.1"]);
    let plain = Upstream::plain();
    let exeat = Exeat::new().allow("api.example.com", &upstream).allow("www.example.com:80", &plain).allow_with(
        "pinned.example.com",
        &upstream,
        "tls = \"passthrough\"",
    );
    fs::write(exeat.work().join("ca.pem"), Authority::trusted().pem()).unwrap();
    // It never answers the ping by which a server learns that its word of going away has come.
    let prepare = "class Deaf(Connection):
    def take(self, kind, flags, stream, payload):
        if kind != PING:
            super().take(kind, flags, stream, payload)
talking = Deaf().greet()
talking.send(talking.request(1, '/before'))
assert talking.wait(lambda: 1 in talking.done)
silent, pinned = (socket.create_connection(to, timeout=3) for to in (('www.example.com', 80), ('pinned.example.com', 443)))";
    let then = "time.sleep(0.1)
for stream in range(3, 9, 2):
    talking.send(talking.request(stream, '/after'))
talking.wait(lambda: len(talking.done) == 4, 2)
print(sorted(talking.statuses.items()))
silent.sendall(b'GET /after HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n')
print(silent.recv(12).decode())
try:
    ssl.create_default_context(cafile='ca.pem').wrap_socket(pinned, server_hostname='pinned.example.com')
except OSError:
    print('not passed')";
    let run = stopped_by_hand(exeat, prepare, then);
    let told = "up\n[(1, 200), (3, 503), (5, 503), (7, 503)]\nHTTP/1.1 503\nnot passed\n";
    assert_eq!(run.stdout, told, "{run:#?}");
    assert!(run.log.refused_kinds().iter().filter(|kind| **kind == "stopped").count() >= 5, "{run:#?}");
    assert!(run.log.refusals()[0].reason.contains("none begins"), "{run:#?}");
    plain.assert_untouched();
    assert_eq!((upstream.only().target.as_str(), run.log.tunnels().len()), ("/before", 0), "{run:#?}");
}

#[test]
fn a_call_that_waits_for_its_client_has_no_time_of_its_own_after_a_stop() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let prepare = "slow = Connection().greet()
slow.send(slow.request(1, '/big?bytes=200000000'))
assert slow.wait(lambda: slow.bytes.get(1) == 65535)";
    let then = "time.sleep(1.5)
more = (1 << 30).to_bytes(4, 'big')
slow.send(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, 1, more))
print(slow.wait(lambda: 1 in slow.resets, 2), slow.bytes[1], slow.bytes[1] < 1 << 20)";
    let run = stopped_by_hand(exeat, prepare, then);
    assert!(run.stdout.starts_with("up\nTrue ") && run.stdout.ends_with("True\n"), "{run:#?}");
    assert_eq!(run.log.ends()[0].outcome, "cut", "{run:#?}");
}

#[test]
fn what_an_operator_stops_and_does_not_end_is_killed_before_the_operator_tires() {
    let exeat = Exeat::new().sandbox("grace = \"1m\"");
    let live = started(&exeat, &stubborn("4715.4"));
    let stopped = exeat.exeat(&["stop", "--agent", "bot"]).finish().ok();
    assert!(stopped.stdout.ends_with("(bot): stopped\n"), "the worker itself did not have to be killed: {stopped:#?}");
    let run = live.finish().ended_with(123);
    assert!(run.log.end().outcome.starts_with("stopped, and killed as it did not end: exeat stop"), "{run:#?}");
    assert!(!process_with("4715.4"));
}
