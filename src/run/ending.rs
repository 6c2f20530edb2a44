//! How the end of a command is told: to the log, to whoever started it, by the exit code.
//!
//! Enters: how it ended, and the limits it had. Leaves: words that say what ended it and which key of its file to change. Never: a limit
//! named that was not met.

use std::process::ExitCode;
use std::time::Duration;

use config::SandboxSettings;
use sandbox::{Exit, Limit, Limits, Met};

use super::supervise::{Cause, Ended};
use crate::report::{LIMIT, OUT_OF_TIME, Report, STOPPED};

/// A group whose processes have less than nine tenths of what they may was not what ran out.
const NEARLY: u64 = 10;

impl Ended {
    /// For the log: in few words, what ended it.
    pub fn outcome(&self, settings: &SandboxSettings) -> String {
        let Self { exit, cause, killed, .. } = self;
        let grace = settings.grace;
        match (cause, killed) {
            (Some(Cause::OutOfTime(limit)), false) => format!("out of time after {limit:?}"),
            (Some(Cause::OutOfTime(limit)), true) => format!("out of time after {limit:?}, and killed {grace:?} later"),
            (Some(Cause::Stopped(why)), false) => format!("stopped: {why}"),
            (Some(Cause::Stopped(why)), true) => format!("stopped, and killed as it did not end: {why}"),
            (Some(Cause::Told), true) => format!("killed, as it did not end within {grace:?} of SIGTERM"),
            (Some(Cause::Told) | None, _) => format!("{exit:?}"),
        }
    }

    /// For the log: the key of the limit that ended it.
    pub fn limit(&self) -> Option<&'static str> {
        match &self.cause {
            Some(Cause::OutOfTime(_)) => Some("wall_clock"),
            Some(Cause::Stopped(_)) => None,
            Some(Cause::Told) if self.killed => None,
            Some(Cause::Told) | None => self.met.ended(self.exit).map(Limit::key),
        }
    }

    /// For whoever started it: the command's exit code, or what ended it instead.
    pub fn report(&self, settings: &SandboxSettings) -> Result<ExitCode, Report> {
        match &self.cause {
            Some(Cause::OutOfTime(limit)) => {
                let told = Report::new(format!("the command was ended after its wall clock of {limit:?}"));
                Err(told.hint(raise("wall_clock")).code(OUT_OF_TIME))
            }
            Some(Cause::Stopped(why)) => Err(Report::new(format!("the worker was stopped: {why}")).code(STOPPED)),
            Some(Cause::Told) if self.killed => Err(not_ended(settings.grace).code(Exit::Signal(9).code())),
            Some(Cause::Told) | None => match self.met.ended(self.exit) {
                Some(limit) => Err(by_limit(limit, &self.met, settings).code(LIMIT)),
                None => Ok(ExitCode::from(self.exit.code())),
            },
        }
    }

    /// For whoever started it: which limits were met beside that.
    pub fn notes(&self, settings: &SandboxSettings) -> Vec<Report> {
        self.met.others(self.exit).into_iter().filter_map(|limit| note(limit, &self.met, settings)).collect()
    }
}

fn not_ended(grace: Duration) -> Report {
    Report::new(format!("the command was killed: it did not end within {grace:?} of SIGTERM"))
        .hint("raise `grace` under [sandbox] in the agent's file if it needs longer")
}

fn by_limit(limit: Limit, met: &Met, settings: &SandboxSettings) -> Report {
    match limit {
        Limit::Memory => match within(met, settings) {
            Some(memory) => Report::new(format!(
                "the command was killed for memory: it has {memory} with all of its processes and files in /tmp"
            ))
            .hint(raise("memory")),
            None => Report::new("the command was killed for memory: the machine had no more")
                .hint("run less at once, or bound it by `memory` under [sandbox] in the agent's file"),
        },
        Limit::FileSize => {
            let size = settings.file_size.map_or_else(|| "what exeat itself may write".to_owned(), size);
            Report::new(format!("the command was ended for the size of a file that it wrote: at most {size}"))
                .hint(raise("file_size"))
        }
        Limit::Disk if met.uncounted => Report::new("the command was ended: what it writes could no longer be counted")
            .hint("a program that its user may execute and not read cannot run where `disk` is limited"),
        Limit::Disk | Limit::Processes => {
            Report::new(format!("the command was ended for what it wrote: {}", written(met, settings)))
                .hint(raise("disk"))
        }
    }
}

fn note(limit: Limit, met: &Met, settings: &SandboxSettings) -> Option<Report> {
    Some(match limit {
        Limit::Memory => {
            let killed = count(met.memory_kills, "process was", "processes were");
            match within(met, settings) {
                Some(memory) => {
                    Report::new(format!("{killed} killed for memory, of which there is {memory} for all together"))
                        .hint(raise("memory"))
                }
                None => Report::new(format!("{killed} killed for memory: the machine had no more")),
            }
        }
        Limit::Processes => {
            let most = settings.processes.unwrap_or(Limits::PROCESSES);
            let refused = count(met.processes_refused, "process or thread was", "processes or threads were");
            Report::new(format!("{refused} not started, as there are at most {most} at a time"))
                .hint(raise("processes"))
        }
        Limit::FileSize => {
            let size = size(settings.file_size?);
            Report::new(format!("a process of it was ended for the size of a file, it seems: at most {size}"))
                .hint(raise("file_size"))
        }
        Limit::Disk => {
            Report::new(format!("it ended before it could be ended for what it wrote: {}", written(met, settings)))
                .hint(raise("disk"))
        }
    })
}

