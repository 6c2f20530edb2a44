//! The command sees what its policy shows it, may use up what its policy gives it, and ends as if nothing were in between.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::harness::{Exeat, Upstream, process_with, within};

#[test]
fn a_start_from_a_directory_that_is_gone_says_so() {
    let leave = ["sh", "-c", "mkdir gone && cd gone && rmdir ../gone && exec \"$@\"", "sh"];
    let run = Exeat::new().rule("").through(&leave).sh("true").ended_with(125);
    assert!(run.stderr.contains("hint: it may have been removed"), "{run:#?}");
}

#[test]
fn the_exit_code_is_the_commands_own() {
    let exeat = Exeat::new();
    exeat.run(&["true"]).ended_with(0);
    exeat.sh("exit 7").ended_with(7);
    exeat.sh("exit 255").ended_with(255);
    exeat.sh("kill -9 $$").ended_with(128 + 9);
    exeat.sh("kill -TERM $$").ended_with(128 + 15);
    exeat.sh("kill -SEGV $$").ended_with(128 + 11);
}

#[test]
fn a_command_that_is_not_there_or_is_none() {
    let exeat = Exeat::new();
    let run = exeat.run(&["no-such-command-anywhere"]).ended_with(127);
    assert!(run.stderr.contains("no-such-command-anywhere"), "{run:#?}");
    fs::write(exeat.work().join("text"), "not a program").unwrap();
    let run = exeat.run(&["./text"]).ended_with(126);
    assert!(run.stderr.contains("./text"), "{run:#?}");
}

#[test]
fn exeats_own_failure_is_125_and_nothing_has_run() {
    let exeat = Exeat::new().sandbox("read = [\"/nowhere/at/all\"]");
    let run = exeat.run(&["touch", "it-ran"]).ended_with(125);
    assert!(run.stderr.contains("/nowhere/at/all") && run.stderr.contains("hint:"), "{run:#?}");
    assert!(!exeat.work().join("it-ran").exists());

    let exeat = Exeat::new();
    fs::write(exeat.policy_file(), "[[allow]]\nto = 5\n").unwrap();
    let run = exeat.run(&["touch", "it-ran"]).ended_with(125);
    assert!(run.stderr.contains("bot.toml:2"), "{run:#?}");
    assert!(!exeat.work().join("it-ran").exists());

    let exeat = Exeat::new().option(&["--broker", "/nowhere/broker.sock"]);
    exeat.run(&["touch", "it-ran"]).ended_with(125);
    assert!(!exeat.work().join("it-ran").exists());
}

#[test]
fn the_wall_clock_ends_the_command_and_all_its_children() {
    let exeat = Exeat::new().sandbox("wall_clock = \"2s\"");
    let script = "trap '' TERM; sleep 4711.1 & setsid sleep 4711.1 & sleep 4711.1";
    let run = exeat.sh(script).ended_with(124);
    assert!((Duration::from_secs(2)..Duration::from_secs(20)).contains(&run.took), "{run:#?}");
    assert!(!process_with("4711.1"));
    assert!(run.log.end().outcome.contains("out of time"), "{run:#?}");
}

#[test]
fn children_end_with_the_command() {
    let run = Exeat::new().sh("setsid sleep 4712.2 & sleep 0.3; exit 3").ended_with(3);
    within(Duration::from_secs(5), "the child gone", || !process_with("4712.2"));
    assert!(run.took < Duration::from_secs(15));
}

#[test]
fn standard_streams_pass_unchanged() {
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| b'a' + u8::try_from(number % 26).unwrap()).collect();
    let text = String::from_utf8(bytes).unwrap();
    let run = Exeat::new().stdin(text.clone()).sh("cat; echo to stderr >&2").ok();
    assert!(run.stdout == text, "{} of {} bytes", run.stdout.len(), text.len());
    assert_eq!(run.stderr, "to stderr\n");
}

#[test]
fn only_the_standard_streams_are_inherited() {
    let exeat = Exeat::new().through(&["sh", "-c", "exec 7</etc/passwd 9>/dev/null; exec \"$@\"", "sh"]);
    let run = exeat.sh("for fd in /proc/self/fd/*; do echo ${fd##*/}; done").ok();
    // The glob's own descriptor may be seen as 3; whatever it is, it is not one of the caller's.
    let seen: BTreeSet<&str> = run.stdout.lines().collect();
    assert!(["0", "1", "2"].iter().all(|fd| seen.contains(fd)), "{run:#?}");
    assert!(!seen.contains("7") && !seen.contains("9"), "{run:#?}");
}

