//! `exeat run --observe` lets pass what no rule covers and says so; never past a deny rule, with a credential, or to an address that a rule
//! has to list.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use crate::credentials::SECRET;
use crate::harness::{Exeat, Forward, Run, Upstream, WEBSOCKET, within};

/// Names that no rule lists resolve to an address of the world, and are reached by way of the house's proxy: the tests have no world.
fn observing(proxy: &Forward) -> Exeat {
    Exeat::new()
        .hosts("11.0.0.1 new.example.com api.example.com denied.example.net\n10.0.0.5 inside.example.com\n")
        .upstream(&format!("proxy = \"http://{}\"", proxy.address()))
        .option(&["--observe"])
}

fn statuses(run: &Run) -> Vec<&str> {
    run.stdout.split_whitespace().collect()
}

/// One curl, of which the status is printed.
fn curl(arguments: &str) -> String {
    format!("curl -sS -o answer -w '%{{http_code}} ' {arguments}\n")
}

#[test]
fn what_no_rule_covers_passes_and_is_marked_and_told_at_both_ends() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let script = curl("--http1.1 https://new.example.com/a/1") + &curl("--http2 -d x https://new.example.com/a/2");
    let run = observing(&proxy).sh(&script).ok();
    assert_eq!(statuses(&run), ["200", "200"], "{run:#?}");
    let seen: Vec<_> = upstream.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    assert_eq!(seen, ["GET /a/1", "POST /a/2"]);
    assert!(run.log.start().observe);
    for call in run.log.calls() {
        let observed = call.observed.as_ref().unwrap();
        assert_eq!(observed.kind, "host-not-listed");
        assert!(observed.reason.contains("new.example.com"), "{}", observed.reason);
        assert_eq!(call.rule, "no rule (observed)");
        assert!(call.credential.is_none());
    }
    let said: Vec<&str> = run.stderr.lines().collect();
    assert!(said[0].contains("observing: calls that no rule of `bot` covers pass"), "{run:#?}");
    assert!(run.stderr.contains("observed: 2 calls passed that no rule of `bot` covers"), "{run:#?}");
    assert!(run.stderr.contains("exeat suggest --agent bot"), "{run:#?}");
    assert!(run.log.refusals().is_empty());
}

#[test]
fn every_want_of_a_rule_passes_at_a_listed_host_and_what_a_rule_covers_is_not_marked() {
    let (upstream, plain) = (Upstream::start(), Upstream::plain());
    let exeat = Exeat::new()
        .allow_with("api.example.com", &upstream, "methods = [\"GET\"]\npaths = [\"/listed\", \"/b\"]")
        .allow_with("api.example.com:8080", &plain, "methods = [\"HEAD\"]")
        .option(&["--observe"]);
    let script = curl("https://api.example.com/listed")
        + &curl("https://api.example.com/other")
        + &curl("-X PUT https://api.example.com/listed")
        + &curl("https://api.example.com/a/%2e%2e/b")
        + &curl("http://api.example.com:8080/plain");
    let run = exeat.sh(&script).ok();
    assert_eq!(statuses(&run), ["200"; 5], "{run:#?}");
    let marks: Vec<_> =
        run.log.calls().iter().map(|call| call.observed.as_ref().map(|observed| observed.kind.clone())).collect();
    let mark = |kind: &str| Some(kind.to_owned());
    let expected = [None, mark("path-not-allowed"), mark("method-not-allowed"), None, mark("plain-http-not-allowed")];
    assert_eq!(marks, expected);
    assert!(run.stderr.contains("observed: 3 calls passed"), "{run:#?}");
}

#[test]
fn a_deny_rule_wins_over_observing_at_hosts_that_no_rule_allows_too() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = observing(&proxy)
        .rule("[[deny]]\nto = \"*.example.net\"")
        .rule("[[deny]]\nto = \"new.example.com\"\npaths = [\"/secret/**\"]");
    let script = curl("https://denied.example.net/")
        + &curl("https://new.example.com/secret/1")
        + &curl("--path-as-is 'https://new.example.com/x/..;/secret/1'")
        + &curl("--path-as-is https://new.example.com/x/../%73ecret/1")
        + &curl("https://new.example.com/secret%2f1");
    let run = exeat.sh(&script).ok();
    assert_eq!(statuses(&run), ["403", "403", "400", "403", "403"], "{run:#?}");
    upstream.assert_no_request();
    assert!(run.log.calls().is_empty());
    assert!(run.stderr.contains("observed: 0 calls passed"), "{run:#?}");
}

