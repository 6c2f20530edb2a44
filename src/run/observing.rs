//! What is said of a run that observes (`--observe`).
//!
//! Enters: a worker whose policy observes, or one whose does not. Leaves: what stands on standard error at its start and at its end.
//! Never: silence about a run that let pass what no rule covers.

use std::collections::BTreeSet;

use config::Policy;
use proxy::serve::Worker;
use sandbox::Capture;

use crate::report::Report;

/// The ports to capture where the kernel captures ports alone: what no rule lists is mostly on these.
const USUAL: [u16; 2] = [80, 443];

/// The ports of a run that observes.
pub fn ports(policy: &Policy) -> BTreeSet<u16> {
    policy.ports().into_iter().chain(USUAL).collect()
}

/// Before the command starts.
pub fn begins(worker: &Worker, capture: &Capture) -> Option<Report> {
    let policy = worker.policy();
    if !policy.observes() {
        return None;
    }
    let report = Report::new(format!(
        "observing: calls that no rule of `{}` covers pass and are noted; what its rules deny, and what carries a placeholder, is refused",
        policy.agent()
    ));
    Some(match capture {
        Capture::Redirect => report,
        Capture::Ports(ports) => {
            let ports = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            report.hint(format!("only connections to these ports are captured, and can be observed: {ports}"))
        }
    })
}

/// Once it has ended.
pub fn ended(worker: &Worker) -> Option<Report> {
    let policy = worker.policy();
    if !policy.observes() {
        return None;
    }
    let calls = |count: u64| if count == 1 { "1 call".to_owned() } else { format!("{count} calls") };
    let (passed, barred) = worker.observed();
    let agent = policy.agent();
    let mut said = format!("observed: {} passed that no rule of `{agent}` covers", calls(passed));
    if barred > 0 {
        said += &format!("; {} more would have gone to an address that a rule has to list, and did not", calls(barred));
    }
    Some(match passed + barred {
        0 => Report::new(said),
        _ => Report::new(said).hint(format!("see `exeat suggest --agent {agent}`")),
    })
}
