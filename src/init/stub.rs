//! The credentials of a file that is being written.
//!
//! Enters: what was found. Leaves: sections of credentials.toml, each with where its secret is and what to have instead. Never: a secret, as
//! only the names of the variables and files that have one are known here.

use std::fmt::Write as _;

use super::writing::{comment, commented_out, list, quoted};

/// A credential.
#[derive(Debug, Clone)]
pub(super) struct Stub {
    pub(super) name: &'static str,
    pub(super) why: Vec<String>,
    /// `issuer = …` and what goes with it.
    pub(super) issuer: String,
    pub(super) to: Vec<String>,
    pub(super) shape: Option<&'static str>,
    /// As `env` has it, and other lines.
    pub(super) lines: Vec<String>,
    /// A section to have instead, where there is a better one.
    pub(super) instead: Option<String>,
    /// One that a person has to complete is a comment.
    pub(super) draft: bool,
}

/// Why a section is a comment though its host is known.
pub(super) fn only_by_the_project(by: &str) -> String {
    format!(
        "Only the project names this host ({by}): take the # away, here and in the rule, if the secret is meant for whoever has it."
    )
}

impl Stub {
    /// A secret that stands in a variable of the broker's, and whose placeholder the agent finds in one of the same name.
    pub(super) fn of_variable(name: &'static str, variable: &str, to: Vec<String>, why: impl Into<String>) -> Self {
        Self {
            name,
            why: vec![why.into()],
            issuer: format!("issuer = \"fixed\"\nvalue = {{ env = {} }}\n", quoted(variable)),
            to,
            shape: None,
            lines: vec![format!("env = {}", quoted(variable))],
            instead: None,
            draft: false,
        }
    }

    pub(super) fn text(&self, agent: &str) -> String {
        let Self { name, why, issuer, to, shape, lines, instead, draft } = self;
        let mut section = format!("[{name}]\n{issuer}agents = {}\nto = {}\n", list([agent]), list(to));
        if let Some(shape) = shape {
            let _ = writeln!(section, "shape = {}", quoted(shape));
        }
        for line in lines {
            let _ = writeln!(section, "{line}");
        }
        let mut text: String = why.iter().map(|why| comment(why)).collect();
        text += &if *draft { commented_out(&section) } else { section };
        if let Some(instead) = instead {
            text += &comment("Better, once it is set up, in the place of the lines above:");
            text += &commented_out(instead);
        }
        format!("\n{text}")
    }
}
