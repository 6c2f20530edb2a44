//! Where the calls are: an index of the logs, so that a million records are looked through in half a second.
//!
//! Enters: a worker's log, and a directory in which sheets may be kept, one for each segment. Leaves: sheets that say what the log says now: one that is kept
//! holds only for a segment that was not touched since; of any other the text is hashed again, and only what came behind it is read. Never: a
//! sheet that is damaged, of another version, or of other text; nor a word on whether the log is what was written: that is `verify`'s.

mod glance;
mod kept;
mod live;
mod sheet;
mod stamp;
mod words;

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use self::kept::Kept;
use self::sheet::{Carried, Writer};
use self::stamp::Stamp;
use crate::hash::Hash;
use crate::read::{LONGEST, Position, ReadError, WorkerLog};
use crate::segment::Segment;

pub use self::kept::{Head, parse};
pub use self::live::Live;
pub use self::sheet::{End, Entry, Kind, Sheet, nanoseconds};
pub use self::words::{Word, Words};

/// What came since a sheet was kept is read again each time until it is as much: some milliseconds.
const WORTH_KEEPING: u64 = 256 * 1024;
/// As much of a segment as is hashed at a time.
const STEP: u64 = 1024 * 1024;
const ENDING: &str = "sheet";
/// What a sheet is while it is written.
const DRAFT: &str = "new";
/// Nobody writes one for longer: who wrote it was killed.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// The times of the calls that are looked for, in nanoseconds since 1970; the last one is included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From here.
    pub from: i64,
    /// To here.
    pub to: i64,
}

impl Span {
    /// All.
    pub const ALWAYS: Span = Span { from: i64::MIN, to: i64::MAX };

    /// Whether anything of what was between these two can be in it.
    fn meets(self, (first, last): (i64, i64)) -> bool {
        first <= self.to && last >= self.from
    }
}

/// A sheet that is kept says something else than the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The file of the sheet.
    pub sheet: PathBuf,
    /// In what.
    pub why: &'static str,
}

/// The sheets of all logs.
#[derive(Debug, Clone)]
pub struct Index {
    /// Where they are kept.
    directory: Option<PathBuf>,
}

impl Index {
    /// Keeps its sheets below this directory, which is made for its owner only; without one it makes them anew each time.
    pub fn new(directory: Option<PathBuf>) -> Index {
        Index { directory }
    }

