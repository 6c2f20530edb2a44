//! A policy that is edited applies from the next request on, also on connections that stand; one with a mistake does not.

use record::Event;
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::harness::{Exeat, Live, Upstream, within};

/// Asks five times a second on one connection and prints each status.
const ASKING: &str = "
import http.client, time
connection = http.client.HTTPSConnection('api.example.com')
while True:
    connection.request('GET', '/echo')
    answer = connection.getresponse()
    answer.read()
    print(answer.status, flush=True)
    time.sleep(0.2)";

/// How long after the edit the next request is judged by it.
const SOON: Duration = Duration::from_secs(4);

/// The digests of policies that came into force, and why others did not.
fn told(live: &Live) -> (Vec<String>, Vec<String>) {
    let (mut reloaded, mut rejected) = (Vec::new(), Vec::new());
    for line in live.log().lines {
        match line.event {
            Event::PolicyReloaded { policy } => reloaded.push(policy),
            Event::PolicyRejected { reason } => rejected.push(reason),
            _ => {}
        }
    }
    (reloaded, rejected)
}

fn last_status(live: &Live) -> String {
    live.stdout().lines().last().unwrap_or_default().to_owned()
}

fn asking(upstream: &Upstream) -> (Exeat, Live, String) {
    let exeat = Exeat::new().allow("api.example.com", upstream);
    let mut live = exeat.start(&["python3", "-c", ASKING]);
    live.wait_for("200");
    let text = fs::read_to_string(exeat.policy_file()).unwrap();
    (exeat, live, text)
}

#[test]
fn an_edit_applies_from_the_next_request_on_of_a_standing_connection() {
    let upstream = Upstream::start();
    let (exeat, live, before) = asking(&upstream);
    fs::write(exeat.policy_file(), before.replace("api.example.com", "www.example.com")).unwrap();
    within(SOON, "the call refused", || last_status(&live) == "403");
    fs::write(exeat.policy_file(), &before).unwrap();
    within(SOON, "the call allowed again", || last_status(&live) == "200");
    let log = live.log();
    let policies: Vec<_> = log.calls().iter().map(|call| call.policy.clone()).collect();
    assert_eq!(policies.first(), policies.last());
    assert!(log.refusals().iter().all(|refused| refused.connection == log.calls()[0].connection), "{log:#?}");
    assert_eq!(log.lines.iter().filter(|line| matches!(line.event, Event::PolicyReloaded { .. })).count(), 2);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_editor_that_replaces_the_file_is_noticed_too() {
    let upstream = Upstream::start();
    let (exeat, live, _) = asking(&upstream);
    let new = exeat.config("agents/.bot.toml.swp");
    fs::write(&new, "# nothing is allowed any more\n").unwrap();
    fs::rename(new, exeat.policy_file()).unwrap();
    within(SOON, "the call refused", || last_status(&live) == "403");
}

#[test]
fn a_broken_edit_keeps_the_last_good_policy_and_says_so() {
    let upstream = Upstream::start();
    let (exeat, live, before) = asking(&upstream);
    fs::write(exeat.policy_file(), format!("{before}\n[[allow]]\nto = \"not a host\"\n")).unwrap();
    let rejected = |live: &Live| told(live).1;
    within(SOON, "the rejection in the log", || !rejected(&live).is_empty());
    assert!(rejected(&live)[0].contains("not a host"), "{:?}", rejected(&live));
    let seen = upstream.seen().len();
    upstream.wait_for(seen + 3);
    assert_eq!(last_status(&live), "200");
    assert_eq!(rejected(&live).len(), 1, "it is said once");
    fs::remove_file(exeat.policy_file()).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(last_status(&live), "200");
}

#[test]
fn half_of_what_is_being_written_is_not_in_force_though_it_is_a_policy() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .allow("api.example.com", &upstream)
        .rule("[[deny]]\nto = \"api.example.com\"\npaths = [\"/echo\"]\n");
    let text = fs::read_to_string(exeat.policy_file()).unwrap();
    let mut live = exeat.start(&["python3", "-c", ASKING]);
    live.wait_for("403");
    let (half, rest) = text.split_at(text.find("[[deny]]").unwrap());
    let mut file = fs::File::create(exeat.policy_file()).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    // Two looks by the clock, and another agent's file that is saved meanwhile.
    std::thread::sleep(Duration::from_millis(2500));
    fs::write(exeat.config("agents/other.toml"), "").unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    file.write_all(rest.as_bytes()).unwrap();
    file.write_all(b"# edited\n").unwrap();
    assert_eq!(told(&live), (Vec::new(), Vec::new()));
    drop(file);
    within(SOON, "the whole of it", || told(&live).0.len() == 1);
    assert!(live.stdout().lines().all(|status| status == "403"), "{}", live.stdout());
    upstream.assert_no_request();
}

