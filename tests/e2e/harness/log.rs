//! The call log of a run, read back with the types that wrote it.
//!
//! Enters: a state directory. Leaves: the records of all its workers, oldest first. Never: a log whose chain is broken.

use std::fs;
use std::path::Path;

use record::read::{Position, WorkerLog};
use record::{CallEnd, CallStart, Event, Line, Refused, TunnelStart, WorkerEnd, WorkerStart, verified};

/// The records.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// In the order of the files.
    pub lines: Vec<Line>,
    /// The files' text.
    pub text: String,
}

impl Log {
    /// Reads what is there now, which may be the log of a worker that still runs.
    pub fn read(state: &Path) -> Self {
        let workers = fs::read_dir(state.join("workers")).map(|entries| entries.flatten().collect::<Vec<_>>());
        let mut workers: Vec<_> = workers.unwrap_or_default().iter().map(fs::DirEntry::path).collect();
        workers.sort();
        let (mut lines, mut text) = (Vec::new(), String::new());
        for worker in workers {
            lines.extend(verified(&worker).unwrap());
            if let Some(log) = WorkerLog::open(&worker).unwrap() {
                for line in log.texts(Position::START) {
                    text += &String::from_utf8(line.unwrap().bytes).unwrap();
                    text.push('\n');
                }
            }
        }
        Self { lines, text }
    }

    /// How the only worker began.
    pub fn start(&self) -> &WorkerStart {
        match &self.lines.first().expect("the log is empty").event {
            Event::WorkerStart(start) => start,
            other => panic!("the log begins with {other:?}"),
        }
    }

    /// How the only worker ended.
    pub fn end(&self) -> &WorkerEnd {
        match &self.lines.last().expect("the log is empty").event {
            Event::WorkerEnd(end) => end,
            other => panic!("the log ends with {other:?}"),
        }
    }

    /// The calls that went upstream.
    pub fn calls(&self) -> Vec<&CallStart> {
        self.lines
            .iter()
            .filter_map(|line| if let Event::CallStart(start) = &line.event { Some(start) } else { None })
            .collect()
    }

    /// The connections that passed unread.
    pub fn tunnels(&self) -> Vec<&TunnelStart> {
        self.lines
            .iter()
            .filter_map(|line| if let Event::TunnelStart(start) = &line.event { Some(start) } else { None })
            .collect()
    }

    /// How they ended.
    pub fn ends(&self) -> Vec<&CallEnd> {
        self.lines
            .iter()
            .filter_map(|line| if let Event::CallEnd(end) = &line.event { Some(end) } else { None })
            .collect()
    }

    /// What was refused.
    pub fn refusals(&self) -> Vec<&Refused> {
        self.lines
            .iter()
            .filter_map(|line| if let Event::Refused(refused) = &line.event { Some(refused) } else { None })
            .collect()
    }

    /// The kinds of what was refused, in order.
    pub fn refused_kinds(&self) -> Vec<&str> {
        self.refusals().iter().map(|refused| refused.kind.as_str()).collect()
    }

    /// The names that were asked for, with the type.
    pub fn names(&self) -> Vec<(&str, &str)> {
        self.lines
            .iter()
            .filter_map(|line| {
                if let Event::NameAsked(asked) = &line.event { Some((&*asked.name, &*asked.kind)) } else { None }
            })
            .collect()
    }
}
