//! Where a credential needs a person's permission, nothing is leased before they have given it, and no longer than they said.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use broker::ledger::State;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Exeat, Live, Run, TokenEndpoint, Upstream, binary, within};

const SOON: Duration = Duration::from_secs(10);
const CALL: &str = "curl -sS -i -w '\\nthen %{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/upload 2>&1";

/// The credential `api`, for which permission is needed, and which a call waits for so long.
pub fn guarded(upstream: &Upstream, issuer: &TokenEndpoint, wait: &str) -> Exeat {
    let lines =
        format!("{}to = [\"api.example.com\"]\nenv = \"API_KEY\"\napprove = {{ wait = \"{wait}\" }}\n", issuer.lines());
    let exeat = Exeat::new().secret("client", TokenEndpoint::SECRET).credential("api", &lines);
    exeat.allow_with("api.example.com", upstream, "credential = \"api\"")
}

pub fn ask(exeat: &Exeat, arguments: &[&str]) -> Run {
    exeat.exeat(arguments).finish()
}

/// What waits now.
fn pending(exeat: &Exeat) -> Vec<Value> {
    let Value::Array(all) = ask(exeat, &["approvals", "--json"]).ok().json() else { panic!("no list") };
    all
}

/// The only request, once it is there.
pub fn the_request(exeat: &Exeat) -> (String, Value) {
    let mut found = Vec::new();
    within(SOON, "a request", || {
        found = pending(exeat);
        !found.is_empty()
    });
    assert_eq!(found.len(), 1, "{found:?}");
    (found[0]["id"].as_str().unwrap().to_owned(), found[0].clone())
}

pub fn calling(exeat: &Exeat, script: &str) -> Live {
    exeat.start_with_input(&["sh", "-c", script])
}

