//! The whole judgement on logs: the chain of each, the signatures under it, and whether one is missing.
//!
//! Enters: workers' directories, what their broker's notary keeps, the keys that are trusted. Leaves: for each worker how much is there, how much
//! of it was signed for, and every finding, with its place. Never: a word on what a key's owner could have signed; nor trust in a key that
//! only lies beside what it signed, unless the caller says so.

mod finding;
mod notary;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

pub use self::finding::{Fault, Finding};
pub use self::notary::Notary;
use crate::checkpoint::{self, Checkpoint};
use crate::event::{Event, Line};
use crate::hash::Hash;
use crate::log::Head;
use crate::note::{self, VerifierKey};
use crate::read::{Position, ReadError, WorkerLog};
use crate::removed::Removed;
use crate::verify::{Tampered, Walk};

/// Two weeks of checkpoints without a pause, 17,000 a day. Of a file that is longer what is behind is not looked at: the broker's own is over all.
const MOST_CHECKPOINTS: u64 = 64 * 1024 * 1024;

/// What is to be said of one worker's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// The worker, by the name of its directory.
    pub worker: String,
    /// Its agent: as the broker's roll has it; where it is not on that, as the log says.
    pub agent: Option<String>,
    /// Records that follow each from the one before.
    pub records: u64,
    /// How many of them are signed for.
    pub signed: u64,
    /// Whether the log has its end.
    pub ended: bool,
    /// What retention removed of them, as it wrote it down: nobody can tell any more whether that was so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removed>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// The log in this directory, against what is signed.
///
/// # Errors
/// When it cannot be read for a reason that says nothing of it.
pub fn log(directory: &Path, notary: &Notary, keys: &[VerifierKey]) -> Result<Audited, ReadError> {
    let worker = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut audit = Audit::new(&worker, notary);
    // In this order, as all three go on meanwhile: the broker keeps what it signs before the worker has it, and signs for what is in the log.
    let own = audit.own_checkpoints(directory, keys)?;
    audit.count(notary, keys, own);
    let mut walk = Walk::begin(directory)?;
    let log = WorkerLog::open(directory)?;
    for text in log.iter().flat_map(|log| log.texts(Position::START)) {
        let text = match text {
            Ok(text) => text,
            Err(ReadError::File { source, .. }) if source.kind() != io::ErrorKind::PermissionDenied => {
                audit.find(Fault::Unreadable, format!("a file of it is damaged: {source}"), None);
                break;
            }
            Err(error) => return Err(error),
        };
        match walk.step(&text) {
            Ok(()) => audit.record(&text.bytes, walk.head(), text.at),
            Err(tampered) => {
                audit.broken(tampered)?;
                break;
            }
        }
    }
    let mut head = walk.head();
    if audit.audited.findings.iter().all(|finding| !finding.fault.breaks_off()) {
        match walk.end() {
            Ok(sound) => {
                head = sound.head;
                audit.removed(sound.removed);
            }
            Err(tampered) => audit.broken(tampered)?,
        }
    }
    if let (None, true, Some((size, _))) = (&log, audit.audited.removed.is_empty(), audit.signed.last_key_value()) {
        audit.find(Fault::LogMissing, format!("its log is gone: {size} records of it were signed for"), None);
        return Ok(audit.done(None));
    }
    Ok(audit.done(Some(head)))
}

/// The judgement on one log, as far as it is.
struct Audit {
    audited: Audited,
    /// What was signed for: the root at each size.
    signed: BTreeMap<u64, Hash>,
    /// The last size at which log and signature agreed.
    agreed: u64,
    /// The number of the record that ends the log.
    end: Option<u64>,
    /// Whether there is more beside the log than is read.
    own_is_cut: bool,
    /// The size that the broker has signed for last, and whether what lies beside the log goes as far; where both can be told.
    counted: Option<(u64, bool)>,
}

impl Audit {
    fn new(worker: &str, notary: &Notary) -> Self {
        let agent = notary.agent(worker).map(str::to_owned);
        let worker = worker.to_owned();
        let (removed, findings) = (Vec::new(), Vec::new());
        let audited = Audited { worker, agent, records: 0, signed: 0, ended: false, removed, findings };
        Self { audited, signed: BTreeMap::new(), agreed: 0, end: None, own_is_cut: false, counted: None }
    }

    fn find(&mut self, fault: Fault, says: String, at: Option<(u64, Position)>) {
        self.audited.findings.push(Finding {
            fault,
            says,
            record: at.map(|(number, _)| number),
            at: at.map(|(_, at)| at),
        });
    }

