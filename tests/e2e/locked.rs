//! A worker locks itself in before it reads a byte from its sandbox: taken over, it has what it holds, and nothing else.
//!
//! Root's tests take a running worker over: its own threads make the calls. An ordinary user's see that they cannot, as its memory is closed.
//! The list of attempts with controls is `sandbox/tests/lock.rs`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use serde_json::Value;

use crate::broker_service::serve;
use crate::harness::{Exeat, Live, Upstream, within};

const TAKE_OVER: &str = include_str!("locked/take_over.py");
const SOON: Duration = Duration::from_secs(10);

/// A worker with a call under way, so that it has threads of every kind, and everything about it that is worth stealing.
fn at_work(upstream: &Upstream, lines: &str) -> (Exeat, Live) {
    let exeat = Exeat::new()
        .fixed("api", "sesame-of-the-house", "env = \"API_KEY\"\nto = [\"api.example.com\"]\n")
        .secret("key", "sesame-of-the-broker")
        .allow_with("api.example.com", upstream, &format!("credential = \"api\"\n{lines}"));
    fs::create_dir_all(exeat.path("home/.ssh")).unwrap();
    fs::write(exeat.path("home/.ssh/id_rsa"), "sesame-of-the-user").unwrap();
    let script = "curl -sSfN 'https://api.example.com/sse?n=600&ms=100' >/dev/null & \
        curl -sSf -o /dev/null -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo && echo called
        read line; curl -sSf -o /dev/null https://api.example.com/echo && echo again";
    let mut live = exeat.start_with_input(&["sh", "-c", script]);
    live.wait_for("called");
    (exeat, live)
}

fn log_file(exeat: &Exeat) -> PathBuf {
    let worker = fs::read_dir(exeat.state().join("workers")).unwrap().next().unwrap().unwrap();
    fs::canonicalize(worker.path().join("calls/000001.jsonl")).unwrap()
}

#[test]
fn whoever_takes_a_worker_over_has_no_file_process_socket_or_privilege_more() {
    let upstream = Upstream::start();
    let (exeat, mut live) = at_work(&upstream, "");
    let (worker, broker) = (live.pid().as_raw_nonzero().to_string(), live.broker().as_raw_nonzero().to_string());
    let log = log_file(&exeat);
    let tree = fs::canonicalize(exeat.path("")).unwrap();
    let taken = Command::new("/usr/bin/python3")
        .args(["-c", TAKE_OVER, &worker, &broker])
        .args([&tree, &log])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    if geteuid().is_root() {
        assert!(taken.status.success(), "{said}");
        let threads: Value = serde_json::from_slice(&taken.stdout).unwrap();
        let threads = threads.as_object().unwrap();
        // The main thread, one of the runtime's, and one that waits for the sandbox's end or looks names up.
        assert!(threads.len() >= 2 && threads.contains_key("tokio-rt-worker"), "{threads:?}");
        for (thread, seen) in threads {
            let refused = seen["refused"].as_object().unwrap();
            assert!(refused.len() > 40, "{refused:?}");
            let done: Vec<_> = refused.iter().filter(|(_, answer)| answer.as_i64().unwrap() >= 0).collect();
            assert!(done.is_empty(), "{thread}: {done:?}");
            // EPERM, EACCES, ENOSYS, EAFNOSUPPORT: a wall, not a call that was made wrong.
            let walls = [-1, -13, -38, -97];
            let odd: Vec<_> = refused.iter().filter(|(_, answer)| !walls.contains(&answer.as_i64().unwrap())).collect();
            assert!(odd.is_empty(), "{thread}: {odd:?}");
            let able = &seen["able"];
            assert!(able["policy"].as_i64().unwrap() >= 0 && able["socket"].as_i64().unwrap() >= 0, "{able}");
            assert_eq!(able["number"], 0);
        }
    } else {
        assert!(said.contains("Operation not permitted") || said.contains("Permission denied"), "{taken:?}");
    }
    // The worker itself has not noticed.
    live.write("go\n");
    live.wait_for("again");
    live.signal(Signal::KILL);
}