#[test]
fn a_credential_never_goes_where_no_rule_lets_it() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let proxy = Forward::to(&upstream.dial());
    let to = "to = [\"api.example.com\"]\nin = [\"header\", \"query\", \"body\", \"websocket\"]\nenv = \"API_KEY\"\n";
    let exeat = observing(&proxy).fixed("api", SECRET, to).allow_with(
        "api.example.com",
        &upstream,
        "methods = [\"GET\"]\ncredential = \"api\"",
    );
    let header = "-H \"Authorization: Bearer $API_KEY\"";
    let script = curl(&format!("{header} https://new.example.com/"))
        + &curl("-G --data-urlencode \"k=$API_KEY\" https://new.example.com/")
        + &curl("https://new.example.com/$API_KEY")
        + &curl("-H 'Content-Type: application/json' -d \"{\\\"k\\\": \\\"$API_KEY\\\"}\" https://new.example.com/")
        // Its own host, and a method that the rule with the credential does not list.
        + &curl(&format!("-X PUT {header} https://api.example.com/"));
    let run = exeat.sh(&script).ok();
    assert_eq!(statuses(&run), ["403"; 5], "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"; 5]);
    assert!(run.log.refusals().iter().all(|refused| refused.alert));
    assert!(!upstream.seen().iter().any(|seen| seen.shows(SECRET) || seen.method == "PUT"), "{:#?}", upstream.seen());
    assert!(exeat.leases().is_empty());
}

#[test]
fn a_websocket_passes_as_a_call_and_a_placeholder_in_it_closes_it() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let proxy = Forward::to(&upstream.dial());
    let exeat =
        observing(&proxy).fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"websocket\"]\nenv = \"API_KEY\"\n");
    let program = format!(
        "{WEBSOCKET}
stream = open('new.example.com')
say(stream, b'note ' + os.environ['API_KEY'].encode())
print(rest(stream))"
    );
    let run = exeat.run(&["/usr/bin/python3", "-c", &program]).ok();
    assert!(run.stdout.starts_with("b'\\x88") && run.stdout.contains("\\x03\\xf0the placeholder of"), "{run:#?}");
    assert_eq!(run.log.calls()[0].observed.as_ref().unwrap().kind, "host-not-listed");
    assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"]);
}

#[test]
fn an_address_that_a_rule_has_to_list_stays_out_of_reach() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let exeat = Exeat::new()
        .hosts("10.0.0.5 inside.example.com\n127.0.0.1 here.example.com\n169.254.169.254 metadata.example.com\n")
        .option(&["--observe"]);
    let script = curl("http://169.254.169.254/latest/meta-data/")
        + &curl("http://metadata.example.com/")
        + &curl("https://inside.example.com/")
        + &curl(&format!("http://here.example.com:{port}/"))
        + &curl(&format!("http://10.0.0.5:{port}/"));
    let run = exeat.sh(&script).ok();
    assert_eq!(statuses(&run), ["403"; 5], "{run:#?}");
    let ends: Vec<_> =
        run.log.ends().iter().map(|end| (end.outcome.clone(), end.forbidden.unwrap().to_string())).collect();
    let refused = |address: &str| ("refused".into(), address.to_owned());
    let expected = ["169.254.169.254", "169.254.169.254", "10.0.0.5", "127.0.0.1", "10.0.0.5"].map(refused);
    assert_eq!(ends, expected);
    assert!(run.log.ends().iter().all(|end| end.address.is_none()));
    assert!(listener.accept().is_err(), "this machine was dialled");
    assert!(run.stderr.contains("observed: 0 calls passed"), "{run:#?}");
    assert!(run.stderr.contains("5 calls more would have gone to an address that a rule has to list"), "{run:#?}");
}

