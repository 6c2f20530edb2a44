//! What was refused in a run, for the person at the terminal that it ran in.
//!
//! Enters: the refusals of a worker that has ended. Leaves: a few lines on standard error, each with the command that says what would allow
//! it. Never: a word where standard error is no terminal, so that no script finds lines that are not its command's; a word where nothing
//! was refused.

use std::io::{self, IsTerminal, Write};

use config::AgentId;
use proxy::serve::Worker;
use proxy::tally::Counted;

/// Different refusals that are told; the others are in the call log.
const TOLD: usize = 3;

/// Tells them.
pub(super) fn tell(worker: &Worker) {
    let (_, refused) = worker.counts();
    if refused == 0 || !io::stderr().is_terminal() {
        return;
    }
    let lines = lines(refused, &worker.top_refusals(TOLD), worker.policy().agent());
    // The terminal may be gone, and with it whoever would read this.
    let _ = io::stderr().lock().write_all(lines.as_bytes());
}

fn lines(refused: u64, top: &[Counted], agent: &AgentId) -> String {
    let mut lines = match refused {
        1 => "exeat: note: one call was refused\n".to_owned(),
        number => format!("exeat: note: {number} calls were refused\n"),
    };
    for Counted { times, what, kind, hint } in top {
        let times = if *times == 1 { String::new() } else { format!("{times} × ") };
        lines += &format!("  {times}{what}: {kind}\n    hint: {hint}\n");
    }
    let told: u64 = top.iter().map(|counted| counted.times).sum();
    if refused > told {
        let others = refused - told;
        lines += &format!("  and {others} others: `exeat calls --refused --agent {agent}`\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_counted() {
        let counted = |times| Counted { times, what: "GET h/".to_owned(), kind: "k", hint: "do".to_owned() };
        let agent = "bot".parse().unwrap();
        assert_eq!(lines(1, &[counted(1)], &agent), "exeat: note: one call was refused\n  GET h/: k\n    hint: do\n");
        let said = lines(9, &[counted(5), counted(2)], &agent);
        assert!(
            said.contains("9 calls") && said.contains("  5 × GET h/: k\n") && said.contains("and 2 others: "),
            "{said}"
        );
    }
}
