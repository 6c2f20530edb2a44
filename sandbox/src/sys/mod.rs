//! Every unsafe line of the project: the system calls that `rustix` does not offer as safe functions.
//!
//! For: the rest of this crate, which is safe code. In and out: owned descriptors, slices, plain numbers. Never: policy;
//! a function here does one system call and says what must hold for it.

mod attempt;
mod landlock;
mod memory;
mod mount;
mod process;
mod signal;

pub(crate) use attempt::{
    add_key, bpf_map, clone3, drop_key, executable_memory, file_handle, find_key, io_uring, kernel_log,
    line_discipline, make_executable, nameless_file, perf_event, read_from, seize, type_into, unload_module, unshare,
    userfault,
};
pub(crate) use landlock::{Ruled, landlock_abi, landlock_allow, landlock_enter, landlock_ruleset};
pub(crate) use memory::{bound_arenas, trim, unmap_program};
pub(crate) use mount::{MountAttributes, set_mount_attributes};
pub(crate) use process::{
    close_all_but, close_other_fds, close_these, execute, filters_are_there, fresh_session_keyring, process_group,
    refuse_by, session_leader, spawn, spawn_waiting, written_by_children,
};
pub(crate) use signal::{
    block_signal, block_signals, default_sigpipe, kill_everybody, poke_on, signal_fd, signal_fd_of, unblock_signals,
};
