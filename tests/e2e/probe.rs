//! The security team's battery: every wall holds under an agent's real policy, and each attempt can say *broke*.

mod broker;
mod outside;
mod sabotaged;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use self::outside::{Findings, Outside, WORD};
use crate::harness::{Exeat, Run, Upstream, binary};

/// Runs the probe under the agent's policy; its document, if it has one.
fn probe(exeat: &Exeat, options: &[&str]) -> (Run, Value) {
    let run = exeat.exeat(&[&["probe", "--agent", "bot", "--json"], options].concat()).finish();
    let document = serde_json::from_str(&run.stdout).unwrap_or(Value::Null);
    (run, document)
}

fn findings(document: &Value) -> Findings {
    Findings::of(document["findings"].as_array().unwrap_or_else(|| panic!("{document}")).iter().cloned())
}

/// A policy with everything that the battery looks at.
fn exeat(upstream: &Upstream) -> Exeat {
    // Two of them at once take long beside other tests.
    Exeat::new()
        .limit(Duration::from_secs(170))
        .rule("[[allow]]\nto = \"pinned.example.com\"\ntls = \"passthrough\"")
        .fixed(
            "api",
            "s3cret-of-the-broker",
            "to = [\"api.example.com\", \"api.example.com:80\"]\nin = [\"header\"]\nenv = \"API_KEY\"\n",
        )
        .allow_with("api.example.com", upstream, "credential = \"api\"\npaths = [\"/repos/acme/**\"]")
        .allow("www.example.com", upstream)
        .rule("[[allow]]\nto = \"db.example.com:5432\"\ntls = \"tcp\"")
        .allow_with("api.example.com:80", upstream, "plain = true\npaths = [\"/repos/acme/**\"]")
        .allow_with("mcp.example.com", upstream, "mcp = { tools = [\"search\"] }")
        .allow_with("graphql.example.com", upstream, "graphql = { operations = [\"query\"] }")
        .rule("[[deny]]\nto = \"api.example.com\"\npaths = [\"/repos/acme/payroll/**\"]")
}

#[test]
fn every_wall_holds_under_a_real_policy() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream)
        .fixed("note", "n0te-of-the-broker", "to = [\"notes.example.com\"]\nin = [\"body\"]\nenv = \"NOTE_KEY\"\n")
        .allow_with("notes.example.com", &upstream, "credential = \"note\"")
        .fixed("talk", "t4lk-of-the-broker", "to = [\"talk.example.com\"]\nin = [\"websocket\"]\nenv = \"TALK_KEY\"\n")
        .allow_with("talk.example.com", &upstream, "credential = \"talk\"");
    let (run, document) = probe(&exeat, &[]);
    let found = findings(&document);
    assert_eq!(found.with("broke"), [""; 0], "{document:#}");
    assert_eq!(run.code, Some(0), "{run:#?}");
    upstream.assert_untouched();
    // What can be said of this machine at all is said: nothing is set aside that a test of sabotage shows to break here.
    for id in found.with("not-applicable") {
        let has_none = ["network/tcp-machine", "network/broker-socket"].contains(&id);
        assert!(excuse(id).is_some() || has_none, "{id}: {document:#}");
    }
    // The placeholder is what each of these was refused for, so it was seen in every spelling.
    for (id, (_, seen)) in found.0.iter().filter(|(id, _)| id.starts_with("placeholders/")) {
        let why = match id.as_str() {
            "placeholders/other-codings" | "placeholders/bomb" => "unexamined-body",
            "placeholders/tunnel" | "placeholders/websocket-deflate" => "closed without an answer",
            "placeholders/answer" => "its placeholder came in its place",
            _ => "placeholder-misdirected",
        };
        assert!(seen.contains(why), "{id}: {seen}");
        // A credential for messages changes nothing where it does not belong.
        let named = !id.starts_with("placeholders/websocket") || seen.contains("TALK_KEY to www.example.com: ");
        assert!(named, "{id}: {seen}");
    }
    // And these for what they say, not for want of a rule.
    for (id, why) in [
        ("framing/other-hosts", "HTTP 421 witnesses-disagree"),
        ("framing/overriding", "HTTP 400 malformed"),
        ("framing/overriding-query", "HTTP 400 malformed"),
        ("framing/overriding-form", "HTTP 400 malformed"),
        ("framing/copy-sources", "HTTP 400 malformed"),
        ("framing/destination", "HTTP 400 malformed"),
    ] {
        assert_eq!(found.0[id].1, why, "{id}: {document:#}");
    }
    assert_eq!(document["schema"], "exeat-probe/1");
    assert_eq!(document["agent"], "bot");
    let counted = |verdict: &str| found.with(&verdict.replace('_', "-")).len() as u64;
    for verdict in ["held", "broke", "not_applicable"] {
        assert_eq!(document[verdict].as_u64(), Some(counted(verdict)), "{verdict}");
    }
    let log = exeat.log();
    assert!(log.calls().iter().all(|call| call.query.as_deref().is_some_and(|query| query.starts_with("canary="))));
    assert_eq!(exeat.log().start().worker, document["worker"].as_str().unwrap());
}