/// Its own public addresses are like any of the world, but that what listens there may be for this machine alone.
#[test]
fn this_machine_stays_out_of_reach_at_whatever_address() {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // A network in which nobody else is, and in which this machine has an address of the world.
    let own = "ip link set lo up && ip address add 11.0.0.9/32 dev lo";
    let exeat = Exeat::new().option(&["--observe"]);
    let exeat = if user == 0 {
        exeat.through(&["unshare", "--net", "sh", "-c", &format!("{own} && exec \"$@\""), "sh"])
    } else {
        let again = format!("{own} && exec unshare --user --map-user={user} --map-group={group} \"$@\"");
        exeat.through(&["unshare", "--user", "--map-root-user", "--net", "sh", "-c", &again, "sh"])
    };
    let run = exeat.sh(&(curl("http://11.0.0.9:8080/") + &curl("http://11.0.0.10:8080/"))).ok();
    // To the other one there is no way from here.
    assert_eq!(statuses(&run), ["403", "502"], "{run:#?}");
    let reason = run.log.ends()[0].reason.clone().unwrap();
    assert!(reason.contains("11.0.0.9 (an address of this machine)"), "{reason}");
}

#[test]
fn what_has_no_single_reading_or_is_no_http_is_refused_as_ever() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = observing(&proxy);
    let program = "
import socket
def say(port, text):
    stream = socket.create_connection(('new.example.com', port), 5)
    stream.sendall(text)
    try:
        return stream.recv(100)[:12]
    except ConnectionError:
        return b''
print(say(22, b'SSH-2.0-OpenSSH_9.2\\r\\n'))
print(say(80, b'GET //a HTTP/1.1\\r\\nHost: new.example.com\\r\\n\\r\\n'))
print(say(80, b'GET / HTTP/1.1\\r\\nHost: api.example.com\\r\\n\\r\\n'))
print(say(80, b'GET / HTTP/1.1\\r\\nHost: new.example.com\\r\\n\\r\\n'))";
    let run = exeat.run(&["/usr/bin/python3", "-c", program]).ok();
    // The last one is plain, and the house's proxy would choose the address of a name that nothing proves.
    assert_eq!(run.log.refused_kinds(), ["not-http", "malformed", "witnesses-disagree", "host-not-listed"], "{run:#?}");
    let learned = exeat.exeat(&["suggest", "--agent", "bot"]).finish().ok().stdout;
    assert!(learned.contains("spoken to new.example.com:22; if") && learned.contains("tls = \"tcp\""), "{learned}");
    assert!(run.log.calls().is_empty() && proxy.heads().is_empty(), "{run:#?}");
}

#[test]
fn a_reload_goes_on_observing_and_a_new_deny_rule_holds() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = observing(&proxy);
    let ask = curl("https://new.example.com/");
    let mut live = exeat.start_with_input(&["sh", "-c", &format!("{ask} while read line; do {ask} done")]);
    live.wait_for("200");
    let workers = exeat.exeat(&["workers"]).finish().ok();
    assert!(workers.stdout.contains("(observes)"), "{workers:#?}");
    assert_eq!(exeat.exeat(&["workers", "--json"]).finish().json()[0]["observes"], true);
    let before = fs::read_to_string(exeat.policy_file()).unwrap();
    let reloads = |live: &crate::harness::Live| live.log().text.matches("\"policy-reloaded\"").count();
    for (edit, status) in
        [("[[deny]]\nto = \"other.example.com\"\n", "200"), ("[[deny]]\nto = \"new.example.com\"\n", "403")]
    {
        let seen = reloads(&live);
        fs::write(exeat.policy_file(), format!("{before}{edit}")).unwrap();
        within(Duration::from_secs(5), "the new policy in force", || reloads(&live) > seen);
        let answers = live.stdout().split_whitespace().count();
        live.write("again\n");
        within(Duration::from_secs(5), "an answer", || live.stdout().split_whitespace().count() > answers);
        assert_eq!(live.stdout().split_whitespace().last(), Some(status));
    }
    live.close_input();
    live.finish().ok();
}

#[test]
fn where_only_ports_are_captured_it_says_which_are_seen() {
    let upstream = Upstream::start();
    let proxy = Forward::to(&upstream.dial());
    let exeat = observing(&proxy).option(&["--capture-ports-only"]);
    let run = exeat.sh(&curl("https://new.example.com/")).ok();
    assert_eq!(statuses(&run), ["200"], "{run:#?}");
    assert!(
        run.stderr.contains("only connections to these ports are captured, and can be observed: 80, 443"),
        "{run:#?}"
    );
}
