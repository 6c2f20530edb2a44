//! No capability, none to come, and no look into the memory from outside.
//!
//! For: `lock`, and for every process of exeat's that holds a secret. In: a process as its user started it. Out: one with that user's
//! ownership and nothing beyond. Never: a way back.

use crate::confine::empty_bounding_set;
use rustix::{
    io::{Errno, Result},
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
    thread::{CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs},
};

/// Closes this process's memory: no core dump, and no other process of its user reads it, traces it, or opens what it has open by way of
/// /proc. Who may trace whatever they like (root) still can.
pub fn close_memory() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Gives up every capability. Without one to do it with, the bounding set stays; it is the upper bound of what a program that is executed may
/// gain, and gains nothing under no_new_privs. The answer is whether it is empty.
pub(super) fn give_up() -> Result<bool> {
    // First: it needs one of them.
    let bounded = match empty_bounding_set() {
        Ok(()) => true,
        Err(Errno::PERM) => false,
        Err(errno) => return Err(errno),
    };
    clear_ambient_capability_set()?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    set_no_new_privs(true)?;
    Ok(bounded)
}