/// Whether this user's other processes can look into a process, by each of the ways there are.
fn open_to_its_user(process: &str) -> Vec<&'static str> {
    let ways = ["mem", "environ", "maps", "fd", "auxv", "cwd", "root", "exe", "io"];
    let open = |way: &&&str| {
        let path = format!("/proc/{process}/{way}");
        match **way {
            "fd" => fs::read_dir(path).is_ok(),
            "cwd" | "root" | "exe" => fs::read_link(path).is_ok(),
            _ => {
                fs::read(path).is_ok_and(|bytes| !bytes.is_empty())
                    || fs::File::open(format!("/proc/{process}/mem")).is_ok()
            }
        }
    };
    ways.iter().filter(open).copied().collect()
}

#[test]
fn no_process_of_its_user_looks_into_a_worker_or_a_broker() {
    let upstream = Upstream::start();
    let (exeat, live) = at_work(&upstream, "");
    let (serving, _) = serve(&exeat);
    for process in [live.pid(), live.broker(), serving.pid()].map(|pid| pid.as_raw_nonzero().to_string()) {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert!(core.split_whitespace().filter(|word| *word == "0").count() == 2, "{core}");
        // A process that cannot be dumped is root's, whoever started it, to all that look at it in /proc.
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{process}/mem")).unwrap());
        assert_eq!(owner, 0, "{process}");
        if !geteuid().is_root() {
            assert!(open_to_its_user(&process).is_empty(), "{process}: {:?}", open_to_its_user(&process));
            let debugger = Command::new("gdb").args(["-p", &process, "-batch", "-ex", "bt"]).output().unwrap();
            let said = [debugger.stdout, debugger.stderr].concat();
            assert!(String::from_utf8_lossy(&said).contains("Operation not permitted"), "{said:?}");
        }
    }
    live.signal(Signal::KILL);
    serving.signal(Signal::TERM);
}

#[test]
fn every_thread_of_it_is_locked_in_and_the_log_says_so() {
    let upstream = Upstream::start();
    let (exeat, live) = at_work(&upstream, "");
    let threads: Vec<_> =
        fs::read_dir(format!("/proc/{}/task", live.pid().as_raw_nonzero())).unwrap().flatten().collect();
    assert!(threads.len() >= 3, "{threads:?}");
    for thread in threads {
        let status = fs::read_to_string(thread.path().join("status")).unwrap();
        let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t")).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(of(set), "0000000000000000", "{set}");
        }
        if geteuid().is_root() {
            assert_eq!(of("CapBnd"), "0000000000000000");
        }
        assert_eq!((of("NoNewPrivs"), of("Seccomp")), ("1", "2"));
    }
    let lock = exeat.log().start().lock.clone();
    assert_eq!((&lock["capabilities"], &lock["syscall_filter"]), (&"none".into(), &true.into()), "{lock}");
    assert!(lock["landlock"].as_i64().unwrap() >= 1 && lock["dumpable"] == false, "{lock}");
    live.signal(Signal::KILL);
}