fn journal(exeat: &Exeat) -> Vec<Value> {
    let text = fs::read_to_string(exeat.state().join("leases/approvals.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_call_waits_and_goes_through_once_it_is_approved() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = guarded(&upstream, &issuer, "30s");
    let mut live = calling(&exeat, &format!("{CALL}; {CALL}; sleep 60"));
    let (id, request) = the_request(&exeat);
    let worker = live.log().start().worker.clone();
    assert_eq!((&request["worker"], &request["agent"]), (&worker.as_str().into(), &"bot".into()));
    assert_eq!((&request["credential"], &request["destination"]), (&"api".into(), &"api.example.com:443".into()));
    assert_eq!(request["state"], "pending");
    let waits = ask(&exeat, &["approve", "--json"]).ok().json();
    assert_eq!((&waits[0]["id"], waits.as_array().unwrap().len()), (&id.as_str().into(), 1));
    for list in [&["approvals"][..], &["approve"]] {
        let listed = ask(&exeat, list).ok().stdout;
        assert!(listed.contains(&format!("{id} {worker} bot")) && listed.contains("waits"), "{listed}");
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(issuer.asked(), 0, "the issuer is not asked before");
    upstream.assert_untouched();
    let approved = ask(&exeat, &["approve", &id]).ok().stdout;
    assert!(approved.contains("as long as its worker lives"), "{approved}");
    live.wait_for("then 200\n");
    within(SOON, "both calls", || live.log().ends().len() == 2);
    assert!(pending(&exeat).is_empty());
    assert!(ask(&exeat, &["approvals", "--all"]).ok().stdout.contains("approved by user"));
    let log = live.log();
    let waited = |call: usize| log.calls()[call].credential.as_ref().unwrap().waited_ms;
    assert!(waited(0).unwrap() >= 500.0 && waited(1).is_none(), "{:?} {:?}", waited(0), waited(1));
    let journal = journal(&exeat);
    let approved = &journal[0]["state"]["approved"];
    assert_eq!((journal.len(), &journal[0]["id"], &approved["term"]), (1, &id.as_str().into(), &"worker".into()));
    assert_eq!(approved["by"], rustix::process::getuid().as_raw());
    assert!(approved["at"].is_string());
    let mode = fs::metadata(exeat.state().join("leases/approvals.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    live.signal(Signal::TERM);
    let run = live.finish();
    assert!(run.stderr.contains(&format!("waits for permission: exeat approve {id}")), "{run:#?}");
    assert_eq!(run.stderr.matches("waits for permission").count(), 1, "{run:#?}");
}

#[test]
fn one_that_is_denied_is_told_in_the_operators_words() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = guarded(&upstream, &issuer, "30s");
    let mut live = calling(&exeat, &format!("{CALL}; echo first; {CALL}; echo second; read x; {CALL}"));
    let (id, _) = the_request(&exeat);
    for wrong in ["", "two\nlines", "\u{1b}[2J"] {
        ask(&exeat, &["deny", &id, "--why", wrong]).ended_with(125);
    }
    let denied = ask(&exeat, &["deny", &id, "--why", "not before the release; ask \"ops\"", "--json"]).ok().json();
    assert_eq!(denied["state"]["denied"]["why"], "not before the release; ask \"ops\"", "{denied}");
    live.wait_for("second");
    let (first, second) = live.stdout().split_once("first").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    for answer in [&first, &second] {
        assert!(answer.contains("then 403") && answer.contains("urn:exeat:refusal:not-approved"), "{answer}");
        assert!(answer.contains("not before the release; ask \\\"ops\\\""), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("retry-after"), "{answer}");
    }
    assert_eq!(live.log().refused_kinds(), ["not-approved", "not-approved"], "it stands for the next call, too");
    assert_eq!(issuer.asked(), 0);
    upstream.assert_untouched();
    ask(&exeat, &["approve", &id]).ok();
    live.write("\n");
    assert!(live.finish().ok().stdout.ends_with("then 200\n"), "until it is approved after all");
}

#[test]
fn one_that_nobody_decides_on_is_told_what_to_ask_for_and_joins_its_request_again() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = guarded(&upstream, &issuer, "1s");
    let mut live = calling(&exeat, &format!("{CALL}; {CALL}; echo asked; read x; {CALL}"));
    live.wait_for("asked");
    let (id, _) = the_request(&exeat);
    let answer = live.stdout().to_ascii_lowercase();
    assert_eq!(answer.matches("then 503").count(), 2, "{answer}");
    assert_eq!(answer.matches("retry-after: 10\r\n").count(), 2, "{answer}");
    assert_eq!(answer.matches("content-type: application/problem+json").count(), 2, "{answer}");
    let problem = live.stdout();
    let problem = &problem[problem.find('{').unwrap()..=problem.find("\n}").unwrap() + 1];
    let problem: Value = serde_json::from_str(problem).unwrap();
    assert_eq!((&problem["type"], &problem["status"]), (&"urn:exeat:refusal:awaits-approval".into(), &503.into()));
    assert!(problem["detail"].as_str().unwrap().contains("nobody has given it within 1 s; nothing was sent"));
    assert!(problem["ask_for"].as_str().unwrap().contains(&format!("`exeat approve {id}`")), "{problem}");
    assert_eq!(live.log().refused_kinds(), ["awaits-approval", "awaits-approval"]);
    ask(&exeat, &["approve", &id]).ok();
    live.write("\n");
    let run = live.finish().ok();
    assert!(run.stdout.ends_with("then 200\n"), "{run:#?}");
    assert!(run.log.calls()[0].credential.as_ref().unwrap().waited_ms.is_none(), "this one had not to wait");
    upstream.only();
}

#[test]
fn once_is_for_one_lease() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(6));
    let exeat = guarded(&upstream, &issuer, "1s");
    let script =
        format!("{CALL}; echo asked; read x; {CALL}; {CALL}; echo called; sleep 6; {CALL}; echo over; sleep 60");
    let mut live = calling(&exeat, &script);
    live.wait_for("asked");
    let (id, _) = the_request(&exeat);
    assert!(ask(&exeat, &["approve", &id, "--once"]).ok().stdout.contains("for one lease"));
    live.write("\n");
    live.wait_for("called");
    assert_eq!((live.stdout().matches("then 200").count(), issuer.asked()), (2, 1));
    live.wait_for("over");
    assert_eq!((live.stdout().matches("then 503").count(), issuer.asked()), (2, 1), "{}", live.stdout());
    assert!(the_request(&exeat).0 != id);
    assert!(issuer.all_revoked());
    assert_eq!(exeat.leases()[0].reason.as_deref(), Some("its permission ran out"));
}

#[test]
fn for_a_time_is_no_longer_also_for_what_streams() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = guarded(&upstream, &issuer, "20s");
    let stream =
        "curl -sSN -H \"Authorization: Bearer $API_KEY\" 'https://api.example.com/sse?n=600&ms=100'; echo ended";
    let mut live = calling(&exeat, &format!("{stream}; {CALL}; sleep 60"));
    let (id, _) = the_request(&exeat);
    let told = ask(&exeat, &["approve", &id, "--for", "3s"]).ok().stdout;
    assert!(told.contains(" until 20"), "{told}");
    let until: jiff::Timestamp = journal(&exeat)[0]["state"]["approved"]["until"].as_str().unwrap().parse().unwrap();
    live.wait_for("data:");
    live.wait_for("ended");
    let log = live.log();
    let line = log.lines.iter().find(|line| matches!(&line.event, record::Event::CallEnd(_))).unwrap();
    let late = line.time.duration_since(until).as_millis();
    assert!((0..1000).contains(&late) && log.ends()[0].outcome == "cut", "{late} ms: {:?}", log.ends()[0]);
    within(SOON, "the lease revoked", || issuer.all_revoked() && exeat.last_lease_is(State::Revoked));
    let (next, _) = the_request(&exeat);
    assert_ne!(next, id);
    ask(&exeat, &["approve", &id]).ended_with(125);
    ask(&exeat, &["approve", &next, "--for-worker"]).ok();
    live.wait_for("then 200");
    ask(&exeat, &["approve", &next, "--for", "100000d"]).ended_with(125);
    ask(&exeat, &["approve", &next, "--for", "soon"]).ended_with(2);
}