    fn has(&self, fault: Fault) -> bool {
        self.audited.findings.iter().any(|finding| finding.fault == fault)
    }

    /// Whether a signature could not be believed, so that its size is not known.
    fn misreads(&self) -> bool {
        [Fault::Malformed, Fault::Forged, Fault::UnknownKey, Fault::Foreign].into_iter().any(|fault| self.has(fault))
    }

    /// What lies beside the log: the longest that is signed for there.
    fn own_checkpoints(&mut self, directory: &Path, keys: &[VerifierKey]) -> Result<Option<u64>, ReadError> {
        let mut bytes = Vec::new();
        match File::open(directory.join(checkpoint::FILE_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => {
                let read = file.and_then(|file| file.take(MOST_CHECKPOINTS).read_to_end(&mut bytes));
                read.map_err(|source| ReadError::File { worker: directory.to_owned(), source })?;
            }
        }
        self.own_is_cut = u64::try_from(bytes.len()).is_ok_and(|length| length >= MOST_CHECKPOINTS);
        for note in note::split(&String::from_utf8_lossy(&bytes)) {
            self.checkpoint(note, keys, "a checkpoint beside the log");
        }
        Ok(self.signed.last_key_value().map(|(size, _)| *size))
    }

    /// What the broker keeps, which is not less than what is beside the log. Neither is forced to the disk at each turn.
    fn count(&mut self, notary: &Notary, keys: &[VerifierKey], own: Option<u64>) {
        const OR: &str = "or the machine lost power just then";
        if !notary.is_there() {
            return;
        }
        let counted = match notary.count(&self.audited.worker) {
            Ok(Some(note)) => self.checkpoint(&note, keys, "the broker's checkpoint"),
            Ok(None) => None,
            Err(error) => {
                let says = format!("the broker's own checkpoint of it is gone or cannot be read ({error}), {OR}");
                return self.find(Fault::CountMissing, says, None);
            }
        };
        if let (Some(counted), false) = (counted, self.own_is_cut || self.misreads()) {
            self.counted = Some((counted, own >= Some(counted)));
        }
        match (own, counted) {
            (Some(own), Some(counted)) if counted < own => {
                let says = format!(
                    "the broker's own checkpoint is of {counted} records, one beside the log of {own}: an older one was put back, {OR}"
                );
                self.find(Fault::CountMissing, says, None);
            }
            (Some(_), None) if !self.has(Fault::Malformed) => {
                self.find(Fault::CountMissing, format!("the broker's own checkpoint of it is gone, {OR}"), None);
            }
            _ => {}
        }
        if !self.signed.is_empty() && notary.misses(&self.audited.worker) {
            let says = format!("its worker is not on the broker's roll, which was cut, {OR}");
            self.find(Fault::NotOnRoll, says, None);
        }
    }

    /// The size that it signs for, if it does.
    fn checkpoint(&mut self, note: &str, keys: &[VerifierKey], whose: &str) -> Option<u64> {
        let text = match note::open(note, keys) {
            Ok((text, _)) => text,
            Err(unsigned) => {
                self.find(Fault::of(&unsigned), format!("{whose}: {unsigned}"), None);
                return None;
            }
        };
        let Ok(Checkpoint { origin, head }) = text.parse() else {
            self.find(Fault::Malformed, format!("{whose} is signed, and none"), None);
            return None;
        };
        if origin.rsplit_once("/workers/").map(|(_, worker)| worker) != Some(&self.audited.worker) {
            self.find(Fault::Foreign, format!("{whose} is of another log, `{origin}`"), None);
            return None;
        }
        match self.signed.insert(head.size, head.root) {
            Some(other) if other != head.root => {
                self.find(Fault::Forked, format!("two different logs of {} records were signed for", head.size), None);
            }
            _ => {}
        }
        Some(head.size)
    }

    /// What does not go on as it began.
    fn broken(&mut self, tampered: Tampered) -> Result<(), ReadError> {
        let says = match &tampered {
            Tampered::Read(_) => String::new(),
            Tampered::Line { number, flaw, .. } => format!("record {number} {flaw}"),
            Tampered::Missing { from, to, .. } if from == to => format!("segment {from} is missing"),
            Tampered::Missing { from, to, .. } => format!("segments {from} to {to} are missing"),
            Tampered::Removal { size, .. } => format!(
                "what is there begins behind record {size}, and what was removed is not written down as ending there"
            ),
        };
        match tampered {
            Tampered::Read(error) => return Err(error),
            Tampered::Line { number, at, .. } => self.find(Fault::Changed, says, Some((number, at))),
            Tampered::Missing { .. } | Tampered::Removal { .. } => self.find(Fault::SegmentMissing, says, None),
        }
        Ok(())
    }

    /// What retention took, as it wrote it down; the broker may have signed for it.
    fn removed(&mut self, removed: Vec<Removed>) {
        for Removed { segment, size, root, .. } in &removed {
            if self.signed.get(size).is_some_and(|signed| signed != root) {
                let says = format!(
                    "segment {segment}, which was removed, was not what was signed for, as is written down of it"
                );
                self.find(Fault::Resigned, says, None);
            }
        }
        if let Some(last) = removed.last() {
            // What ends with it has no record of its own any more.
            self.end = self.end.or(last.ended.then_some(last.size));
            if self.signed.get(&last.size) == Some(&last.root) {
                self.agreed = self.agreed.max(last.size);
            }
        }
        self.audited.removed = removed;
    }

    /// A record that follows from the one before.
    fn record(&mut self, line: &[u8], head: Head, at: Position) {
        let said = match serde_json::from_slice(line) {
            Ok(Line { event: Event::WorkerStart(start), .. }) => Some((start.worker, start.agent)),
            Ok(Line { event: Event::SegmentStart(start), .. }) => Some((start.worker, start.agent)),
            Ok(Line { event: Event::WorkerEnd(_), .. }) => {
                if self.end.replace(self.end.unwrap_or(head.size)).is_some() {
                    self.find(
                        Fault::Appended,
                        format!("record {} ends the log once more", head.size),
                        Some((head.size, at)),
                    );
                }
                None
            }
            Ok(_) => None,
            Err(_) => {
                self.find(Fault::Unreadable, format!("record {} is none", head.size), Some((head.size, at)));
                None
            }
        };
        if let Some((worker, agent)) = said {
            if worker != self.audited.worker {
                let says = format!("record {} is of the log of another worker", head.size);
                self.find(Fault::Foreign, says, Some((head.size, at)));
            }
            // What the broker has on its roll counts, or what the log said first.
            let known = self.audited.agent.get_or_insert_with(|| agent.clone()).clone();
            if known != agent {
                let says = format!("record {} says that it is of agent `{agent}`, and it is of `{known}`", head.size);
                self.find(Fault::Foreign, says, Some((head.size, at)));
            }
        }
        match self.signed.get(&head.size) {
            Some(root) if *root == head.root => self.agreed = head.size,
            Some(_) if self.has(Fault::Resigned) => {}
            Some(_) => {
                let says = format!(
                    "records {} to {} are not those that were signed for: one of them was changed, and those after it with it",
                    self.agreed + 1,
                    head.size
                );
                self.find(Fault::Resigned, says, Some((head.size, at)));
            }
            None => {}
        }
    }

    fn done(mut self, head: Option<Head>) -> Audited {
        let records = head.map_or(0, |head| head.size);
        let is_whole = !self.audited.findings.iter().any(|finding| finding.fault.breaks_off());
        let last = self.signed.last_key_value().map(|(size, _)| *size);
        match last {
            Some(size) if size > records && is_whole && head.is_some() => {
                let says = format!("it was cut: {size} records were signed for, and {records} are there");
                self.find(Fault::Cut, says, None);
            }
            None if is_whole && records > 0 => {
                let says = "nothing was ever signed for it: its worker had no notary, or was killed as it began, or all signatures are gone";
                self.find(Fault::Unsigned, says.to_owned(), None);
            }
            _ => {}
        }
        // While it goes on, the broker's is the later one: it keeps what it signs before the worker has it.
        if let (Some((counted, false)), Some(_)) = (self.counted, self.end) {
            let says = format!(
                "what lies beside it of signatures is gone or ends before the broker's last, of {counted} records, or its worker was killed just then"
            );
            self.find(Fault::CheckpointsMissing, says, None);
        }
        if let Some(end) = self.end.filter(|end| *end < records && *end >= self.agreed) {
            let says = format!("record {end} is its last, and {} are behind that, unsigned", records - end);
            self.find(Fault::Appended, says, None);
        }
        Audited { records, signed: self.agreed, ended: self.end.is_some(), ..self.audited }
    }
}
