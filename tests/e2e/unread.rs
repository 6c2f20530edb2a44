//! Nobody reads what a command says (`| head`): it ends as it would have, without a word about it. What cannot be written for another reason
//! is a failure.

use crate::harness::{Exeat, Run, Upstream};

/// Without a reader, and, as a shell has it, with one that stops.
const GONE: &str = "fifo=$(mktemp -u); mkfifo $fifo; exec 4<>$fifo 3>$fifo 4<&-; rm $fifo; \"$0\" \"$@\" >&3";
const HEAD: &str = "\"$0\" \"$@\" | head -c1 >/dev/null";

fn by_way_of(exeat: Exeat, script: &str, arguments: &str) -> (Exeat, Run) {
    let wrapper: &[&str] = if script.is_empty() { &[] } else { &["bash", "-o", "pipefail", "-c", script] };
    let exeat = exeat.through(wrapper);
    let run = exeat.exeat(&arguments.split(' ').collect::<Vec<_>>()).finish();
    (exeat, run)
}

#[test]
fn a_command_that_nobody_reads_ends_as_it_would_have_and_says_nothing_of_it() {
    let upstream = Upstream::start();
    let mut exeat = Exeat::new().allow_with("api.example.com", &upstream, "methods = [\"GET\"]");
    exeat.sh("curl -sS https://api.example.com/x -o answer; curl -sS https://other.example.com/ -o answer").ok();
    for arguments in [
        "version",
        "check",
        "explain --agent bot https://api.example.com/",
        "explain --agent bot https://nowhere.example.com/",
        "suggest --agent bot",
        "calls",
        "calls --json",
        "calls export --ocsf",
        "stats",
        "stats --json",
        "verify",
        "verify --json",
        "ship --status",
        "leases",
        "workers",
        "approvals",
        "init --dry-run",
        "completions bash",
        "man",
        "report --agent bot",
        "schema",
    ] {
        let read;
        (exeat, read) = by_way_of(exeat, "", arguments);
        for script in [GONE, HEAD] {
            let unread;
            (exeat, unread) = by_way_of(exeat, script, arguments);
            assert_eq!((unread.code, unread.stdout.as_str()), (read.code, ""), "{arguments}: {unread:#?}\n{read:#?}");
            assert!(!unread.stderr.to_lowercase().contains("broken pipe"), "{arguments}: {unread:#?}");
        }
    }
    for arguments in ["version", "schema", "check"] {
        let full;
        (exeat, full) = by_way_of(exeat, "\"$0\" \"$@\" >/dev/full", arguments);
        let full = full.ended_with(125);
        assert!(full.stderr.contains("No space left"), "{full:#?}");
    }
}
