//! Which limits this machine can hold, and by what.
//!
//! For: `exeat check`. In: the machine; the limits of a policy. Out: a line for a policy that says what would hold each of its limits, or
//! that it cannot run. Never: a lasting change.

use crate::{
    cgroup::{self, Controller},
    disk,
    probe::Capability,
    spec::Limits,
    status::Means,
};
use std::{io, path::Path};

/// What was found out about each controller.
#[derive(Debug)]
pub struct Offered {
    groups: Vec<(Controller, io::Result<Means>)>,
    /// Whether what processes write to the working directory is counted.
    counts: bool,
}

impl Offered {
    /// Tries.
    pub fn by_this_machine() -> Self {
        let tried = |controller| (controller, cgroup::offered(controller).map(Means::from));
        Self { groups: Controller::ALL.map(tried).into(), counts: disk::counts(Path::new(".")) }
    }

    /// What would hold each of these limits.
    pub fn judge(&self, agent: &str, limits: &Limits) -> Capability {
        let held = |controller| self.group(controller).ok();
        let (memory, processes) = (held(Controller::Memory), held(Controller::Pids));
        let means = |means: Means| means.name();
        let lines = [
            limits.memory.map(|_| format!("memory ({})", memory.map_or("rlimit, for each process", means))),
            limits.cpus.map(|_| format!("cpus ({})", held(Controller::Cpu).map_or("not held", means))),
            Some(format!("processes ({})", processes.filter(|_| limits.wants_a_group()).map_or("rlimit", means))),
            Some("files (rlimit)".to_owned()),
            limits.file_size.map(|_| "file_size (rlimit)".to_owned()),
            limits.disk.map(|_| format!("disk ({})", if self.counts { "poll" } else { "not held" })),
        ];
        let why = lines.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let missing = self.in_the_way(limits);
        // A group of words for the eye; the agent's name is as long as people make it.
        Capability::new(format!("limits of {agent}"), true, missing.is_none(), why.clone()).or(
            missing.as_ref().map(|(key, reason)| format!("it cannot start here: `{key}` is not held: {reason}; {why}")),
            match missing {
                Some(("disk", _)) => "write to a disk of this machine, or take `disk` out of the policy",
                _ => cgroup::REMEDY,
            },
        )
    }

    /// The limit that keeps it from starting.
    fn in_the_way(&self, limits: &Limits) -> Option<(&'static str, String)> {
        let needed = [
            (Controller::Cpu, limits.cpus.is_some()),
            (Controller::Memory, limits.required && limits.memory.is_some()),
            (Controller::Pids, limits.required),
        ];
        let group = needed.into_iter().filter(|(_, needed)| *needed).find_map(|(controller, _)| {
            self.group(controller).err().map(|error| (controller.key(), error.to_string()))
        });
        let disk =
            || (limits.disk.is_some() && !self.counts).then(|| ("disk", "nobody counts what is written".to_owned()));
        group.or_else(disk)
    }

    fn group(&self, controller: Controller) -> Result<Means, &io::Error> {
        let found = self.groups.iter().find(|(of, _)| *of == controller);
        found.map_or(Ok(Means::Rlimit), |(_, tried)| tried.as_ref().copied())
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = (&'static str, Means)> {
        self.groups.iter().filter_map(|(controller, tried)| Some((controller.key(), *tried.as_ref().ok()?)))
    }

    pub(crate) fn missing(&self) -> Option<(&'static str, &io::Error)> {
        self.groups.iter().find_map(|(controller, tried)| Some((controller.key(), tried.as_ref().err()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(groups: bool, counts: bool) -> Offered {
        let tried = || if groups { Ok(Means::Cgroup1) } else { Err(io::ErrorKind::PermissionDenied.into()) };
        Offered { groups: Controller::ALL.map(|controller| (controller, tried())).into(), counts }
    }

    #[test]
    fn an_agent_that_needs_what_this_machine_has_not_cannot_start() {
        let limits = |required| Limits { memory: Some(1), processes: Some(1), required, ..Limits::default() };
        let judged = offered(true, true).judge("bot", &limits(true));
        assert!(judged.present && judged.why.contains("memory (cgroup1), processes (cgroup1), files (rlimit)"));
        let judged = offered(false, true).judge("bot", &limits(false));
        assert!(judged.present && judged.why.contains("memory (rlimit, for each process), processes (rlimit)"));
        let judged = offered(false, true).judge("bot", &limits(true));
        assert!(judged.required && !judged.present && judged.why.contains("`memory` is not held"), "{judged:?}");
        assert!(judged.remedy.unwrap().contains("systemd-run"));
    }

    #[test]
    fn processors_and_disk_are_held_or_nothing_starts() {
        let cpus = Limits { cpus: Some(1.0), ..Limits::default() };
        assert!(!offered(false, true).judge("bot", &cpus).present);
        let disk = Limits { disk: Some(1), ..Limits::default() };
        assert!(offered(false, true).judge("bot", &disk).present);
        let judged = offered(true, false).judge("bot", &disk);
        assert!(!judged.present && judged.remedy.unwrap().contains("`disk`"));
    }
}
