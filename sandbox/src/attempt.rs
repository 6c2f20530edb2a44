//! What a hostile command would ask the kernel for, to show that it is refused.
//!
//! For: `exeat probe`, whose attempts run inside, and the tests of the worker's lock. In: what is tried. Out: the kernel's answer. Never: an effect that outlives the
//! calling process, but for a key, which [`remove_key`] takes away.

use crate::{
    netlink::{ACK, Message, Netlink},
    network, sys,
};
use rustix::{
    io::{Errno, Result},
    net::netlink,
    process::Pid,
};
use std::{ffi::CString, os::fd::BorrowedFd};

/// Makes the calling process root of a user namespace of its own.
pub fn enter_user_namespace() -> Result<()> {
    sys::unshare(libc::CLONE_NEWUSER)
}

/// The same for a child, which ends at once: another system call, whose flags no filter can see.
pub fn spawn_into_user_namespace() -> Result<()> {
    sys::clone3(libc::CLONE_NEWUSER)
}

/// Asks the kernel's routing for a change that is none: the loopback device up, which it is.
pub fn change_a_device() -> Result<()> {
    network::bring_up(&Netlink::open(None)?)
}

/// Asks the kernel's firewall for a table without saying which: EINVAL from whoever may change it, EPERM for all others.
pub fn ask_the_firewall() -> Result<()> {
    const GET_TABLE: u16 = 10 << 8 | 1;
    Netlink::open(Some(netlink::NETFILTER))?.request(vec![Message::new(GET_TABLE, ACK, &[2, 0, 0, 0])])
}

/// Sets up an io_uring, whose operations no filter sees.
pub fn set_up_io_uring() -> Result<()> {
    sys::io_uring()
}

/// Makes a map for BPF programs.
pub fn make_bpf_map() -> Result<()> {
    sys::bpf_map()
}

/// Traces a process, which goes on running.
pub fn trace(process: Pid) -> Result<()> {
    sys::seize(process)
}

/// Reads a byte of a process's memory; of one that was forked from this one, for anything else to be there.
pub fn read_memory_of(process: Pid) -> Result<()> {
    static BYTE: u8 = 7;
    sys::read_from(process, &BYTE).map(drop)
}

/// Counts what the processor does for this process.
pub fn count_events() -> Result<()> {
    sys::perf_event()
}

/// Takes over the handling of page faults of one's own, with which races in the kernel are won.
pub fn handle_page_faults() -> Result<()> {
    sys::userfault()
}

/// Asks for a file's handle, by which a file system opens it past every mount.
pub fn take_file_handle() -> Result<()> {
    sys::file_handle()
}

/// Gives a terminal the line discipline that it has; with another number the kernel loads one.
pub fn set_line_discipline(terminal: BorrowedFd<'_>) -> Result<()> {
    sys::line_discipline(terminal)
}

/// Asks how long the kernel's log is.
pub fn ask_for_the_log() -> Result<()> {
    sys::kernel_log()
}

/// Reads a byte of another process's memory, where this process has one; both may be forks of one.
pub fn read_memory(process: Pid, what: &u8) -> Result<u8> {
    sys::read_from(process, what)
}

/// Maps memory that can be written and executed.
pub fn map_executable_memory() -> Result<()> {
    sys::executable_memory()
}

/// Makes memory executable that was data.
pub fn make_memory_executable() -> Result<()> {
    sys::make_executable()
}

/// Makes a file without a path.
pub fn make_nameless_file() -> Result<()> {
    sys::nameless_file()
}

/// Types a newline into a terminal.
pub fn type_into(terminal: BorrowedFd<'_>) -> Result<()> {
    sys::type_into(terminal)
}

/// Unloads a kernel module; ENOENT, where there is none of the name, means that it would have been.
pub fn unload_module(name: &str) -> Result<()> {
    sys::unload_module(&text(name)?)
}

/// Puts a key into the user's keyring.
pub fn add_key(name: &str) -> Result<()> {
    sys::add_key(&text(name)?)
}

/// Looks for a key in the user's keyring.
pub fn find_key(name: &str) -> Result<()> {
    sys::find_key(&text(name)?).map(drop)
}

/// Takes a key out of the user's keyring.
pub fn remove_key(name: &str) -> Result<()> {
    sys::drop_key(sys::find_key(&text(name)?)?)
}

fn text(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Errno::INVAL)
}
