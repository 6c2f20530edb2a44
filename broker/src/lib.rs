//! Placeholder opener.
#![forbid(unsafe_code)]