#[test]
fn the_environment_is_built_from_scratch() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .bare_environment()
        .environment("PATH", "/usr/local/bin:/usr/bin:/bin")
        .environment("TERM", "xterm")
        .environment("LC_ALL", "C.UTF-8")
        .environment("LISTED", "is listed")
        .environment("AWS_SECRET_ACCESS_KEY", "of the caller")
        .environment("LD_PRELOAD_NOT_REALLY", "x")
        .environment("SSL_CERT_FILE", "/somewhere/else.pem")
        .sandbox("pass_env = [\"LISTED\"]")
        .fixed("api", "s3cret-of-the-broker", "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n")
        .allow_with("api.example.com", &upstream, "credential = \"api\"");
    let run = exeat.run(&["env", "-0"]).ok();
    let variables: Vec<(&str, &str)> =
        run.stdout.split_terminator('\0').map(|pair| pair.split_once('=').unwrap()).collect();
    let names: BTreeSet<&str> = variables.iter().map(|(name, _)| *name).collect();
    let expected: BTreeSet<&str> = [
        "PATH",
        "TERM",
        "LC_ALL",
        "LISTED",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "TMPDIR",
        "EXEAT_AGENT",
        "API_KEY",
        // Trust; each points at the bundle with the worker's authority in it.
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "AWS_CA_BUNDLE",
        "PIP_CERT",
        "GIT_SSL_CAINFO",
        "NODE_EXTRA_CA_CERTS",
        "npm_config_cafile",
        "DENO_CERT",
        "CARGO_HTTP_CAINFO",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "JAVA_TOOL_OPTIONS",
    ]
    .into();
    assert_eq!(names, expected, "{variables:#?}");
    assert!(variables.contains(&("LISTED", "is listed")) && variables.contains(&("EXEAT_AGENT", "bot")));
    assert!(
        !run.stdout.contains("of the caller") && !run.stdout.contains("s3cret") && !run.stdout.contains("/somewhere")
    );
}

#[test]
fn nothing_of_the_machine_is_in_sight_but_what_the_policy_shows() {
    let exeat = Exeat::new().fixed("api", "s3cret-of-the-broker", "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n");
    let shown = exeat.path("shown");
    fs::create_dir(&shown).unwrap();
    fs::write(shown.join("file"), "visible").unwrap();
    let exeat = exeat.sandbox(&format!("read = [\"{}\"]", shown.display()));
    let script = format!(
        "cat {shown}/file; touch {shown}/new 2>/dev/null && echo WROTE
         for path in {config} {state} /root/.ssh /run /var/run/docker.sock /home/* /etc/shadow /etc/sudoers /mnt /media /boot; do
             [ -e $path ] && [ $path != $HOME ] && echo SEEN $path
         done
         ls -a {parent}; touch /usr/x 2>/dev/null && echo WROTE; touch /etc/x 2>/dev/null && echo WROTE; true",
        shown = shown.display(),
        config = exeat.config("credentials.toml").display(),
        state = exeat.state().display(),
        parent = exeat.path("").display(),
    );
    let run = exeat.sh(&script).ok();
    assert!(run.stdout.starts_with("visible"), "{run:#?}");
    assert!(!run.stdout.contains("SEEN") && !run.stdout.contains("WROTE"), "{run:#?}");
    let beside: BTreeSet<&str> = run.stdout.trim_start_matches("visible").split_whitespace().collect();
    assert_eq!(beside, [".", "..", "shown", "work"].into());
}

#[test]
fn exeats_own_files_are_not_in_sight_even_where_the_policy_shows_all_around_them() {
    // Configuration, secrets, logs and the broker's socket in the very directory that the command may write.
    let exeat = Exeat::new().fixed("api", "s3cret-of-the-broker", "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n");
    let around = exeat.path("");
    let exeat = exeat.sandbox(&format!("write = [\"{}\"]", around.display()));
    let policy = fs::read_to_string(exeat.policy_file()).unwrap().replace("write = [\".\"]\n", "");
    fs::write(exeat.policy_file(), &policy).unwrap();
    let run = exeat.sh(
        "touch ../beside && echo wrote; find .. -type f | sort; cat ../config/*.toml ../config/*/* ../state/*/*/* 2>/dev/null
         echo '[[allow]]' > ../config/agents/bot.toml; mv ../config ../elsewhere 2>/dev/null && echo MOVED; rm -rf ../state ../config 2>/dev/null; true",
    );
    let run = run.ok();
    assert!(run.stdout.starts_with("wrote\n"), "{run:#?}");
    for hidden in ["s3cret", "[sandbox]", "worker-start", "000001.jsonl", "MOVED"] {
        assert!(!run.stdout.contains(hidden), "{hidden}: {run:#?}");
    }
    assert_eq!(fs::read_to_string(exeat.policy_file()).unwrap(), policy);
    assert_eq!(run.log.end().outcome, "Code(0)");
}

