//! A program of the operator's that issues a credential.
//!
//! Enters: what the file reader has checked. Leaves: the program and its arguments, and whether it is shown who the worker is.
//! Never: a secret.

use crate::identity::Audience;

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSettings {
    /// The program that prints a credential, with its arguments.
    pub issue: Vec<String>,
    /// The program that takes one back.
    pub revoke: Option<Vec<String>>,
    /// For whom the worker's identity is signed that the first program reads. `None`: it reads none.
    pub audience: Option<Audience>,
}
