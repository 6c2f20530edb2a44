//! A real exeat of which one wall is missing: `exeat probe` says which, to a person, to a pipeline and by its exit code, and says it of nothing else.
//!
//! Enters: an agent's policy, and the wall that is taken away: by a kernel that only says that it did what was asked (`walls/without.py`), by one that
//! does something else (`supervised.py`), or in a program that was built for this (`proxy/src/sabotage.rs`). Leaves: what broke.
//! Never: a program that anybody else uses and that can do without a wall.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Exeat, Upstream, binary, sabotaged};

use super::{findings, probe, setting};

const PYTHON: &str = "/usr/bin/python3";

/// An installation with everything that the battery looks at.
fn exeat() -> Exeat {
    super::exeat(&Upstream::start())
}

/// On a kernel on which a call says that all is done, and does nothing.
fn without(exeat: Exeat, call: &str) -> Exeat {
    exeat.through(&[PYTHON, "-c", include_str!("../walls/without.py"), call])
}

/// On one where another program has its say.
pub(super) fn supervised(exeat: Exeat, wall: &str) -> Exeat {
    let program = exeat.path("supervised.py");
    fs::write(&program, include_str!("supervised.py")).unwrap();
    exeat.through(&[PYTHON, program.to_str().unwrap(), wall])
}

/// What broke, once all that tells of it agrees.
#[track_caller]
fn broke(exeat: &Exeat) -> Vec<String> {
    let person = exeat.exeat(&["probe", "--agent", "bot"]);
    let (run, document) = probe(exeat, &[]);
    let ids: Vec<String> = findings(&document).with("broke").into_iter().map(str::to_owned).collect();
    assert_eq!(document["broke"].as_u64(), Some(ids.len() as u64), "{document:#}");
    assert_eq!(run.code, Some(i32::from(!ids.is_empty())), "{run:#?}");
    let told = person.finish();
    assert_eq!(told.code, run.code, "{told:#?}");
    let (mut group, mut lines) = ("", Vec::new());
    for line in told.stdout.lines().skip(1) {
        match line.strip_prefix("  broke           ").and_then(|line| line.split(' ').next()) {
            Some(name) => lines.push(format!("{group}/{name}")),
            None if !line.starts_with(' ') => group = line,
            None => {}
        }
    }
    lines.sort();
    assert_eq!(lines, ids, "{document:#}{told:#?}");
    assert!(told.stdout.lines().last().unwrap().contains(&format!(" held, {} broke, ", ids.len())), "{told:#?}");
    ids
}

#[test]
fn without_the_filter_of_system_calls() {
    let seccomp = if cfg!(target_arch = "aarch64") { 277 } else { 317 };
    let broke = broke(&without(exeat(), &format!("{seccomp}:0")));
    let guarded = GUARDED_BY_THE_FILTER.into_iter().filter(|id| !is_refused_by_the_machine(id));
    assert_eq!(broke, guarded.collect::<Vec<_>>());
}

/// In alphabetical order.
const GUARDED_BY_THE_FILTER: [&str; 10] = [
    "isolation/syscall-filter",
    "isolation/trace-others",
    "kernel/file-handles",
    "kernel/io-uring",
    "kernel/line-discipline",
    "kernel/page-faults",
    "kernel/performance",
    "kernel/setuid-file",
    "kernel/terminal",
    "network/vsock",
];

/// Whether this machine refuses it to whoever has no privilege, so that the filter is not missed.
fn is_refused_by_the_machine(id: &str) -> bool {
    match id {
        "isolation/trace-others" => !["", "0"].contains(&&*setting("/proc/sys/kernel/yama/ptrace_scope")),
        "kernel/io-uring" => setting("/proc/sys/kernel/io_uring_disabled") != "0",
        "kernel/page-faults" => !Path::new("/proc/sys/vm/unprivileged_userfaultfd").exists(),
        "kernel/performance" => {
            setting("/proc/sys/kernel/perf_event_paranoid").parse().is_ok_and(|level: i32| level > 2)
        }
        "kernel/terminal" => setting("/proc/sys/dev/tty/legacy_tiocsti") == "0",
        "network/vsock" => !Path::new("/sys/module/vsock").exists(),
        _ => false,
    }
}

#[test]
fn without_landlock() {
    let landlock_restrict_self = 446;
    let broke = broke(&without(exeat(), &format!("{landlock_restrict_self}:0")));
    assert_eq!(broke, ["isolation/handed-over"]);
}

#[test]
fn without_what_covers_exeats_own_files_and_secrets() {
    let exeat = exeat();
    let shown = format!("read = [\"{}\"]", exeat.path("").display().to_string().trim_end_matches('/'));
    let broke = broke(&supervised(exeat.sandbox(&shown), "covers"));
    assert_eq!(broke, ["isolation/own-files", "isolation/secret-file"]);
}

#[test]
fn without_a_loopback_of_its_own() {
    let broke = broke(&supervised(exeat(), "loopback"));
    assert_eq!(broke, ["network/tcp-loopback"]);
}

/// The program that was built to lack a wall, lacking it.
fn lacking(wall: &str) -> Vec<String> {
    broke(&exeat().program(&sabotaged()).environment("EXEAT_SABOTAGE", wall))
}

#[test]
fn without_the_authority_agreeing_with_the_connection() {
    let ids = [
        "framing/absolute-form",
        "framing/http2-authority",
        "framing/pipelined",
        "names/coalescing",
        "names/embedded-addresses",
        "names/host-field",
        "names/host-spellings",
        "names/wide-letters",
        "record/nothing-sent",
    ];
    assert_eq!(lacking("authority"), ids);
}

#[test]
fn without_the_search_of_a_body_for_placeholders() {
    let ids = [
        "placeholders/aws-chunked",
        "placeholders/bomb",
        "placeholders/brotli",
        "placeholders/chunks",
        "placeholders/deflate",
        "placeholders/form",
        "placeholders/grpc",
        "placeholders/gzip",
        "placeholders/gzip-members",
        "placeholders/gzip-name",
        "placeholders/json",
        "placeholders/long",
        "placeholders/other-codings",
        "placeholders/pieces",
        "placeholders/zstd",
        "placeholders/zstd-skipped",
        "record/nothing-sent",
    ];
    assert_eq!(lacking("watch"), ids);
}

#[test]
fn without_the_search_of_an_answer_for_credentials() {
    assert_eq!(lacking("scrub"), ["placeholders/answer"]);
}

#[test]
fn without_a_line_for_each_call() {
    assert_eq!(lacking("log"), ["record/calls"]);
}

/// Nothing can be taken away from what everybody uses: it does not know the variable, and what knows it is built for debugging alone.
#[test]
fn the_program_itself_lacks_no_wall_whatever_it_is_told() {
    let knows = |program: &str| {
        let mut grep = Command::new("grep");
        grep.args(["--quiet", "--text", "--fixed-strings", "EXEAT_SABOTAGE", program]);
        grep.status().unwrap().success()
    };
    assert!(!knows(&binary()));
    assert!(knows(&sabotaged()));
    let exeat = exeat().environment("EXEAT_SABOTAGE", "log");
    assert_eq!(probe(&exeat, &[]).0.code, Some(0));
}
