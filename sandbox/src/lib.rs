//! Placeholder opener.
