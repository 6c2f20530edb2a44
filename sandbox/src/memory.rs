//! What a process of exeat's does not hold on to: a machine may have hundreds of them, which wait most of the time.
//!
//! For: the worker and its broker, once they stand. In: nothing. Out: less memory. Never: an error; where the C library
//! has no such thing, all stays as it is.

use crate::{process::single_threaded, sys};

/// The first thread's, and one for the others: each keeps pages of its own, and the proxy has one thread that is busy.
const ARENAS: libc::c_int = 2;

/// Gives back what was freed.
pub fn give_back_freed() {
    sys::trim();
}

/// Gives back what was freed while the process came to stand, and the code that was needed for that: most of the program, and never again.
pub fn give_back_memory() {
    sys::trim();
    sys::unmap_program();
}

/// As few heaps as threads are busy. Does nothing where there are threads already.
pub fn bound_heaps() {
    if single_threaded().is_ok() {
        sys::bound_arenas(ARENAS);
    }
}