/// Runs exeat on a kernel that has no Landlock, as far as it can tell.
const WITHOUT_LANDLOCK: &str = "
import ctypes, os, platform, struct, sys
machine = {'x86_64': 0xc000003e, 'aarch64': 0xc00000b7}[platform.machine()]
step = lambda code, jt, jf, k: struct.pack('HBBI', code, jt, jf, k)
program = step(0x20, 0, 0, 4) + step(0x15, 1, 0, machine) + step(6, 0, 0, 0x7fff0000) + step(0x20, 0, 0, 0)
program += step(0x15, 0, 1, 444) + step(6, 0, 0, 0x50000 | 38) + step(6, 0, 0, 0x7fff0000)
steps = ctypes.create_string_buffer(program)
fprog = struct.pack('HxxxxxxQ', 7, ctypes.addressof(steps))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_char_p(fprog), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_kernel_that_cannot_lock_it_in_is_refused_unless_asked_for_by_name() {
    let exeat = Exeat::new().through(&["/usr/bin/python3", "-c", WITHOUT_LANDLOCK]);
    let run = exeat.run(&["touch", "ran"]).ended_with(125);
    assert!(run.stderr.contains("Landlock") && run.stderr.contains("--unlocked-worker"), "{run:#?}");
    assert!(!exeat.work().join("ran").exists());
    let run = exeat.option(&["--unlocked-worker"]).run(&["true"]).ok();
    let lock = run.log.start().lock.clone();
    assert!(lock["landlock"].is_null() && lock["syscall_filter"] == true, "{lock}");
}

#[test]
fn a_client_certificate_that_is_renewed_by_a_new_file_is_read_where_it_is_alone_and_told_where_it_is_not() {
    let upstream = Upstream::start();
    for (directory, alone) in [("secrets/bot", true), ("secrets", false)] {
        let (first, second) = (identity(), identity());
        let rule = format!(
            "client_certificate = {{ certificate = \"../{directory}/client.pem\", key = \"../{directory}/client-key.pem\" }}"
        );
        let exeat = Exeat::new().secret("another", "sesame-of-nobody");
        fs::create_dir_all(exeat.config(directory)).unwrap();
        let put = |identity: &(String, String)| {
            for (name, pem) in [("client.pem", &identity.0), ("client-key.pem", &identity.1)] {
                fs::write(exeat.config("new"), pem).unwrap();
                fs::rename(exeat.config("new"), exeat.config(&format!("{directory}/{name}"))).unwrap();
            }
        };
        put(&first);
        let rule = format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"\n{rule}\n", upstream.dial());
        let text = fs::read_to_string(exeat.policy_file()).unwrap_or_default();
        fs::write(
            exeat.policy_file(),
            format!("[upstream]\nroots = [\"../ca.pem\"]\n[sandbox]\nwrite = [\".\"]\n{text}{rule}"),
        )
        .unwrap();
        let call = "curl -sSf -o /dev/null https://api.example.com/echo && echo called";
        let mut live = exeat.start_with_input(&["sh", "-c", &format!("{call}; read line; {call}")]);
        live.wait_for("called");
        put(&second);
        let said = |word: &str| {
            let lines = live.log().lines;
            lines.iter().any(|line| serde_json::to_string(&line.event).unwrap().contains(word))
        };
        if alone {
            within(SOON, "the renewed one", || said("policy-reloaded"));
        } else {
            within(SOON, "why it is not read", || said("only after a restart"));
        }
        live.write("go\n");
        let calls = live.finish().ok().log;
        let shown: Vec<_> = calls.calls().iter().map(|call| call.client_certificate.clone().unwrap()).collect();
        assert_eq!(shown[0] != shown[1], alone, "{directory}: {shown:?}");
    }
}

fn identity() -> (String, String) {
    crate::harness::Identity::self_signed(&["client.example.com"]).pem()
}

#[test]
fn what_root_could_read_only_by_its_privileges_is_said_before_anything_runs() {
    if !geteuid().is_root() {
        return; // an ordinary user has none
    }
    let exeat = Exeat::new().rule("");
    let agents = exeat.config("agents");
    let of_another = Command::new("sh")
        .args(["-c", "chown -R 12345:12345 \"$0\" && chmod 700 \"$0\""])
        .arg(&agents)
        .status()
        .unwrap();
    assert!(of_another.success());
    let run = exeat.run(&["touch", "ran"]).ended_with(125);
    assert!(run.stderr.contains("without root's capabilities") && run.stderr.contains("hint:"), "{run:#?}");
    assert!(!exeat.work().join("ran").exists());
    exeat.option(&["--unlocked-worker"]).run(&["true"]).ok();
}
