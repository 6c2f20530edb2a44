//! Signal masks, descriptors and dispositions.

use super::mount::last_errno;
use rustix::io::Result;
use std::{
    mem::{MaybeUninit, zeroed},
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the whole set and cannot fail on a valid pointer.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn set_of(signal: libc::c_int) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the whole set; `sigaddset` changes an initialised one, and leaves it alone where there is no
    // such signal.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        set.assume_init()
    }
}

fn change_mask(how: libc::c_int, set: &libc::sigset_t) -> Result<()> {
    // SAFETY: `set` is initialised and only read; the old mask is not asked for.
    if unsafe { libc::sigprocmask(how, set, ptr::null_mut()) } == 0 { Ok(()) } else { Err(last_errno()) }
}

/// `sigprocmask(2)`: every signal waits until it is read from [`signal_fd`].
pub(crate) fn block_signals() -> Result<()> {
    change_mask(libc::SIG_BLOCK, &full_set())
}

/// `sigprocmask(2)`: no signal waits.
pub(crate) fn unblock_signals() -> Result<()> {
    change_mask(libc::SIG_UNBLOCK, &full_set())
}

/// `sigprocmask(2)`: this signal waits until it is read, in this thread and in those that it starts.
pub(crate) fn block_signal(signal: libc::c_int) -> Result<()> {
    change_mask(libc::SIG_BLOCK, &set_of(signal))
}

/// `signalfd(2)` for every signal. One `signalfd_siginfo` (128 bytes, number in the first four) a read.
pub(crate) fn signal_fd() -> Result<OwnedFd> {
    new_signal_fd(&full_set())
}

/// `signalfd(2)` for one signal.
pub(crate) fn signal_fd_of(signal: libc::c_int) -> Result<OwnedFd> {
    new_signal_fd(&set_of(signal))
}

fn new_signal_fd(set: &libc::sigset_t) -> Result<OwnedFd> {
    // SAFETY: `set` is initialised and only read; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `sigaction(2)`: SIGPIPE ends the process again (Rust programs ignore it, and that would be inherited).
pub(crate) fn default_sigpipe() -> Result<()> {
    // SAFETY: all zeroes is SIG_DFL, no flags, an empty mask.
    let action: libc::sigaction = unsafe { zeroed() };
    set_action(libc::SIGPIPE, &action)
}

/// The eventfd that [`poke`] writes to; -1 before there is one.
static POKED: AtomicI32 = AtomicI32::new(-1);

extern "C" fn poke(_signal: libc::c_int) {
    let one = 1_u64;
    // SAFETY: `write` may be called from a signal handler; errno is put back so that the interrupted code sees its own.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        libc::write(POKED.load(Ordering::Relaxed), (&raw const one).cast(), 8);
        *errno = saved;
    }
}

/// `sigaction(2)`: each of `signals` adds one to `eventfd`, which stays open for the life of the process.
pub(crate) fn poke_on(signals: &[libc::c_int], eventfd: OwnedFd) -> Result<()> {
    POKED.store(eventfd.into_raw_fd(), Ordering::Relaxed);
    // SAFETY: as in `default_sigpipe`; the handler is set right below.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = poke as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART;
    signals.iter().try_for_each(|&signal| set_action(signal, &action))
}

fn set_action(signal: libc::c_int, action: &libc::sigaction) -> Result<()> {
    // SAFETY: `action` is initialised and only read; its handler, if any, is async-signal-safe and lives for ever.
    if unsafe { libc::sigaction(signal, action, ptr::null_mut()) } == 0 { Ok(()) } else { Err(last_errno()) }
}

/// `kill(-1)`: everybody in this process namespace but its init, whose call it is.
pub(crate) fn kill_everybody(signal: libc::c_int) -> Result<()> {
    // SAFETY: sending a signal touches no memory; init of a namespace reaches nobody outside of it.
    if unsafe { libc::kill(-1, signal) } == 0 { Ok(()) } else { Err(last_errno()) }
}
