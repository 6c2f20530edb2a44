//! Giving up every privilege, for good.
//!
//! For: the last step of `child`. In: a process that is root of its namespaces. Out: one that is nobody anywhere, and whose
//! children are. Never: a way back; each call here is one-way.

use crate::{
    error::{Error, Step},
    filter::{self, Rules},
    status::SyscallFilter,
    sys,
};
use rustix::{
    io::Errno,
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{
        CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
    },
};

/// No privilege by being or executing as root, none kept over a change of user, none by ambience, and no way to change that.
const SECURE_BITS: CapabilitiesSecureBits = CapabilitiesSecureBits::NO_ROOT
    .union(CapabilitiesSecureBits::NO_ROOT_LOCKED)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED)
    .union(CapabilitiesSecureBits::KEEP_CAPS_LOCKED)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED);

/// Returns which system call filter is in force; it is not written for every processor.
pub(crate) fn give_up(rules: Rules) -> Result<SyscallFilter, Error> {
    let step = |tried: &'static str| move |errno: Errno| Step::Confine.failed(tried).because(errno);
    // Needs a capability (SETPCAP), so it comes before they go.
    empty_bounding_set().map_err(step("empty the bounding set of capabilities"))?;
    clear_ambient_capability_set().map_err(step("clear the ambient capabilities"))?;
    // User number 0 means nothing, here and in every child, should anybody ever come to have it. Locked, for good.
    set_capabilities_secure_bits(SECURE_BITS).map_err(step("lock the secure bits"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(step("drop the capabilities"))?;
    // The filter needs no_new_privs of a process without capabilities.
    set_no_new_privs(true).map_err(step("forbid new privileges"))?;
    let filter = filter::program(rules);
    if let Some(program) = &filter {
        sys::refuse_by(program).map_err(|errno| {
            step("filter system calls")(errno)
                .hint_at("a kernel with CONFIG_SECCOMP_FILTER is needed; inside a container, one that allows `seccomp`")
        })?;
    }
    // The command has init's user number, and must not look into it or trace it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("close init to its children"))?;
    Ok(if filter.is_some() { SyscallFilter::AllowList } else { SyscallFilter::None })
}

pub(crate) fn empty_bounding_set() -> Result<(), Errno> {
    for number in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Err(Errno::INVAL) => break, // past the last one this kernel knows
            removed => removed?,
        }
    }
    Ok(())
}
