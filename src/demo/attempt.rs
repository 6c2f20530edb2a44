//! The script under way: what it tries, one attempt after the other, as it ends each.
//!
//! Enters: what `exeat run` prints. Leaves: attempts. Never: an attempt that the script did not see to its end.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::AGENT;
use super::files::{Files, SCRIPT};
use crate::report::Report;

/// One `try` of the script.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Attempt {
    /// The name that the script gives it.
    pub(super) name: String,
    /// The command as typed.
    pub(super) command: String,
    /// What it printed, without empty lines.
    pub(super) output: Vec<String>,
    /// Its exit code.
    pub(super) exit: String,
}

impl Attempt {
    /// Status and address of the answer, from the line that curl writes last. None where there was no answer.
    pub(super) fn status(&self) -> Option<(u16, &str)> {
        let line = self.output.iter().rev().find_map(|line| line.strip_prefix("HTTP "))?;
        let (status, address) = line.split_once(' ')?;
        let status = status.parse().ok().filter(|status| *status > 0)?;
        Some((status, address))
    }

    /// The body, where it is JSON.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        let body: String = self.output.iter().filter(|line| !line.starts_with("HTTP ")).map(String::as_str).collect();
        serde_json::from_str(&body).ok()
    }
}

/// `exeat run` with the script.
#[derive(Debug)]
pub(super) struct Script {
    run: Child,
    lines: BufReader<ChildStdout>,
    /// Everything that was printed, kept to be searched for what should not be in it.
    pub(super) printed: String,
    diagnostics: PathBuf,
}

/// Starts this program anew, as anybody would from a shell.
pub(super) fn start(files: &Files) -> Result<Script, Report> {
    let mut run = Command::new(std::env::current_exe()?)
        .arg("--config")
        .arg(&files.config)
        .arg("--state")
        .arg(files.state())
        .args(["run", "--agent", AGENT, "--", "sh", SCRIPT])
        .env("NO_COLOR", "1")
        .current_dir(files.work())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(files.diagnostics())?)
        .spawn()?;
    let stdout = run.stdout.take().ok_or_else(|| Report::new("the run has no output to read"))?;
    Ok(Script { run, lines: BufReader::new(stdout), printed: String::new(), diagnostics: files.diagnostics() })
}

impl Script {
    /// The next attempt, when it has ended.
    pub(super) fn next(&mut self) -> io::Result<Option<Attempt>> {
        next(&mut self.lines, &mut self.printed)
    }

    /// Waits for the end: whether all went well, and what `exeat run` itself had to say.
    pub(super) fn end(mut self) -> Result<(bool, String), Report> {
        let status = self.run.wait()?;
        Ok((status.success(), String::from_utf8_lossy(&fs::read(self.diagnostics)?).into_owned()))
    }
}

fn next(lines: &mut impl BufRead, printed: &mut String) -> io::Result<Option<Attempt>> {
    let mut under_way: Option<Attempt> = None;
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        printed.push_str(&text);
        printed.push('\n');
        match (&mut under_way, text.as_str()) {
            (None, text) => {
                under_way =
                    text.strip_prefix("## ").map(|name| Attempt { name: name.to_owned(), ..Attempt::default() });
            }
            (Some(attempt), text) if attempt.command.is_empty() => {
                text.trim_start_matches("$ ").clone_into(&mut attempt.command);
            }
            (Some(_), "") => {}
            (Some(attempt), text) => match text.strip_prefix("== exit ") {
                Some(code) => {
                    code.clone_into(&mut attempt.exit);
                    return Ok(under_way);
                }
                None => attempt.output.push(text.to_owned()),
            },
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_read_one_by_one_and_only_whole_ones() {
        let mut lines =
            &b"noise\n\n## a\n$ curl x\n{\n \"k\": 1 }\n\nHTTP 403 198.18.0.2\n\n== exit 0\n\n## b\n$ curl y\nhalf"[..];
        let mut printed = String::new();
        let attempt = next(&mut lines, &mut printed).unwrap().unwrap();
        assert_eq!((attempt.name.as_str(), attempt.command.as_str(), attempt.exit.as_str()), ("a", "curl x", "0"));
        assert_eq!(attempt.status(), Some((403, "198.18.0.2")));
        assert_eq!(attempt.json().unwrap()["k"], 1);
        assert_eq!(next(&mut lines, &mut printed).unwrap(), None);
        assert!(printed.contains("noise") && printed.contains("half"));
    }

    #[test]
    fn no_answer_is_not_a_status() {
        let attempt = Attempt { output: vec!["HTTP 000 ".to_owned()], ..Attempt::default() };
        assert_eq!(attempt.status(), None);
    }
}