#[test]
fn a_person_gets_a_line_for_each_attempt_and_one_at_the_end() {
    let run = Exeat::new();
    fs::write(run.policy_file(), "").unwrap();
    // The result is told, also where there is no place to keep it.
    fs::create_dir_all(run.state()).unwrap();
    fs::write(run.state().join("probes"), "").unwrap();
    let run = run.exeat(&["probe", "--agent", "bot"]).finish().ok();
    assert!(run.stderr.contains("could not be kept in `") && run.stderr.contains("/probes/bot.json"), "{run:#?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("exeat probe: agent bot, worker "), "{run:#?}");
    assert!(lines.iter().any(|line| line.starts_with("  held            tcp-loopback ")), "{run:#?}");
    // Where no rule allows anything, that a request was refused does not say that it was read aright.
    for name in ["lengths", "codings", "hidden-fields", "hosts", "http2-authority", "host-field", "no-server-name"] {
        let found = lines.iter().any(|line| line.starts_with(&format!("  not applicable  {name} ")));
        assert!(found, "{name}: {run:#?}");
    }
    assert!(lines.last().unwrap().contains(" held, 0 broke, "), "{run:#?}");
}

#[test]
fn what_cannot_be_run_to_its_end_is_neither_held_nor_broke() {
    let missing = Exeat::new().exeat(&["probe", "--agent", "nobody"]).finish();
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(2), ""), "{missing:#?}");
    // An agent whose time is too short for it.
    let exeat = Exeat::new().sandbox("wall_clock = \"1s\"").rule("");
    let (run, _) = probe(&exeat, &[]);
    assert_eq!(run.code, Some(2), "{run:#?}");
    assert!(run.stderr.contains("ended early") && run.stderr.contains("wall clock"), "{run:#?}");
}

#[test]
fn without_any_wall_nearly_everything_breaks() {
    let found = bare();
    for id in [
        "isolation/capabilities",
        "isolation/environment",
        "isolation/handed-over",
        "isolation/inherited-descriptors",
        "isolation/keyring",
        "isolation/namespaces",
        "isolation/new-privileges",
        "isolation/own-directories",
        "isolation/own-files",
        "isolation/processes",
        "isolation/secret-file",
        "isolation/syscall-filter",
        "isolation/temporary-files",
        "kernel/setuid-file",
        "kernel/user-namespace",
        "network/abstract-socket",
        "network/tcp-loopback",
        "network/tcp-machine",
        "network/udp-machine",
        "network/unix-socket",
    ] {
        assert_eq!(found.verdict(id), "broke", "{id}: {found:#?}");
    }
}

#[test]
fn with_some_walls_those_hold_and_the_missing_one_breaks() {
    // Files and processes are kept apart by bubblewrap, which shares the network.
    let (inside, binary, outside) = ("/tmp/exeat-under-test", binary(), Outside::new());
    let own = outside.path("");
    let own = own.to_str().unwrap();
    let wrapper =
        ["bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", own];
    let more = ["--unshare-pid", "--unshare-user", "--ro-bind", &binary, inside];
    let exec = ["sh", "-c", "shift; exec /tmp/exeat-under-test \"$@\"", "sh"];
    let found = outside.through(&[&wrapper[..], &more, &exec].concat()).battery();
    for held in ["isolation/own-files", "isolation/temporary-files", "isolation/processes", "network/unix-socket"] {
        assert_eq!(found.verdict(held), "held", "{held}: {found:#?}");
    }
    for broke in ["network/tcp-loopback", "network/udp-machine", "network/abstract-socket"] {
        assert_eq!(found.verdict(broke), "broke", "{broke}: {found:#?}");
    }
}

