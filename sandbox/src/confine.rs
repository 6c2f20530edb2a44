//! Giving up every privilege, for good.
//!
//! For: the last step of `child`. In: a process that is root of its namespaces. Out: one that is nobody anywhere, and whose
//! children are. Never: a way back; each call here is one-way.

use crate::{
    error::{Error, Step},
    filter, sys,
};
use rustix::{
    io::Errno,
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs,
    },
};

/// Returns whether the system call filter is in force; it is not written for every processor.
pub(crate) fn give_up(from_root: bool) -> Result<bool, Error> {
    let step = |tried: &'static str| move |errno: Errno| Step::Confine.failed(tried).because(errno);
    // Needs a capability (SETPCAP), so it comes before they go.
    empty_bounding_set().map_err(step("empty the bounding set of capabilities"))?;
    clear_ambient_capability_set().map_err(step("clear the ambient capabilities"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(step("drop the capabilities"))?;
    // The filter needs no_new_privs of a process without capabilities.
    set_no_new_privs(true).map_err(step("forbid new privileges"))?;
    let filter = filter::program(from_root);
    if let Some(program) = &filter {
        sys::refuse_by(program).map_err(step("filter system calls"))?;
    }
    // The command has init's user number, and must not look into it or trace it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("close init to its children"))?;
    Ok(filter.is_some())
}

fn empty_bounding_set() -> Result<(), Errno> {
    for number in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Err(Errno::INVAL) => break, // past the last one this kernel knows
            removed => removed?,
        }
    }
    Ok(())
}
