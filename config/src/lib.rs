//! What is allowed.
#![forbid(unsafe_code)]
