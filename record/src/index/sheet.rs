//! What calls a segment has, at a glance: enough to find and to count them.
//!
//! Enters: the lines of one segment. Leaves: an entry for each call and each refusal, with where its records begin. Never: what is only
//! shown: that is read from the log itself.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::glance::Glance;
use super::words::{Known, Word, Words};
use crate::read::Position;

/// How a call began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// It had its permit.
    Call,
    /// So had its connection, which passed unread.
    Tunnel,
    /// It went no further.
    Refused,
}

/// A call, tunnel or refusal. Its texts are numbers in its sheet's [`Words`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The number of its first record.
    pub seq: u64,
    /// When that was written, in nanoseconds since 1970.
    pub time: i64,
    /// Where that begins.
    pub at: Position,
    /// How it began.
    pub kind: Kind,
    /// Its number among the calls of its worker, if it is one.
    pub call: u64,
    /// Host and port.
    pub to: Word,
    /// The method.
    pub method: Word,
    /// The path.
    pub path: Word,
    /// The MCP tools or GraphQL operations.
    pub tool: Word,
    /// The rule that judged it.
    pub rule: Word,
    /// The credential, by its name.
    pub credential: Word,
    /// Its lease.
    pub lease: Word,
    /// The lease that it was sent with once more.
    pub retried: Word,
    /// What it was refused for, or spared to be refused for: a kind of refusal.
    pub refusal: Word,
    /// The status of a refusal.
    pub status: Option<u16>,
    /// Whether it is a refusal that someone should look at at once.
    pub alert: bool,
    /// Whether it passed only because its worker observes.
    pub observed: bool,
    /// Whether not all of its texts are whole.
    pub cut: bool,
    /// How it ended, if it has.
    pub end: Option<End>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Where the record of it begins.
    pub at: Position,
    /// The outcome.
    pub outcome: Word,
    /// The lease that it was sent with once more.
    pub retried: Word,
    /// The status.
    pub status: Option<u16>,
    /// Body bytes towards the upstream.
    pub sent: u64,
    /// Body bytes towards the client.
    pub received: u64,
    /// How often a credential was replaced in the answer.
    pub scrubbed: u64,
    /// Whether its host's name led to an address that is not dialled.
    pub forbidden: bool,
    /// Milliseconds in all.
    pub total: f32,
    /// Milliseconds to the head of the answer.
    pub head: Option<f32>,
}

/// What came to a call in a later segment than that in which it began.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Late {
    Retried { call: u64, lease: Word },
    Ended { call: u64, end: End },
}

/// The calls of one segment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    behind: Option<Position>,
    pub(super) agent: String,
    pub(super) words: Words,
    pub(super) entries: Vec<Entry>,
    late: Vec<Late>,
}

impl Sheet {
    /// The agent whose worker wrote the segment.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Behind the last line that it has.
    pub fn behind(&self) -> Position {
        self.behind.unwrap_or(Position::START)
    }

    /// The texts of the entries.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// The calls that began in the segment, and its refusals, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Leaves out what is open.
    pub(super) fn keep_over(&mut self) {
        self.entries.retain(|entry| !entry.is_open());
        self.late.clear();
    }

    /// Whether it has the end of a call that began in a segment before.
    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }
}

/// What later segments say of calls of earlier ones: for whoever goes through them from the last to the first.
#[derive(Debug, Default)]
pub(super) struct Carried(HashMap<u64, (String, Option<(End, String)>)>);

impl Carried {
    /// Gives a sheet what came late to its calls, and takes on what it has for those before it.
    pub(super) fn through(&mut self, sheet: &mut Sheet) {
        if !self.0.is_empty() {
            for entry in sheet.entries.iter_mut().rev().filter(|entry| entry.is_open()) {
                let Some((retried, ended)) = self.0.remove(&entry.call) else { continue };
                if !retried.is_empty() {
                    entry.retried = sheet.words.add(&retried);
                }
                if let Some((end, outcome)) = ended {
                    let outcome = sheet.words.add(&outcome);
                    entry.end = Some(End { outcome, retried: entry.retried, ..end });
                }
            }
        }
        for late in &sheet.late {
            match late {
                Late::Retried { call, lease } => {
                    let carried = self.0.entry(*call).or_default();
                    if carried.0.is_empty() {
                        sheet.words.get(*lease).clone_into(&mut carried.0);
                    }
                }
                Late::Ended { call, end } => {
                    let carried = self.0.entry(*call).or_default();
                    if end.retried != 0 {
                        sheet.words.get(end.retried).clone_into(&mut carried.0);
                    }
                    carried.1 = Some((*end, sheet.words.get(end.outcome).to_owned()));
                }
            }
        }
    }
}

impl Entry {
    /// Whether it is a call or tunnel that has not ended.
    pub fn is_open(&self) -> bool {
        self.kind != Kind::Refused && self.end.is_none()
    }

