//! What the kernel counts for all processes together: cgroups, of whichever version the machine has.
//!
//! For: `spawn` and `keeper`. In: limits. Out: groups with the limits in them, one for each hierarchy that is needed; what they counted.
//! Never: a process of anybody else moved, a limit reported that was not written, or a group made that nobody asked for.

mod count;
mod group;
mod place;
mod setting;
mod unified;

use crate::{
    error::{Error, Step},
    met::Met,
    spec::Limits,
    status::Means,
};
use group::{Failure, Group};
use place::Own;
use rustix::{io::Errno, process::Pid};
use std::{io, os::fd::BorrowedFd};

pub(crate) const REMEDY: &str = "run exeat in a delegated cgroup: `systemd-run --user --scope -p Delegate=yes exeat …`; where there is only \
                      cgroup v1, in directories of your own below its memory, cpu and pids; or as root";

/// What the kernel's controllers can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
}

/// Which of the two kinds of hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Controller {
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// The key in the policy.
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpus",
            Self::Pids => "processes",
        }
    }
}

impl From<Version> for Means {
    fn from(version: Version) -> Self {
        match version {
            Version::One => Self::Cgroup1,
            Version::Two => Self::Cgroup2,
        }
    }
}

/// One sandbox's groups. Dropped after its processes are gone, they are removed.
#[derive(Debug)]
pub(crate) struct Cgroup {
    groups: Vec<Group>,
    /// Somebody else removes them.
    left: bool,
}

impl Cgroup {
    /// `None` if no limit that was asked for needs one, or if there is none to be had and something else bounds what was asked for.
    pub fn make(limits: &Limits) -> Result<Option<Self>, Error> {
        let wanted = wanted(limits);
        if wanted.is_empty() {
            return Ok(None);
        }
        let (places, mut missing) = match Own::read() {
            Ok(own) => own.places(&wanted),
            Err(error) => return Err(unavailable(limits, wanted[0], error)),
        };
        let mut made = Self { groups: Vec::new(), left: false };
        for place in places {
            match Group::make(&place, limits) {
                Ok(group) => made.groups.push(group),
                Err(Failure::Spec(error)) => return Err(error),
                Err(Failure::Machine(error)) => {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                    missing.extend(place.controllers.into_iter().map(|controller| (controller, errno.into())));
                }
            }
        }
        let needed = |controller: Controller| limits.required || controller == Controller::Cpu;
        if let Some((controller, error)) = missing.into_iter().find(|(controller, _)| needed(*controller)) {
            return Err(unavailable(limits, controller, error));
        }
        Ok((!made.groups.is_empty()).then_some(made))
    }

    /// Which version holds this, if one does.
    pub fn holds(&self, controller: Controller) -> Option<Version> {
        self.groups.iter().find(|group| group.controllers.contains(&controller)).map(|group| group.version)
    }

    pub fn add(&self, process: Pid) -> Result<(), Error> {
        self.groups.iter().try_for_each(|group| {
            let failed = Step::Limits.failed("move the sandbox to its cgroup").on(group.path.display());
            group.add(process).map_err(|error| failed.because(error).hint_at(REMEDY))
        })
    }

    /// What it counted.
    pub fn met(&self) -> Met {
        let mut met = Met::default();
        self.groups.iter().for_each(|group| group.count(&mut met));
        met
    }

    /// Removes the groups, once the sandbox is gone.
    pub fn remove(&self) {
        self.groups.iter().for_each(Group::remove);
    }

    /// Leaves the groups to whoever holds the locks too.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// What says that somebody keeps them.
    pub fn locks(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.groups.iter().map(Group::lock)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if !self.left {
            self.remove();
        }
    }
}

/// What only groups can count. Where there is one anyway, it counts the processes as well.
fn wanted(limits: &Limits) -> Vec<Controller> {
    let asked = [
        (Controller::Memory, limits.memory.is_some()),
        (Controller::Cpu, limits.cpus.is_some()),
        (Controller::Pids, limits.wants_a_group()),
    ];
    asked.into_iter().filter_map(|(controller, asked)| asked.then_some(controller)).collect()
}

fn unavailable(limits: &Limits, controller: Controller, error: io::Error) -> Error {
    let failed = Step::Limits.failed("limit").on(controller.key()).because(error);
    failed.hint_at(if limits.required && controller != Controller::Cpu {
        format!("{REMEDY}; or take `limits = \"required\"` out of the policy, and it is held as well as it can be")
    } else {
        format!("{REMEDY}; or take `{}` out of the policy", controller.key())
    })
}

/// What this process could make a group for, and by which version; where it could not, why.
pub(crate) fn offered(controller: Controller) -> io::Result<Version> {
    let own = Own::read()?;
    let (places, missing) = own.places(&[controller]);
    match (places.into_iter().next(), missing.into_iter().next()) {
        // Tried where that changes nothing for good.
        (Some(place), _) if place.first == place::First::Nothing => {
            match Group::make(&place, &Limits::default()) {
                Ok(group) => group.remove(),
                Err(Failure::Machine(error)) => return Err(error),
                Err(Failure::Spec(_)) => {}
            }
            Ok(place.version)
        }
        (Some(place), _) => Ok(place.version),
        (None, Some((_, error))) => Err(error),
        (None, None) => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_pays_for_a_limit_that_the_policy_does_not_name() {
        assert!(wanted(&Limits::default()).is_empty());
        let limits = Limits { files: 9, file_size: Some(9), disk: Some(9), ..Limits::default() };
        assert!(wanted(&limits).is_empty(), "these are not a group's");
    }

    #[test]
    fn each_limit_asks_for_its_controller_and_processes_are_always_counted_along() {
        let ask = |limits: Limits| wanted(&limits).into_iter().map(Controller::name).collect::<Vec<_>>();
        assert_eq!(ask(Limits { memory: Some(1), ..Limits::default() }), ["memory", "pids"]);
        assert_eq!(ask(Limits { cpus: Some(1.0), ..Limits::default() }), ["cpu", "pids"]);
        assert_eq!(ask(Limits { processes: Some(1), ..Limits::default() }), ["pids"]);
        assert_eq!(ask(Limits { required: true, ..Limits::default() }), ["pids"]);
    }
}