/// The limit on memory, if that was what ran out, as far as anybody can tell.
fn within(met: &Met, settings: &SandboxSettings) -> Option<String> {
    let memory = settings.memory?;
    met.memory_peak.is_none_or(|peak| peak >= memory - memory / NEARLY).then(|| size(memory))
}

fn written(met: &Met, settings: &SandboxSettings) -> String {
    let sizes = (size(met.written.unwrap_or(0)), size(settings.disk.unwrap_or(0)));
    format!("{}, where `disk` is {}", sizes.0, sizes.1)
}

fn raise(key: &str) -> String {
    format!("raise `{key}` under [sandbox] in the agent's file")
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// As people write sizes, with one digit behind the point where it is not even.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let Some((unit, one)) = UNITS.into_iter().find(|(_, one)| bytes >= *one) else { return format!("{bytes} B") };
    let tenths = bytes % one * 10 / one;
    if tenths == 0 { format!("{} {unit}", bytes / one) } else { format!("{}.{tenths} {unit}", bytes / one) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Exit = Exit::Signal(9);

    fn ended(exit: Exit, cause: Option<Cause>, killed: bool, met: Met) -> Ended {
        Ended { exit, cause, killed, met }
    }

    fn settings() -> SandboxSettings {
        SandboxSettings {
            memory: Some(200 << 20),
            disk: Some(1 << 30),
            file_size: Some(1536),
            processes: Some(64),
            ..SandboxSettings::default()
        }
    }

    /// What is said, the exit code, and the limit in the log.
    fn told(ended: &Ended) -> (String, Option<&'static str>) {
        let report = ended.report(&settings()).expect_err("it was ended");
        (report.to_string(), ended.limit())
    }

    #[test]
    fn a_kill_for_memory_is_told_with_the_key_and_another_kill_is_the_commands_own() {
        let met = Met { memory_kills: 1, memory_peak: Some(199 << 20), ..Met::default() };
        let (said, limit) = told(&ended(KILLED, None, false, met.clone()));
        assert!(said.contains("killed for memory: it has 200 MiB") && said.contains("raise `memory`"), "{said}");
        assert_eq!(limit, Some("memory"));
        let (said, _) = told(&ended(KILLED, None, false, Met { memory_peak: Some(9 << 20), ..met }));
        assert!(said.contains("the machine had no more"), "{said}");
        let alone = ended(KILLED, None, false, Met::default());
        assert!(alone.report(&settings()).is_ok() && alone.limit().is_none());
    }

    #[test]
    fn what_was_written_is_told_with_both_sizes() {
        let met = Met { disk_full: true, written: Some((1 << 30) + (512 << 20)), ..Met::default() };
        let (said, limit) = told(&ended(KILLED, None, false, met));
        assert!(said.contains("1.5 GiB, where `disk` is 1 GiB"), "{said}");
        assert_eq!(limit, Some("disk"));
        let (said, _) = told(&ended(Exit::Signal(25), None, false, Met::default()));
        assert!(said.contains("at most 1.5 KiB") && said.contains("`file_size`"), "{said}");
    }

    #[test]
    fn a_cause_outside_goes_before_what_the_kernel_did() {
        let met = || Met { memory_kills: 1, ..Met::default() };
        let wall = ended(KILLED, Some(Cause::OutOfTime(Duration::from_secs(2))), true, met());
        assert_eq!(
            (wall.outcome(&settings()).as_str(), wall.limit()),
            ("out of time after 2s, and killed 5s later", Some("wall_clock"))
        );
        let stopped = ended(KILLED, Some(Cause::Stopped("why".to_owned())), false, met());
        assert_eq!((stopped.outcome(&settings()).as_str(), stopped.limit()), ("stopped: why", None));
        let told_and_gone = ended(Exit::Code(3), Some(Cause::Told), false, Met::default());
        assert_eq!(told_and_gone.outcome(&settings()), "Code(3)", "it ended by itself");
        assert!(told_and_gone.report(&settings()).is_ok());
        let (said, _) = told(&ended(KILLED, Some(Cause::Told), true, Met::default()));
        assert!(said.contains("within 5s of SIGTERM") && said.contains("`grace`"), "{said}");
    }

    #[test]
    fn what_did_not_end_it_is_a_note() {
        let met = Met { memory_kills: 2, processes_refused: 1, ..Met::default() };
        let notes: Vec<String> =
            ended(Exit::Code(0), None, false, met).notes(&settings()).iter().map(ToString::to_string).collect();
        assert!(notes[0].contains("2 processes were killed for memory"), "{notes:?}");
        assert!(
            notes[1].contains("1 process or thread was not started") && notes[1].contains("at most 64"),
            "{notes:?}"
        );
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn sizes_are_read_at_a_glance() {
        assert_eq!([size(7), size(1 << 20), size(1600), size(u64::MAX)], ["7 B", "1 MiB", "1.5 KiB", "16777215.9 TiB"]);
    }
}
