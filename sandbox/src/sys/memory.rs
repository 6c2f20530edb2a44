//! What the C library's allocator keeps back, and what of the program is mapped.

use std::{os::raw::c_void, ptr::null_mut, slice};

/// `malloc_trim(3)`: gives back to the kernel what was freed. Other C libraries keep little.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, may be called at any time by any thread, and leaves what is in use as it is.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// `mallopt(3)`: how many arenas there are for all threads together.
pub(crate) fn bound_arenas(most: libc::c_int) {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers, and the caller has no other thread that could allocate meanwhile.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, most);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = most;
}

/// `dl_iterate_phdr(3)` and `madvise(2)`: takes the program's code and constants out of this process's page tables. What is needed again comes back
/// from the page cache, up to sixteen pages at a time.
pub(crate) fn unmap_program() {
    /// Called for the program first, and stops there.
    unsafe extern "C" fn of_program(found: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> libc::c_int {
        // SAFETY: the C library passes a valid object for the time of the call, with as many headers as it says.
        let (bias, headers) = unsafe {
            let found = &*found;
            (found.dlpi_addr, slice::from_raw_parts(found.dlpi_phdr, usize::from(found.dlpi_phnum)))
        };
        for header in headers.iter().filter(|it| it.p_type == libc::PT_LOAD && it.p_flags & libc::PF_W == 0) {
            // SAFETY: asks for a number.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.unsigned_abs();
            let (from, to) = (bias + header.p_vaddr, bias + header.p_vaddr + header.p_memsz);
            let from = from - from % page;
            let Ok(length) = usize::try_from(to - from) else { continue };
            // SAFETY: the pages of one private mapping of the program's file that nobody can write to: relocations are in segments that
            // can be written. The kernel lets nobody write to a file that is executed, so the same bytes come back.
            unsafe { libc::madvise(from as *mut c_void, length, libc::MADV_DONTNEED) };
        }
        1
    }
    // SAFETY: the callback keeps nothing that it is shown, and cannot unwind.
    unsafe { libc::dl_iterate_phdr(Some(of_program), null_mut()) };
}
