//! Walls that a test takes away, to see that `exeat probe` says so.
//!
//! Enters: the name of one wall, in a variable of the worker's. Leaves: whether that one is missing. Never: `true` in what anybody is to use: without
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
}

/// Whether it is missing.
#[cfg(feature = "sabotage")]
pub(crate) fn lacks(wall: Wall) -> bool {
    std::env::var("EXEAT_SABOTAGE").is_ok_and(|missing| missing.eq_ignore_ascii_case(&format!("{wall:?}")))
}

/// Whether it is missing: no wall is.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn lacks(_: Wall) -> bool {
    false
}