    /// Shows the sheets of a log that can have calls of this time, the last first; of each segment that had to be read, how many bytes that
    /// were is said to `progress`.
    ///
    /// # Errors
    /// When some of the log cannot be read. What can be has been shown.
    pub fn sheets(
        &self,
        log: &WorkerLog,
        span: Span,
        progress: &mut dyn FnMut(u64),
        show: &mut dyn FnMut(&Sheet),
    ) -> Result<(), ReadError> {
        let (mut carried, mut flaw) = (Carried::default(), None);
        for segment in log.segments().iter().rev() {
            let place = self.place(log, segment);
            let mut kept = place.as_deref().and_then(Kept::open).filter(|kept| kept.head.is_of(log, segment));
            let settled = kept.as_ref().is_some_and(|kept| kept.head.is_settled(segment));
            let wanted = |head: &Head| head.late || head.span.is_some_and(|own| span.meets(own));
            if settled && kept.as_ref().is_some_and(|kept| !wanted(&kept.head)) {
                continue;
            }
            let sheet = kept.as_mut().and_then(Kept::sheet);
            let kept = kept.map(|kept| kept.head).zip(sheet);
            let mut sheet = match kept {
                Some((_, sheet)) if settled => sheet,
                kept => match brought_up(log, segment, kept, progress) {
                    Ok(Brought { head, sheet, worth, wrong }) => {
                        flaw = wrong.or(flaw);
                        if let Some(place) = place.filter(|_| worth) {
                            // An index that cannot be kept is made again the next time.
                            let _ = keep(&place, &head, &sheet);
                        }
                        sheet
                    }
                    // It is past its retention, and was taken away since it was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(source) => {
                        flaw = Some(ReadError::File { worker: log.worker().to_owned(), source });
                        continue;
                    }
                },
            };
            carried.through(&mut sheet);
            show(&sheet);
        }
        flaw.map_or(Ok(()), Err)
    }

    /// Where what is kept of this log is not what its text says.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn disagreements(&self, log: &WorkerLog) -> Result<Vec<Disagreement>, ReadError> {
        let mut found = Vec::new();
        for segment in log.segments() {
            let Some(place) = self.place(log, segment).filter(|place| place.exists()) else { continue };
            let mut disagree = |why| found.push(Disagreement { sheet: place.clone(), why });
            let Some((head, sheet)) = Kept::open(&place)
                .and_then(|mut kept| Some((kept.sheet()?, kept.head)))
                .map(|(sheet, head)| (head, sheet))
            else {
                disagree("is damaged, or of another version");
                continue;
            };
            if !head.is_of(log, segment) {
                disagree("is of another segment");
                continue;
            }
            match again(log, segment, head.length) {
                Ok((text, _)) if *text.as_bytes() != head.text => disagree("was made of another text"),
                Ok((_, own)) if own != sheet => disagree("does not have what the text has"),
                Ok(_) => {}
                Err(source) => return Err(ReadError::File { worker: log.worker().to_owned(), source }),
            }
        }
        Ok(found)
    }

    /// Takes away what is kept of workers and segments that are no longer there.
    ///
    /// # Errors
    /// When the directory cannot be listed, or something in it not be removed.
    pub fn tidy(&self, logs: &[WorkerLog]) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let log = logs.iter().find(|log| log.worker().file_name() == Some(&entry.file_name()));
            let places: Vec<PathBuf> = log.map_or(Vec::new(), |log| {
                log.segments().iter().filter_map(|segment| self.place(log, segment)).collect()
            });
            for file in fs::read_dir(entry.path())? {
                let file = file?;
                let path = file.path();
                let remove = match path.extension().and_then(|ending| ending.to_str()) {
                    Some(ENDING) => !places.contains(&path),
                    Some(DRAFT) => file.metadata()?.modified()?.elapsed().is_ok_and(|age| age > FORGOTTEN),
                    _ => false,
                };
                if remove {
                    fs::remove_file(path)?;
                }
            }
            if log.is_none() {
                // It may have something else in it, which is nobody's here.
                let _ = fs::remove_dir(entry.path());
            }
        }
        Ok(())
    }

    fn place(&self, log: &WorkerLog, segment: &Segment) -> Option<PathBuf> {
        let worker = self.directory.as_ref()?.join(log.worker().file_name()?);
        Some(worker.join(format!("{:06}.{ENDING}", segment.number())))
    }
}

impl Head {
    fn is_of(&self, log: &WorkerLog, segment: &Segment) -> bool {
        self.segment == segment.number() && log.worker().file_name().is_some_and(|name| *name == *self.worker)
    }

    fn is_settled(&self, segment: &Segment) -> bool {
        self.stamp.is_some() && self.stamp == Stamp::of(segment.path())
    }
}

/// A sheet that says what its segment says now.
struct Brought {
    head: Head,
    sheet: Sheet,
    /// Whether it is worth keeping.
    worth: bool,
    /// A line that is no record: the sheet has what is before it.
    wrong: Option<ReadError>,
}

