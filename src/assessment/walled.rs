//! Looks at walls and limits, and at what a battery of attempts made of them.
//!
//! Enters: facts. Leaves: as `measure`. Never: a wall that was put up taken for one that was tried.

use super::control::Look;
use super::facts::{Probed, Walls};
use super::measure::{Measured, open};

impl Measured<'_> {
    fn by_walls(&self, look: impl FnOnce(&Walls, String) -> Look) -> Look {
        match &self.facts.walls {
            Some(walls) => look(walls, self.record(&walls.record.worker, walls.record.seq)),
            None if !self.facts.logs.broken.is_empty() => open(
                "not measured: call logs of the agent are not what was written, so that none says what was in force",
            ),
            None => open(format!(
                "not measured: no worker of the agent has logged what was in force (`exeat run --agent {}`)",
                self.agent
            )),
        }
    }

    fn again(&self) -> String {
        format!("exeat report --agent {} --json | jq .facts.walls", self.agent)
    }

    /// The command was walled in.
    pub(super) fn walled_in(&self) -> Look {
        self.by_walls(|walls, source| {
            let lacking: Vec<&str> = [
                (walls.namespaces.is_empty(), "namespaces of its own"),
                (walls.capture != "redirect", "the capture of every connection (only some ports are caught)"),
                (!walls.syscall_filter, "a list of system calls"),
                (walls.landlock.is_none(), "Landlock"),
                (walls.nested, "the ban on namespaces inside (`nested`)"),
            ]
            .into_iter()
            .filter_map(|(lacks, what)| lacks.then_some(what))
            .collect();
            if !lacking.is_empty() {
                return open(format!("the last worker's sandbox was without {}", lacking.join(", ")));
            }
            Self::met(
                format!(
                    "The last worker ({}) ran its command in {} namespaces of its own, with every connection caught, listed system calls only, \
                     Landlock (ABI {}), and {} files out of sight.",
                    walls.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    walls.namespaces.len(),
                    walls.landlock.unwrap_or_default(),
                    walls.hidden
                ),
                source,
                self.again(),
            )
        })
    }

    /// The worker itself was locked in.
    pub(super) fn locked_in(&self) -> Look {
        self.by_walls(|walls, source| match (walls.worker_filter, walls.worker_landlock, walls.worker_dumpable) {
            (Some(true), Some(abi), Some(false)) => Self::met(
                format!("The last worker, which had the leased credentials, was locked in: listed system calls only, Landlock (ABI {abi}), memory that others cannot read."),
                source,
                self.again(),
            ),
            (filter, landlock, dumpable) => open(format!(
                "the last worker was not locked in whole: system calls listed: {}, Landlock: {}, memory closed: {}",
                told(filter),
                if landlock.is_some() { "yes" } else { "no" },
                told(dumpable.map(|dumpable| !dumpable))
            )),
        })
    }

    /// What one run can use up is limited.
    pub(super) fn limited(&self) -> Look {
        const WANTED: [&str; 3] = ["memory_together", "processes", "wall_clock"];
        self.by_walls(|walls, source| {
            let lacking: Vec<&str> = WANTED.into_iter().filter(|name| !walls.limits.contains_key(*name)).collect();
            if !lacking.is_empty() {
                return open(format!(
                    "the last worker had no limit of {}: write them in `[sandbox]`",
                    lacking.join(", ")
                ));
            }
            let held: Vec<String> = walls.limits.iter().map(|(name, value)| format!("{name} {value}")).collect();
            Self::met(format!("The last worker had limits in force: {}.", held.join("; ")), source, self.again())
        })
    }

    fn by_probe(&self, look: impl FnOnce(&Probed) -> Look) -> Look {
        let command = format!("exeat probe --agent {}", self.agent);
        let Some(probe) = &self.facts.probe else {
            return open(format!("not measured: no battery of attempts has been run for this agent (`{command}`)"));
        };
        match &self.facts.policy {
            Some(policy) if policy.digest == probe.policy => look(probe),
            _ => open(format!(
                "the last battery ({}) was run under another policy than the file has now: run `{command}` again",
                probe.at.strftime("%Y-%m-%d")
            )),
        }
    }

    /// Attempts of these groups were made, and held.
    pub(super) fn tried(&self, groups: &[&str], at_what: &str) -> Look {
        self.by_probe(|probe| {
            let of = || groups.iter().filter_map(|group| probe.groups.get(*group));
            let (held, broke): (u64, u64) = (of().map(|group| group.held).sum(), of().map(|group| group.broke).sum());
            let untried: u64 = of().map(|group| group.not_applicable).sum();
            match (held, broke) {
                (_, 1..) => open(format!("{broke} attempts at {at_what} got through in the last battery: {}", probe.broke.join("; "))),
                (0, 0) => open(format!("not measured: the last battery had no attempt at {at_what} to make")),
                (held, 0) => Self::met(
                    format!("All {held} attempts at {at_what} that could be made were held, under the policy in force; {untried} had nothing to be tried on."),
                    format!("{}/probes/{}.json ({}, worker {})", self.state, self.agent, probe.at.strftime("%Y-%m-%dT%H:%M:%SZ"), probe.worker),
                    format!("exeat probe --agent {}", self.agent),
                ),
            }
        })
    }
}

fn told(what: Option<bool>) -> &'static str {
    match what {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not told",
    }
}