/// Where the kernel lets nothing else through, what one system call sends is told from what the others do.
#[test]
fn a_system_call_that_sends_datagrams_is_tried_by_itself() {
    let ways = ["network/udp-unconnected", "network/udp-sendmmsg", "network/unix-datagram", "network/unix-sendmmsg"];
    let (sendto, sendmsg, sendmmsg) = if cfg!(target_arch = "aarch64") { (206, 211, 269) } else { (44, 46, 307) };
    let refused = [(vec![sendto, sendmsg], ["held", "broke"]), (vec![sendmmsg], ["broke", "held"])];
    let masked = [(vec![sendto], ["broke", "broke"]), (vec![sendmsg], ["broke", "broke"])];
    for (calls, verdicts) in refused.into_iter().chain(masked) {
        let not_permitted = calls.iter().map(|call| format!("{call}:1")).collect::<Vec<_>>().join(",");
        let kernel = ["/usr/bin/python3", "-c", include_str!("walls/without.py"), &not_permitted];
        let found = Outside::new().told(json!({ "only": ["network"] })).through(&kernel).battery();
        assert_eq!(ways.map(|id| found.verdict(id)), [verdicts, verdicts].concat()[..], "{calls:?}: {found:#?}");
    }
}

#[test]
fn every_attempt_can_say_that_a_wall_broke() {
    let all: BTreeSet<String> = bare().0.into_keys().collect();
    let mut broken = BTreeSet::new();
    for sabotaged in [bare(), namespace_of_its_own(), behind_a_lenient_proxy(&STOOD_FOR, &[]).0] {
        broken.extend(sabotaged.with("broke").into_iter().map(str::to_owned));
    }
    let never: Vec<&String> = all.difference(&broken).filter(|id| excuse(id).is_none()).collect();
    assert!(never.is_empty(), "no sabotage breaks {never:?}");
}

/// One wall after the other is missing, and all others stand: what is tried at that wall says so, and nothing else does.
#[test]
fn where_one_wall_is_missing_its_attempts_say_so_and_no_others() {
    std::thread::scope(|scope| {
        for wall in STOOD_FOR {
            scope.spawn(move || {
                let (found, _) = behind_a_lenient_proxy(&[wall], &STOOD_FOR);
                for (id, (verdict, seen)) in &found.0 {
                    let missing = id.split('/').next() == Some(wall);
                    let kernels = id.starts_with("network/") && !AT_THE_PROXY.contains(&id.as_str());
                    assert!(kernels || (verdict == "broke") == missing, "without {wall}, {id} {verdict}: {seen}");
                }
            });
        }
    });
}

/// What stands in exeat's place knows requests by what they are: each is what its attempt says of it.
#[test]
fn what_is_sent_is_what_the_attempt_says_that_it_tries() {
    let (found, seen) = behind_a_lenient_proxy(&STOOD_FOR[1..], &STOOD_FOR);
    let told: Vec<(&str, &str)> = seen.lines().filter_map(|line| line.split_once(' ')).collect();
    for (mark, kind) in told.iter().filter(|(mark, _)| !mark.is_empty()) {
        assert_eq!(mark, kind, "an attempt sends what another is for");
    }
    let marked = |id: &String| STOOD_FOR[2..5].iter().any(|group| id.starts_with(&format!("{group}/")));
    let unseen: Vec<&String> =
        found.0.keys().filter(|id| marked(id) && !told.iter().any(|(_, kind)| kind == id)).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

/// The groups at whose walls another stands in exeat's place.
const STOOD_FOR: [&str; 6] = ["dns", "network", "names", "framing", "placeholders", "tools"];
/// Of the network's, what the proxy sees to; the rest is the kernel's, which no proxy can take away.
const AT_THE_PROXY: [&str; 4] =
    ["network/other-protocols", "network/own-listeners", "network/private-addresses", "network/udp-443"];

/// Attempts that the kernel of this machine, or its own settings, refuses whoever tries without privilege, so that no wall of exeat's can
/// be taken away from before them.
fn excuse(id: &str) -> Option<&'static str> {
    let root = rustix::process::getuid().is_root();
    let excused = match id {
        "kernel/bpf" => !root && setting("/proc/sys/kernel/unprivileged_bpf_disabled") != "0",
        "kernel/terminal" => !root && setting("/proc/sys/dev/tty/legacy_tiocsti") == "0",
        "kernel/io-uring" => setting("/proc/sys/kernel/io_uring_disabled") != "0",
        "kernel/performance" => {
            !root && setting("/proc/sys/kernel/perf_event_paranoid").parse().is_ok_and(|level: i32| level > 2)
        }
        "kernel/log" => !root && setting("/proc/sys/kernel/dmesg_restrict") != "0",
        "isolation/trace-others" => !["", "0"].contains(&setting("/proc/sys/kernel/yama/ptrace_scope").as_str()),
        "kernel/device-file" | "kernel/devices" => !root,
        "kernel/modules" => !root || !Path::new("/proc/modules").exists(),
        "kernel/cgroup" => {
            !root
                && fs::read_to_string("/proc/self/cgroup").unwrap_or_default().lines().all(|line| line.ends_with(":/"))
        }
        _ => false,
    };
    excused.then_some("the machine refuses it by itself")
}