#[test]
fn each_worker_of_an_agent_needs_its_own() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = guarded(&upstream, &issuer, "30s");
    let mut one = calling(&exeat, &format!("{CALL}; sleep 60"));
    let (id, _) = the_request(&exeat);
    let mut other = calling(&exeat, &format!("{CALL}; sleep 60"));
    within(SOON, "two requests", || pending(&exeat).len() == 2);
    ask(&exeat, &["approve", &id]).ok();
    one.wait_for("then 200");
    let (next, _) = the_request(&exeat);
    assert!(next != id && other.stdout().is_empty() && issuer.asked() == 1);
    ask(&exeat, &["approve", &next]).ok();
    other.wait_for("then 200");
}

#[test]
fn a_request_goes_with_its_worker_however_that_ends() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    for way in ["kill", "stop", "offboard"] {
        let exeat = guarded(&upstream, &issuer, "60s");
        let live = calling(&exeat, CALL);
        let (id, _) = the_request(&exeat);
        let begun = std::time::Instant::now();
        match way {
            "kill" => {
                live.signal(Signal::KILL);
                drop(live);
            }
            "stop" => {
                ask(&exeat, &["stop", "--agent", "bot"]).ok();
                live.finish().ended_with(123);
            }
            _ => {
                let evidence = ask(&exeat, &["offboard", "bot", "--json"]).ok().json();
                assert_eq!(evidence["leases"], serde_json::json!([]));
                live.finish().ended_with(123);
            }
        }
        assert!(begun.elapsed() < SOON, "{way}");
        within(SOON, "no request", || pending(&exeat).is_empty());
        let run = ask(&exeat, &["approve", &id]).ended_with(125);
        assert!(
            run.stderr.contains(&format!("no request {id} waits")) && run.stderr.contains("exeat approvals"),
            "{run:#?}"
        );
    }
    assert_eq!(issuer.asked(), 0);
    upstream.assert_untouched();
}