#[test]
fn a_link_that_is_swapped_is_noticed_as_kubernetes_swaps_it() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let agents = exeat.config("agents");
    // The files that it names are beside the link.
    let text = fs::read_to_string(exeat.policy_file()).unwrap();
    for (version, text) in [("..1", text.as_str()), ("..2", "# nothing is allowed any more\n")] {
        fs::create_dir(agents.join(version)).unwrap();
        fs::write(agents.join(version).join("bot.toml"), text).unwrap();
    }
    fs::remove_file(exeat.policy_file()).unwrap();
    symlink("..1", agents.join("..data")).unwrap();
    symlink("..data/bot.toml", exeat.policy_file()).unwrap();
    let mut live = exeat.start(&["python3", "-c", ASKING]);
    live.wait_for("200");
    let asked = Instant::now();
    symlink("..2", agents.join("..data_tmp")).unwrap();
    fs::rename(agents.join("..data_tmp"), agents.join("..data")).unwrap();
    within(SOON, "the call refused", || last_status(&live) == "403");
    // Not by the clock, which looks twice in four seconds before it believes.
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn where_the_kernel_tells_of_no_change_the_clock_does() {
    let upstream = Upstream::start();
    let script =
        "echo 0 > /proc/sys/user/max_inotify_instances && exec unshare --user --map-user=1000 --map-group=1000 \"$@\"";
    let exeat = Exeat::new().allow("api.example.com", &upstream).through(&[
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    let mut live = exeat.start(&["python3", "-c", ASKING]);
    live.wait_for("200");
    let text = fs::read_to_string(exeat.policy_file()).unwrap();
    fs::write(exeat.policy_file(), text.replace("api.example.com", "www.example.com")).unwrap();
    within(SOON, "the call refused", || last_status(&live) == "403");
    let worker = live.log().start().worker.clone();
    let stopped = exeat.exeat(&["stop", &worker]).finish();
    assert!(stopped.stdout.contains("stopped"), "{stopped:#?}");
}

#[test]
fn what_was_rejected_is_told_with_the_workers_until_it_is_mended() {
    let upstream = Upstream::start();
    let (exeat, live, before) = asking(&upstream);
    let digest = live.log().start().policy.clone();
    fs::write(exeat.policy_file(), format!("{before}\n[[alow]]\nto = \"a\u{7}.example\"\n")).unwrap();
    within(SOON, "the rejection", || told(&live).1.len() == 1);
    let listed = exeat.exeat(&["workers"]).finish().ok().stdout;
    let row = format!("{} 20", &digest["sha256:".len()..][..12]);
    assert!(listed.contains(&row) && listed.contains("\n    rejected at 20"), "{listed}");
    assert!(listed.contains("bot.toml:") && listed.contains("exeat check") && !listed.contains('\u{7}'), "{listed}");
    let json = exeat.exeat(&["workers", "--json"]).finish().ok().json();
    let told_of = &json[0];
    assert!(told_of["policy_since"].is_string() && told_of["policy_rejected_at"].is_string(), "{json}");
    assert_eq!(
        (told_of["policy"].as_str().unwrap(), told_of["policy_rejected"].as_str().unwrap()),
        (digest.as_str(), told(&live).1[0].as_str())
    );
    fs::write(exeat.policy_file(), before).unwrap();
    within(SOON, "that it is mended", || told(&live).0 == [digest.clone()]);
    let json = exeat.exeat(&["workers", "--json"]).finish().ok().json();
    assert!(json[0]["policy_rejected"].is_null() && json[0]["policy_since"] == told_of["policy_since"], "{json}");
    let run = {
        live.signal(Signal::TERM);
        live.finish()
    };
    assert!(run.stderr.contains("the last good policy stays in force"), "{run:#?}");
}

/// Begins an upload for each of these, and ends them once it is told to.
const UPLOADING: &str = "
import http.client, sys
under_way = []
for method, path, fields in [
    ('PUT', '/upload', {'X-Amz-Copy-Source': '/secret/key'}),
    ('POST', '/upload?_method=DELETE', {}),
    ('POST', '/upload', {'X-Original-URL': '/secret/key'}),
    ('POST', '/upload', {'X-Amz-Copy-Source': '/open/key'}),
]:
    connection = http.client.HTTPSConnection('api.example.com')
    connection.putrequest(method, path)
    for name, value in (fields | {'Content-Type': 'text/plain', 'Transfer-Encoding': 'chunked'}).items():
        connection.putheader(name, value)
    connection.endheaders(b'1\\r\\na\\r\\n')
    under_way.append(connection)
print('open', flush=True)
sys.stdin.readline()
for connection in under_way:
    try:
        connection.send(b'1\\r\\nb\\r\\n0\\r\\n\\r\\n')
        print(connection.getresponse().status)
    except (OSError, http.client.HTTPException):
        print('ended')";

#[test]
fn a_call_under_way_that_has_a_server_act_on_something_else_is_judged_by_the_policy_that_comes() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let mut live = exeat.start_with_input(&["python3", "-c", UPLOADING]);
    live.wait_for("open");
    within(SOON, "all calls in the log", || live.log().calls().len() == 4);
    let policy = fs::read_to_string(exeat.policy_file()).unwrap();
    let denied = "[[deny]]\nto = \"api.example.com\"\npaths = [\"/secret/**\"]\n";
    fs::write(exeat.policy_file(), format!("{policy}{denied}")).unwrap();
    within(SOON, "three calls ended", || live.log().ends().len() == 3);
    live.write("\n");
    let run = live.finish().ok();
    let told: Vec<&str> = run.stdout.lines().skip(1).collect();
    assert!(told.len() == 4 && told[..3].iter().all(|status| *status != "200") && told[3] == "200", "{told:?}");
    let ends: Vec<_> = run.log.ends().iter().map(|end| end.reason.clone().unwrap_or_default()).collect();
    for why in ["x-amz-copy-source", "_method", "x-original-url"] {
        assert_eq!(ends.iter().filter(|reason| reason.contains(why)).count(), 1, "{why}: {ends:#?}");
    }
}
