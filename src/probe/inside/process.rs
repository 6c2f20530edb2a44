//! What the command was given: descriptors, environment, privileges.
//!
//! Enters: what the process finds itself with. Leaves: whether any of it is of the outside. Never: the value of a variable.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::sync::OnceLock;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat};
use rustix::stdio::stdin;

use super::super::brief::{Brief, digest, namespaces};
use super::super::finding::{Outcome, Probe};
use super::told;

pub(super) const PROBES: &[Probe] = &[
    Probe::new(
        "isolation/inherited-descriptors",
        "descriptors of the outside that are open from the start",
        descriptors,
    ),
    Probe::new("isolation/handed-over", "a file that was handed over to be read, opened anew to be written", |_| {
        handed_over()
    }),
    Probe::new(
        "isolation/environment",
        "variables of the caller, which may hold secrets, beyond those that the policy passes on",
        environment,
    ),
    Probe::new("isolation/namespaces", "any of the machine's namespaces", shared_namespaces),
    Probe::new("isolation/capabilities", "any capability, in any of the five sets", capabilities),
    Probe::new("isolation/new-privileges", "privileges by executing a set-user-ID program", new_privileges),
    Probe::new(
        "isolation/syscall-filter",
        "system calls without a filter: openat2, whose arguments none can see",
        filter,
    ),
];

static AT_START: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// Looks before the battery has opened anything itself.
pub(super) fn remember_descriptors() {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten().map(|entry| {
        let what = fs::read_link(entry.path()).map_or_else(|error| error.to_string(), |to| to.display().to_string());
        (entry.file_name().to_string_lossy().into_owned(), what)
    });
    let _ = AT_START.set(open.collect());
}

fn descriptors(_: &Brief) -> Outcome {
    let Some(open) = AT_START.get().filter(|open| !open.is_empty()) else {
        return Outcome::not_applicable("/proc/self/fd cannot be listed");
    };
    // The listing's own descriptor is seen too, and is closed by now.
    let more: Vec<String> = open
        .iter()
        .filter(|(number, what)| !["0", "1", "2"].contains(&number.as_str()) && !is_own_listing(what))
        .map(|(number, what)| format!("{number} is {what}"))
        .collect();
    if more.is_empty() {
        return Outcome::held("0, 1, 2 and no other");
    }
    Outcome::broke(more.join(", "))
}

fn is_own_listing(what: &str) -> bool {
    what.starts_with("/proc/") && what.ends_with("/fd")
}

/// That it is opened is enough: nothing is written.
fn handed_over() -> Outcome {
    let kind = fstat(stdin()).map(|found| FileType::from_raw_mode(found.st_mode));
    if kind != Ok(FileType::RegularFile) {
        return Outcome::not_applicable(
            "no file was handed over, as nothing would keep it: that takes Landlock, without `nested`",
        );
    }
    match OpenOptions::new().write(true).open("/proc/self/fd/0") {
        Ok(_) => Outcome::broke("it was opened"),
        Err(error) => Outcome::held(told(error)),
    }
}

/// A value of the caller's is looked for under every name, as it may have been renamed on its way.
fn environment(brief: &Brief) -> Outcome {
    let listed: BTreeSet<&str> = brief.variables.iter().map(String::as_str).collect();
    let (mut count, mut leaked) = (0, Vec::new());
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let value = value.as_encoded_bytes();
        count += 1;
        if !listed.contains(name.as_str()) && brief.withheld.contains(&digest(&brief.nonce, value)) {
            leaked.push(name);
        }
    }
    if leaked.is_empty() {
        let (withheld, count) = (brief.withheld.len(), count);
        return Outcome::held(format!("it has {count} variables, and no value of {withheld} of the caller's"));
    }
    Outcome::broke(format!("values of the caller's under {}", leaked.join(", ")))
}

fn shared_namespaces(brief: &Brief) -> Outcome {
    let own = namespaces();
    if own.is_empty() || brief.namespaces.is_empty() {
        return Outcome::not_applicable("/proc/self/ns cannot be read");
    }
    let shared: Vec<&str> =
        own.iter().filter(|own| brief.namespaces.contains(own)).map(|(kind, _)| kind.as_str()).collect();
    if shared.is_empty() {
        return Outcome::held(format!("{} kinds, none of them shared", own.len()));
    }
    Outcome::broke(format!("it shares {}", shared.join(", ")))
}

fn status_lines(fields: &[&str]) -> Result<Vec<(String, String)>, Outcome> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| Outcome::not_applicable(format!("/proc/self/status: {error}")))?;
    let found = status.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| fields.contains(name));
    Ok(found.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

fn capabilities(_: &Brief) -> Outcome {
    let sets = match status_lines(&["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
        Ok(sets) => sets,
        Err(outcome) => return outcome,
    };
    if sets.len() < 4 {
        return Outcome::not_applicable("/proc/self/status does not tell them");
    }
    let left: Vec<String> = sets
        .iter()
        .filter(|(_, value)| value.bytes().any(|digit| digit != b'0'))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if left.is_empty() { Outcome::held("all sets are empty") } else { Outcome::broke(left.join(", ")) }
}

fn new_privileges(_: &Brief) -> Outcome {
    match status_lines(&["NoNewPrivs"]).as_deref() {
        Err(outcome) => outcome.clone(),
        Ok([(_, value)]) if value == "1" => Outcome::held("NoNewPrivs 1"),
        Ok(lines) => Outcome::broke(format!("NoNewPrivs {}", lines.first().map_or("?", |(_, value)| value))),
    }
}

/// The filter answers ENOSYS, which no kernel that runs exeat would.
fn filter(_: &Brief) -> Outcome {
    let opened =
        rustix::fs::openat2(rustix::fs::CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty());
    let mode = status_lines(&["Seccomp"])
        .ok()
        .and_then(|lines| lines.into_iter().next())
        .map_or_else(|| "Seccomp ?".to_owned(), |(name, value)| format!("{name} {value}"));
    match opened {
        Ok(_) => Outcome::broke(format!("{mode}; openat2 opened /")),
        Err(rustix::io::Errno::NOSYS) => Outcome::held(format!("{mode}; openat2: {}", told(rustix::io::Errno::NOSYS))),
        Err(errno) => Outcome::not_applicable(format!("{mode}; openat2: {}", told(errno))),
    }
}
