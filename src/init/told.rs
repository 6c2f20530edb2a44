//! What `exeat init` says of what it did.
//!
//! Enters: what was found, and the files. Leaves: lines for a person with what to do next, or one JSON document. Never: a character of the
//! project's that a terminal acts on.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use config::AgentId;
use serde_json::{Value, json};

use super::draft::{Draft, Found};
use super::writing::shown;
use super::written::ToWrite;

use crate::out::out;

/// Changes when a field changes its meaning or goes; fields may be added.
const SCHEMA: &str = "exeat-init/1";

/// All there is to say.
pub(super) struct Told<'a> {
    project: &'a Path,
    agent: &'a AgentId,
    found: &'a [Found],
    dry_run: bool,
    files: Vec<ToWrite>,
    /// A file that is somebody's already, and what to add to it.
    to_add: Option<(PathBuf, String)>,
    next: Vec<(String, &'static str)>,
}

impl<'a> Told<'a> {
    pub(super) fn new(project: &'a Path, agent: &'a AgentId, draft: &'a Draft, dry_run: bool) -> Self {
        let with_git = draft
            .found
            .iter()
            .any(|found| found.what.starts_with("git remote") && !found.becomes.starts_with("no rule"));
        let exeat = format!("exeat{}", option());
        let next = vec![
            (format!("{exeat} check"), "what is wrong, what may be, and what this machine lacks"),
            (
                format!("{exeat} run --agent {agent} -- {}", if with_git { "git ls-remote" } else { "bash -i" }),
                "a first run; its refusals say what would allow them",
            ),
            (
                format!("{exeat} run --agent {agent} --observe -- COMMAND"),
                "lets through what no rule covers, and notes it",
            ),
            (format!("{exeat} suggest --agent {agent}"), "the smallest rules for what was seen"),
        ];
        Self { project, agent, found: &draft.found, dry_run, files: Vec::new(), to_add: None, next }
    }

    pub(super) fn file(&mut self, path: PathBuf, text: String, mode: u32) {
        self.files.push(ToWrite { path, text, mode });
    }

    /// `sections` are to be added to a file that is there.
    pub(super) fn addition_to(&mut self, path: PathBuf, sections: String) {
        self.to_add = Some((path, sections));
    }

    pub(super) fn files(&self) -> &[ToWrite] {
        &self.files
    }

    pub(super) fn tell(&self, json: bool) -> io::Result<()> {
        let mut out = out();
        match json {
            true => writeln!(out, "{}", self.document()),
            false if self.dry_run => self.text_of_files(&mut out),
            false => self.text(&mut out),
        }
    }

    fn document(&self) -> Value {
        let Self { project, agent, found, dry_run, files, to_add, next } = self;
        let files: Vec<Value> =
            files.iter().map(|file| json!({ "path": file.path, "written": !dry_run, "text": file.text })).collect();
        json!({
            "schema": SCHEMA,
            "version": env!("CARGO_PKG_VERSION"),
            "project": project,
            "agent": agent,
            "dry_run": dry_run,
            "found": found,
            "files": files,
            "to_add": to_add.as_ref().map(|(path, text)| json!({ "path": path, "text": text })),
            "next": next.iter().map(|(command, why)| json!({ "command": command, "why": why })).collect::<Vec<_>>(),
        })
    }

    fn text_of_files(&self, out: &mut impl Write) -> io::Result<()> {
        for ToWrite { path, text, .. } in &self.files {
            writeln!(out, "# {} (not written)\n{text}", shown(&path.display().to_string()))?;
        }
        self.addition(out)
    }

    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "looked at {}", shown(&self.project.display().to_string()))?;
        for Found { what, becomes } in self.found {
            writeln!(out, "  {what}: {becomes}")?;
        }
        if self.found.is_empty() {
            writeln!(out, "  nothing that exeat knows names a host: the policy allows nothing yet")?;
        }
        for ToWrite { path, .. } in &self.files {
            writeln!(out, "wrote {}", shown(&path.display().to_string()))?;
        }
        self.addition(out)?;
        writeln!(out, "next:")?;
        let width = self.next.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
        for (command, why) in &self.next {
            writeln!(out, "  {command:<width$}  # {why}")?;
        }
        Ok(())
    }

    fn addition(&self, out: &mut impl Write) -> io::Result<()> {
        let Some((path, text)) = &self.to_add else { return Ok(()) };
        let path = shown(&path.display().to_string());
        writeln!(
            out,
            "# {path} is there already, and is left as it is. If these are to be lent, add them to it, or this"
        )?;
        writeln!(out, "# agent to the `agents` of those that it has, and `credential = …` to the rules:\n{text}")
    }
}

/// The option that the commands to come need as this one did.
fn option() -> String {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().enumerate().find_map(|(at, argument)| match argument.strip_prefix("--config") {
        Some("") => arguments.get(at + 1).map(String::as_str),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    let quoted = given.and_then(|given| shlex::try_quote(given).ok().map(std::borrow::Cow::into_owned));
    quoted.map(|given| format!(" --config {}", shown(&given))).unwrap_or_default()
}