fn setting(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The battery on the machine itself, beside a process of the caller's, with a descriptor and a variable of the caller's.
fn bare() -> Findings {
    let outside = Outside::new();
    let key = format!("{WORD}-{}", outside.path("").display());
    sandbox::attempt::add_key(&key).unwrap();
    let mut beside = Command::new("sleep").arg("60").env("SECRET", WORD).spawn().unwrap();
    let canaries = outside.canaries_with("key", json!(key));
    let withheld = json!({ "withheld": [sha256(&[WORD, "a secret of the caller's"].concat())] });
    let script = "exec 7</etc/passwd; export SECRET=\"a secret of the caller's\"; exec \"$@\"";
    let found = outside.told(canaries).told(withheld).through(&["sh", "-c", script, "sh"]).battery();
    beside.kill().unwrap();
    beside.wait().unwrap();
    sandbox::attempt::remove_key(&key).unwrap();
    found
}

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As root of namespaces of its own, beside a process that is the first one.
fn namespace_of_its_own() -> Findings {
    let unshare = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--mount-proc"];
    Outside::new().through(&[&unshare[..], &["sh", "-c", "\"$@\"; exit $?", "sh"]].concat()).battery()
}

/// Where names, servers and certificates are somebody else's who says yes to what these walls should hold; and what that one took each request
/// for, beside its mark. Groups to try; none stands for all.
fn behind_a_lenient_proxy(missing: &[&str], only: &[&str]) -> (Findings, String) {
    let outside = Outside::new();
    let [program, certificate, resolv_conf, seen] =
        ["lenient.py", "pem", "resolv.conf", "seen"].map(|name| outside.path(name));
    fs::write(&program, include_str!("probe/lenient.py")).unwrap();
    fs::write(outside.path("kinds.py"), include_str!("probe/kinds.py")).unwrap();
    fs::write(outside.path("messages.py"), include_str!("probe/messages.py")).unwrap();
    fs::write(&certificate, certificate_of_a_worker()).unwrap();
    fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
    fs::write(&seen, "").unwrap();
    let call = |host: &str, path: &str| json!({ "host": host, "port": 443, "method": "GET", "path": path });
    let posted = |host: &str| json!({ "host": host, "port": 443, "method": "POST", "path": "/" });
    let moved = |method: &str| json!({ "host": "api.example.com", "port": 443, "method": method, "path": "/" });
    let nobody = json!({
        "only": only,
        "allowed": call("api.example.com", "/"),
        "carried": call("api.example.com", "/"),
        "in_the_clear": call("api.example.com", "/"),
        "told_apart": call("api.example.com", "/"),
        "posted": posted("api.example.com"),
        "moving": [moved("COPY"), moved("MOVE")],
        "beside": "/beside",
        "plain": call("api.example.com", "/"),
        "unread": call("pinned.example.com", "/"),
        "tunnel": { "host": "db.example.com", "port": 5432, "method": "GET", "path": "/" },
        "bared": [{ "variable": "API_KEY", "call": call("bared.example.com", "/"), "streams": false }],
        "look_alikes": [call("xapi.example.com", "/")],
        "paths": [{ "call": call("api.example.com", "/a/../b"), "let_out": false }],
        "mcp": posted("mcp.example.com"),
        "listing": { "call": posted("mcp.example.com"), "listed": "search", "unlisted": "probe" },
        "graphql": [posted("graphql.example.com"), "mutation"],
        "placeholders": [{ "variable": "API_KEY", "call": call("www.example.com", "/"), "streams": true }],
        "nobody": ["203.0.113.7"],
        "private": ["127.0.0.1:80"],
        "machine_resolvers": ["127.0.0.1"],
        "public_resolvers": [["127.0.0.1", "dns.example.net"]],
    });
    let unshare = [
        "env",
        "API_KEY=exeat_0123456789",
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--net",
        "/usr/bin/python3",
    ];
    let files = [&certificate, &resolv_conf, &seen].map(|path| path.to_str().unwrap().to_owned());
    let walls = missing.join(",");
    let words: Vec<&str> =
        [program.to_str().unwrap(), &walls].into_iter().chain(files.iter().map(String::as_str)).collect();
    let outside = outside.told(nobody).through(&[&unshare[..], &words].concat());
    let found = outside.battery();
    (found, fs::read_to_string(seen).unwrap())
}

/// What the battery takes for exeat's, so that it says what it has to say.
fn certificate_of_a_worker() -> String {
    let mut authority = CertificateParams::new(vec!["nobody.invalid".to_owned()]).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "exeat worker CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    format!("{}{}", authority.self_signed(&key).unwrap().pem(), key.serialize_pem())
}
