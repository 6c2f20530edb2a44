//! What the C library's allocator keeps back.

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