#[test]
fn a_service_has_the_requests_of_all_its_workers() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = guarded(&upstream, &issuer, "30s");
    let socket = exeat.path("broker.sock").display().to_string();
    let service = exeat.exeat(&["broker", "serve", "--socket", &socket]);
    within(SOON, "the service", || Path::new(&socket).exists());
    let run =
        Exeat::new().allow_with("api.example.com", &upstream, "credential = \"api\"").option(&["--broker", &socket]);
    let mut live = calling(&run, &format!("{CALL}; sleep 60"));
    let (id, _) = the_request(&exeat);
    ask(&exeat, &["approve", &id]).ok();
    live.wait_for("then 200");
    let all = || ask(&exeat, &["approvals", "--all", "--json"]).ok().json();
    assert_eq!(all().as_array().unwrap().len(), 1);
    live.signal(Signal::KILL);
    drop(live);
    within(SOON, "nothing left of its worker", || all() == serde_json::json!([]));
    service.signal(Signal::TERM);
}

#[test]
fn nobody_inside_and_no_other_user_decides() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = guarded(&upstream, &issuer, "60s");
    let program = exeat.path("exeat");
    fs::copy(binary(), &program).unwrap();
    let all = exeat.path("").display().to_string();
    let exeat = exeat.sandbox(&format!("read = [\"{all}\"]"));
    let program = program.display();
    let script = format!(
        "({CALL}) & read id; export EXEAT_STATE={0} EXEAT_CONFIG={1}
        {program} approvals; {program} approve $id || echo could not; find / -xdev -name control 2>/dev/null; echo tried; wait",
        exeat.state().display(),
        exeat.config("").display()
    );
    let mut live = calling(&exeat, &script);
    let (id, _) = the_request(&exeat);
    live.write(&format!("{id}\n"));
    live.wait_for("tried");
    let tried = live.stdout();
    assert!(tried.contains("could not") && !tried.contains(&id) && !tried.contains("/control"), "{tried}");
    // Outside, others meet the directory's mode; root lets one try.
    let broker = fs::read_dir(exeat.state().join("leases")).unwrap().flatten().find(|entry| entry.path().is_dir());
    let broker = broker.unwrap().path();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&broker), mode(&broker.join("control")), mode(&broker.join("control.key"))),
        (0o700, 0o600, 0o600)
    );
    if rustix::process::getuid().is_root() {
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let walls = [exeat.path(""), exeat.state(), exeat.state().join("leases"), broker.clone()];
        walls.iter().for_each(|path| open(path, 0o755));
        open(&broker.join("control"), 0o666);
        // With the right key, even.
        let key = fs::read_to_string(broker.join("control.key")).unwrap();
        let program = "import socket, sys
control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
control.settimeout(10)
try:
    control.sendall(b'GET /v1/approvals HTTP/1.1\\r\\nhost: broker\\r\\nauthorization: Bearer %s\\r\\n\\r\\n' % sys.argv[2].encode())
    print('answer', control.recv(1000))
except OSError as error:
    print('error', error)";
        let path = broker.join("control").display().to_string();
        let talk = |command: &mut Command| {
            command.env("PATH", "/usr/local/bin:/usr/bin:/bin"); // one that the other user has as well
            let output = command.args(["python3", "-c", program, &path, &key]).output().unwrap();
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
        };
        let ours = talk(&mut Command::new("env"));
        assert!(ours.contains("200 OK") && ours.contains(&id), "{ours}");
        let user = ["--reuid=65533", "--regid=65533", "--clear-groups"];
        let theirs = talk(Command::new("setpriv").args(user));
        assert!(theirs == "answer b''\n" || theirs.starts_with("error"), "{theirs}");
    }
    assert_eq!(the_request(&exeat).0, id, "nobody has decided");
    assert_eq!(issuer.asked(), 0);
    live.signal(Signal::KILL);
}
