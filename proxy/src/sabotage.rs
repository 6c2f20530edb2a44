//! Walls that a test takes away, to see that `exeat probe` says so, and what it has fail, to see that nothing passes for it.
//!
//! Enters: the name of one of them, in a variable of the worker's. Leaves: whether that one is missing. Never: `true` in what anybody is to use: without
//! the feature `sabotage`, which is nobody's default, nothing asks for the variable, and with it nothing is built but for debugging.

#[cfg(all(feature = "sabotage", not(debug_assertions)))]
compile_error!("`sabotage` has walls taken away, for tests: it is not built without debug assertions");

/// What can be taken away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wall {
    /// That a request's authority is the connection's.
    Authority,
    /// The search of a request's body.
    Watch,
    /// The search of an answer.
    Scrub,
    /// The line for each call.
    Log,
    /// The worker's authority, without which nothing is to start.
    Ca,
    /// Every second leaf, so that one was made before and one is after.
    Mint,
}

/// Whether it is missing.
#[cfg(feature = "sabotage")]
pub(crate) fn lacks(wall: Wall) -> bool {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static LEAVES: AtomicUsize = AtomicUsize::new(0);
    let missing =
        std::env::var("EXEAT_SABOTAGE").is_ok_and(|missing| missing.eq_ignore_ascii_case(&format!("{wall:?}")));
    missing && (!matches!(wall, Wall::Mint) || LEAVES.fetch_add(1, Ordering::Relaxed) % 2 == 1)
}

/// Whether it is missing: no wall is.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn lacks(_: Wall) -> bool {
    false
}
