//! `exeat calls prune`: closed files of call logs go, as `[keep]` in log.toml has it, the oldest first.
//!
//! Enters: log.toml and the logs of all workers. Leaves: a line for each file that went, or would, and why; and in the worker's directory what it
//! was. Never: what a running worker writes, what was changed since it was written, or what has still to be sent on.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use config::LogSettings;
use jiff::Timestamp;
use record::Removed;
use record::retention::{Keep, Retention, Told};
use serde::Serialize;

use crate::args::Prune;
use crate::clerk;
use crate::out::{Out, out};
use crate::places::Places;
use crate::report::Report;
use crate::run::ending::size;
use crate::running;
use crate::ship::needed::Needed;

/// What became of a segment.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
enum Row {
    /// It went, or would.
    Removed {
        worker: String,
        bytes: u64,
        #[serde(flatten)]
        removed: Removed,
    },
    /// It was to go, and stays.
    Stays { worker: String, segment: u64, why: String },
    /// It is none of a log's files, and was passed over.
    Odd { path: String, why: String },
}

/// All of it.
#[derive(Serialize)]
struct Document {
    dry_run: bool,
    /// Files that had been left plain by a clerk that was killed.
    compressed: usize,
    segments: Vec<Row>,
    /// How many bytes there still are, where that is more than log.toml keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    too_much: Option<u64>,
}

/// Removes, or says what would be removed. The exit code is 1 where a segment that was to go stays.
///
/// # Errors
/// When log.toml has mistakes, the logs cannot be listed, or another process removes at this moment.
pub fn run(places: &Places, arguments: &Prune) -> Result<ExitCode, Report> {
    let keep = clerk::keep(&LogSettings::load_without_secrets(places.log_file())?);
    let workers = places.workers();
    let lives = |worker: &Path| running::lives(worker);
    let lacking = Needed::load(places);
    let needed = |worker: &Path| lacking.oldest(worker);
    let retention = Retention { workers: &workers, keep, lives: &lives, needed: &needed, now: Timestamp::now() };
    let mut out = out();
    let mut document = Document { dry_run: arguments.dry_run, compressed: 0, segments: Vec::new(), too_much: None };
    // Where no worker has run yet there is nothing that could go.
    if !workers.try_exists()? {
        return document.finish(&mut out, arguments, keep, places);
    }
    if !arguments.dry_run {
        document.compressed = retention.compress_left()?;
    }
    let mut written = Ok(());
    let busy = "a worker's clerk does the same in passing: try again in a moment";
    retention
        .apply(arguments.dry_run, &mut |told| {
            let row = match Row::of(told) {
                Ok(row) => row,
                Err(bytes) => return document.too_much = Some(bytes),
            };
            if !arguments.json && written.is_ok() {
                written = row.write(&mut out, arguments.dry_run);
            }
            document.segments.push(row);
        })
        .map_err(|error| Report::new(error).hint(busy))?;
    written?;
    document.finish(&mut out, arguments, keep, places)
}

/// The same, by a clerk: what cannot be done now is the next one's.
pub fn in_passing(places: &Places, workers: &Path, keep: Keep) {
    let lives = |worker: &Path| running::lives(worker);
    let lacking = Needed::load(places);
    let needed = |worker: &Path| lacking.oldest(worker);
    let retention = Retention { workers, keep, lives: &lives, needed: &needed, now: Timestamp::now() };
    let _ = retention.compress_left().and_then(|_| retention.apply(false, &mut |_| {}));
}

impl Row {
    /// Or how much there still is.
    fn of(told: Told) -> Result<Row, u64> {
        let name = |worker: &Path| worker.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(match told {
            Told::TooMuch { bytes } => return Err(bytes),
            Told::Removed { worker, bytes, removed } => Row::Removed { worker: name(&worker), bytes, removed },
            Told::Stays { worker, segment, why } => Row::Stays { worker: name(&worker), segment, why },
            Told::Odd { path, why } => Row::Odd { path: path.to_string_lossy().into_owned(), why },
        })
    }

    fn write(&self, out: &mut impl Write, dry: bool) -> io::Result<()> {
        match self {
            Row::Removed { worker, bytes, removed } => {
                let did = if dry { "would go" } else { "gone" };
                let Removed { segment, first, last, why, .. } = removed;
                let (from, to, bytes) = (removed.first_record(), removed.size, size(*bytes));
                let [first, last] = [first, last].map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ"));
                writeln!(
                    out,
                    "{worker} segment {segment}: {did}: records {from} to {to}, {first} to {last}, {bytes}: {why}"
                )
            }
            // An error may quote what is in a changed log.
            Row::Stays { worker, segment, why } => {
                writeln!(out, "{worker} segment {segment}: STAYS: {}", why.escape_debug())
            }
            Row::Odd { path, why } => {
                writeln!(out, "{}: passed over: {}", path.escape_debug(), why.escape_debug())
            }
        }
    }
}

impl Document {
    fn finish(
        &self,
        out: &mut Out<impl Write>,
        arguments: &Prune,
        keep: Keep,
        places: &Places,
    ) -> Result<ExitCode, Report> {
        match arguments.json {
            true => out.json(self)?,
            false => self.write_end(out, keep, places)?,
        }
        let stays = self.segments.iter().any(|row| matches!(row, Row::Stays { .. }));
        Ok(if stays { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn write_end(&self, out: &mut impl Write, keep: Keep, places: &Places) -> io::Result<()> {
        let gone = self
            .segments
            .iter()
            .filter_map(|row| if let Row::Removed { bytes, .. } = row { Some(bytes) } else { None });
        let (number, bytes) = (gone.clone().count(), size(gone.sum()));
        if self.compressed > 0 {
            writeln!(
                out,
                "{} segments were left plain by a clerk that was killed, and are compressed now",
                self.compressed
            )?;
        }
        let did = if self.dry_run { "would go" } else { "gone" };
        if let Some(bytes) = self.too_much {
            writeln!(
                out,
                "all logs together have {}, more than [keep] says: for that, nothing goes that is younger than a day or of a worker that runs",
                size(bytes)
            )?;
        }
        match keep.is_bounded() {
            true => writeln!(out, "{number} segments {did}, {bytes}"),
            false => {
                let file = places.log_file();
                writeln!(out, "nothing goes: `{}` has no [keep], so all logs are kept", file.display())?;
                writeln!(out, "  hint: write `[keep]` and under it `for = \"90d\"` or `size = \"10GiB\"`")
            }
        }
    }
}