    fn words_mut(&mut self) -> [&mut Word; 9] {
        let Entry { to, method, path, tool, rule, credential, lease, retried, refusal, .. } = self;
        [to, method, path, tool, rule, credential, lease, retried, refusal]
    }
}

/// A sheet as it is made.
#[derive(Debug, Default)]
pub(super) struct Writer {
    sheet: Sheet,
    known: Known,
    /// Where in the sheet the calls are that have not ended.
    open: HashMap<u64, usize>,
}

impl Writer {
    /// Goes on with a sheet.
    pub(super) fn new(sheet: Sheet) -> Writer {
        let known = Known::of(&sheet.words);
        let open = sheet.entries.iter().enumerate().filter(|(_, entry)| entry.is_open());
        let open = open.map(|(index, entry)| (entry.call, index)).collect();
        Writer { sheet, known, open }
    }

    /// Takes on what is open in another sheet of the same worker.
    pub(super) fn adopt(&mut self, other: &Sheet) {
        other.agent.clone_into(&mut self.sheet.agent);
        for entry in other.entries.iter().filter(|entry| entry.is_open()) {
            let mut entry = *entry;
            for word in entry.words_mut() {
                *word = self.word(other.words.get(*word));
            }
            self.push(entry);
        }
    }

    /// One more line, without its newline. Leaves whether it is the last of its log.
    ///
    /// # Errors
    /// When it is no record.
    pub(super) fn take(&mut self, line: &[u8], at: Position) -> Result<bool, serde_json::Error> {
        let glance: Glance<'_> = serde_json::from_slice(line)?;
        match &*glance.event {
            "worker-start" | "segment-start" => self.sheet.agent = glance.agent.into_owned(),
            "call-start" => self.begin(&glance, at, Kind::Call),
            "tunnel-start" => self.begin(&glance, at, Kind::Tunnel),
            "refused" => self.begin(&glance, at, Kind::Refused),
            "call-retried" => {
                let lease = self.word(&glance.lease);
                match self.open.get(&glance.call) {
                    Some(index) => self.sheet.entries[*index].retried = lease,
                    None => self.sheet.late.push(Late::Retried { call: glance.call, lease }),
                }
            }
            "call-end" => self.end(&glance, at),
            "worker-end" => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    /// The sheet so far.
    pub(super) fn sheet(self) -> Sheet {
        self.sheet
    }

    /// All lines before this were taken.
    pub(super) fn reached(&mut self, behind: Position) {
        self.sheet.behind = Some(behind);
    }

    fn begin(&mut self, glance: &Glance<'_>, at: Position, kind: Kind) {
        let (credential, observed) = (glance.credential.as_ref(), glance.observed.as_ref());
        let entry = Entry {
            seq: glance.seq,
            time: nanoseconds(glance.time),
            at,
            kind,
            call: glance.call,
            to: self.word(&glance.to),
            method: self.word(&glance.method),
            path: self.word(&glance.path),
            tool: self.word(&glance.tool),
            rule: self.word(&glance.rule),
            credential: credential.map_or(0, |used| self.word(&used.name)),
            lease: credential.map_or(0, |used| self.word(&used.lease)),
            retried: 0,
            refusal: self.word(observed.map_or(&glance.kind, |observed| &observed.kind)),
            status: glance.status,
            alert: glance.alert,
            observed: observed.is_some(),
            cut: glance.cut.is_some(),
            end: None,
        };
        self.push(entry);
    }

    fn push(&mut self, entry: Entry) {
        if entry.is_open() {
            self.open.insert(entry.call, self.sheet.entries.len());
        }
        self.sheet.entries.push(entry);
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven digits of a time are enough")]
    fn end(&mut self, glance: &Glance<'_>, at: Position) {
        let end = End {
            at,
            outcome: self.word(&glance.outcome),
            retried: glance.retried.as_ref().map_or(0, |retried| self.word(&retried.lease)),
            status: glance.status,
            sent: glance.sent,
            received: glance.received,
            scrubbed: glance.scrubbed,
            forbidden: glance.forbidden.is_some(),
            total: glance.total_ms as f32,
            head: glance.head_ms.map(|head| head as f32),
        };
        match self.open.remove(&glance.call) {
            Some(index) => {
                let entry = &mut self.sheet.entries[index];
                if end.retried != 0 {
                    entry.retried = end.retried;
                }
                entry.end = Some(end);
            }
            None => self.sheet.late.push(Late::Ended { call: glance.call, end }),
        }
    }

    fn word(&mut self, text: &str) -> Word {
        self.known.word(&mut self.sheet.words, text)
    }
}

/// As entries have times. Those of before 1677 and after 2262 were not written by a worker; they are the first and the last.
pub fn nanoseconds(time: jiff::Timestamp) -> i64 {
    let clamped = time.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(clamped).unwrap_or(i64::MAX)
}