#[test]
fn no_process_of_the_machine_is_in_sight() {
    let run = Exeat::new().sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls -d /proc/[0-9]* | wc -l; cat /proc/1/environ 2>&1 | tr '\\0' '\\n'");
    let run = run.ok();
    assert!(!run.stdout.contains("EXEAT_CONFIG") && !run.stdout.contains("EXEAT_STATE="), "{run:#?}");
    let processes: u32 = run.stdout.lines().find_map(|line| line.split_whitespace().last()?.parse().ok()).unwrap();
    assert!(processes < 10, "{run:#?}");
}

#[test]
fn the_command_has_no_privilege_even_when_root_starts_it() {
    let run = Exeat::new().sh("id -u; grep -E '^(NoNewPrivs|Cap(Inh|Prm|Eff|Bnd|Amb)|Seccomp):' /proc/self/status; cat /proc/self/uid_map").ok();
    assert_ne!(run.stdout.lines().next(), Some("0"), "{run:#?}");
    assert!(run.stdout.contains("NoNewPrivs:\t1"), "{run:#?}");
    for set in ["Inh", "Prm", "Eff", "Amb"] {
        assert!(run.stdout.contains(&format!("Cap{set}:\t0000000000000000")), "{run:#?}");
    }
    assert!(run.stdout.contains("Seccomp:\t2"), "{run:#?}");
}

#[test]
fn what_it_writes_in_the_working_directory_belongs_to_whoever_owns_that() {
    let exeat = Exeat::new();
    exeat.sh("mkdir -p made/by; echo hello > made/by/agent; cat made/by/agent").ok();
    let (file, directory) =
        (fs::metadata(exeat.work().join("made/by/agent")).unwrap(), fs::metadata(exeat.work()).unwrap());
    assert_eq!((file.uid(), file.gid()), (directory.uid(), directory.gid()));
    let run = exeat.sh("cat made/by/agent; echo in home > ~/x; echo in tmp > /tmp/x; cat ~/x /tmp/x").ok();
    assert_eq!(run.stdout, "hello\nin home\nin tmp\n");
    assert_eq!(exeat.sh("ls -A ~ /tmp | grep -v -e : -e '^$' -e tmp; cat ~/x").code, Some(1), "home is not kept");
}

#[test]
fn without_write_the_working_directory_is_read_only() {
    let exeat = Exeat::new();
    fs::write(exeat.policy_file(), "").unwrap();
    fs::write(exeat.work().join("file"), "readable").unwrap();
    let run = exeat.sh("cat file; touch new 2>&1 || echo; echo x > file").ended_with(2);
    assert!(run.stdout.starts_with("readable"), "{run:#?}");
    assert_eq!(fs::read_dir(exeat.work()).unwrap().count(), 1);
}

#[test]
fn processes_are_limited() {
    let exeat = Exeat::new().sandbox("processes = 20");
    let run = exeat.python(
        "import os, time
made = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except OSError:
    pass
print(made)",
    );
    let made: u32 = run.stdout.trim().parse().unwrap_or_else(|_| panic!("{run:#?}"));
    assert!((5..=20).contains(&made), "{made}");
    assert_eq!(run.log.start().sandbox["limits"]["processes"], 20);
}

#[test]
fn open_files_are_limited() {
    let run = Exeat::new().sandbox("files = 64").sh("ulimit -n; ulimit -H -n").ok();
    assert_eq!(run.stdout, "64\n64\n");
}

#[test]
fn memory_is_limited() {
    let exeat = Exeat::new().sandbox("memory = \"200MiB\"");
    let run = exeat.python(
        "block = bytearray(100 << 20)\nprint('enough', flush=True)\nblock = bytearray(400 << 20)\nprint('TOO MUCH')",
    );
    assert!(run.stdout == "enough\n" && run.code != Some(0), "{run:#?}");
    let run = exeat.sh("head -c 400000000 /dev/zero > /tmp/full; stat -c %s /tmp/full");
    let size: u64 = run.stdout.trim().parse().unwrap();
    assert!(size <= 200 << 20, "{size}");
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let script = "curl -sSf -o /dev/null https://api.example.com/echo; echo ready; sleep 1";
    let mut first = exeat.start(&["sh", "-c", script]);
    first.wait_for("ready");
    let second = exeat.run(&["sh", "-c", script]).ok();
    first.finish().ok();
    assert_eq!(second.stdout, "ready\n");
    assert_eq!(upstream.seen().len(), 2);
}