/// Reads what a kept sheet does not have; all, if that was made of other text.
fn brought_up(
    log: &WorkerLog,
    segment: &Segment,
    kept: Option<(Head, Sheet)>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Brought> {
    // Before the text: what is written while that is read makes another stamp.
    let stamp = Stamp::of(segment.path());
    let mut reader = segment.open(0)?;
    let mut hash = Context::new(&SHA256);
    let before = match kept {
        Some((head, sheet)) => {
            let read = hashed(&mut *reader, head.length, &mut hash, progress)?;
            let same = read == head.length && *Hash::from(hash.clone().finish()).as_bytes() == head.text;
            same.then_some((head, sheet))
        }
        None => None,
    };
    let (kept, sheet) = before.unzip();
    if kept.is_none() {
        (reader, hash) = (segment.open(0)?, Context::new(&SHA256));
    }
    let from = kept.as_ref().map_or(0, |head| head.length);
    let mut writer = Writer::new(sheet.unwrap_or_default());
    let (length, wrong) = taken(log, segment, &mut *reader, from, u64::MAX, &mut hash, &mut writer, progress)?;
    writer.reached(Position { segment: segment.number(), offset: length });
    let sheet = writer.sheet();
    let name = log.worker().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut head = Head::new(name, segment.number(), length, hash.finish().into(), stamp);
    head.note(&sheet);
    let news =
        kept.is_none_or(|kept| length - kept.length >= WORTH_KEEPING || (stamp.is_some() && kept.stamp != stamp));
    Ok(Brought { head, sheet, worth: news && wrong.is_none(), wrong })
}

/// The hash of so much of a segment's text, and its sheet.
fn again(log: &WorkerLog, segment: &Segment, length: u64) -> io::Result<(Hash, Sheet)> {
    let (mut hash, mut writer) = (Context::new(&SHA256), Writer::default());
    taken(log, segment, &mut *segment.open(0)?, 0, length, &mut hash, &mut writer, &mut |_| {})?;
    writer.reached(Position { segment: segment.number(), offset: length });
    Ok((hash.finish().into(), writer.sheet()))
}

/// Takes lines up to this length of the text. Leaves how long the text is of those that were taken.
#[expect(clippy::too_many_arguments, reason = "what is read, and the three that watch")]
fn taken(
    log: &WorkerLog,
    segment: &Segment,
    reader: &mut dyn BufRead,
    from: u64,
    length: u64,
    hash: &mut Context,
    writer: &mut Writer,
    progress: &mut dyn FnMut(u64),
) -> io::Result<(u64, Option<ReadError>)> {
    let (mut offset, mut line, mut told) = (from, Vec::new(), from);
    while offset < length {
        line.clear();
        (&mut *reader).take(LONGEST).read_until(b'\n', &mut line)?;
        let at = Position { segment: segment.number(), offset };
        let wrong = |why: String| ReadError::Record { worker: log.worker().to_owned(), at, why };
        let Some((b'\n', text)) = line.split_last() else {
            // Its end, or a line that is being written.
            progress(offset - told);
            let long = line.len() as u64 == LONGEST;
            return Ok((offset, long.then(|| wrong("a line is longer than any that a worker writes".to_owned()))));
        };
        if let Err(error) = writer.take(text, at) {
            return Ok((offset, Some(wrong(error.to_string()))));
        }
        hash.update(&line);
        offset += line.len() as u64;
        if offset - told >= STEP {
            progress(offset - told);
            told = offset;
        }
    }
    progress(offset - told);
    Ok((offset, None))
}

/// Hashes so much of a text, or what there is of it.
fn hashed(reader: &mut dyn BufRead, length: u64, hash: &mut Context, progress: &mut dyn FnMut(u64)) -> io::Result<u64> {
    let (mut read, mut bytes) = (0, Vec::new());
    while read < length {
        bytes.clear();
        let step = (&mut *reader).take(STEP.min(length - read)).read_to_end(&mut bytes)?;
        if step == 0 {
            break;
        }
        hash.update(&bytes);
        progress(step as u64);
        read += step as u64;
    }
    Ok(read)
}

/// Puts a sheet in its place, whole or not at all: others may be reading, or doing the same.
fn keep(place: &Path, head: &Head, sheet: &Sheet) -> io::Result<()> {
    let directory = place.parent().ok_or(io::ErrorKind::NotFound)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut file = tempfile::Builder::new().suffix(&format!(".{DRAFT}")).tempfile_in(directory)?;
    kept::write(&mut file, head, sheet)?;
    file.persist(place)?;
    Ok(())
}
