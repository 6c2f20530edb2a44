//! The way of the logs to one receiver, to its end or until it is stopped.
//!
//! Enters: a target of log.toml. Leaves: every record of every log, in order, at least once; the cursor on the disk behind what has arrived.
//! Never: a record passed over because its receiver is away; more than one batch in memory.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use config::{LogSettings, ShipTarget};
use tokio::sync::watch;

use super::batch::Batch;
use super::cursor::{self, Cursor};
use super::reader::{Read, Reader};
use super::receiver::{Receiver, Taken, Untaken, place};
use super::trouble::Trouble;
use crate::places::Places;
use crate::report::Report;

/// How often a log is looked at that had nothing new.
const LOOK: Duration = Duration::from_millis(500);
/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest: a receiver that comes back is found within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// With `--once`, so many failures in a row are the end: some ten seconds.
const ATTEMPTS: u64 = 6;

/// The way to one receiver.
pub struct Lane<'p> {
    places: &'p Places,
    target: ShipTarget,
    directory: PathBuf,
    receiver: Option<Receiver>,
    once: bool,
    stop: watch::Receiver<bool>,
    trouble: Option<Trouble>,
    failures: u64,
}

impl<'p> Lane<'p> {
    /// To this target: once, or until `stop` turns true.
    pub fn new(places: &'p Places, target: ShipTarget, once: bool, stop: watch::Receiver<bool>) -> Self {
        let directory = cursor::directory(places, &target.name);
        let trouble = Trouble::read(&directory);
        Self { places, target, directory, receiver: None, once, stop, trouble, failures: 0 }
    }

    /// Ships.
    ///
    /// # Errors
    /// When exeat's own files cannot be read or written; with `once`, also when the receiver does not take it.
    pub async fn run(mut self) -> Result<(), Report> {
        let mut cursor = Cursor::open(self.places, &self.target.name)?;
        let mut reader = Reader::new(self.places);
        while !*self.stop.borrow() {
            let Read { batch, marks, gaps } = reader.next(&mut cursor)?;
            if marks.is_empty() {
                if self.once {
                    break;
                }
                self.pause(LOOK).await;
                continue;
            }
            for gap in gaps {
                tracing::warn!(receiver = %self.target.name, worker = %gap.worker, from = gap.from, to = ?gap.to,
                    "records were removed before they were shipped");
                cursor.gap(gap);
            }
            let records = batch.records() as u64;
            // Stopped in between: it is read and sent again by whoever comes next.
            let Some(rejected) = self.deliver(batch).await? else { break };
            cursor.advance(&marks, records.saturating_sub(rejected), rejected)?;
        }
        Ok(())
    }

    /// Sends a batch until it was taken, and says how much of it was not wanted. `None`: stopped before that.
    async fn deliver(&mut self, batch: Batch) -> Result<Option<u64>, Report> {
        let mut rejected = 0;
        let mut open = VecDeque::from([batch]);
        let mut pause = FIRST_PAUSE;
        while let Some(mut batch) = open.pop_front() {
            let mut stop = self.stop.clone();
            let sent = tokio::select! {
                biased;
                sent = self.send(&batch) => sent,
                _ = stop.wait_for(|stop| *stop) => return Ok(None),
            };
            if let Err(Untaken { records: Some(taken), .. }) = &sent {
                self.unwanted(taken);
                rejected += taken.rejected;
                batch = batch.without_records();
            }
            match sent {
                Ok(taken) => {
                    self.taken(&taken)?;
                    rejected += taken.rejected;
                    pause = FIRST_PAUSE;
                }
                Err(Untaken { too_large: true, why, .. }) => match batch.halves() {
                    Ok([first, second]) => {
                        open.push_front(second);
                        open.push_front(first);
                    }
                    Err(one) => {
                        let records = one.records() as u64;
                        let what = if records == 0 { "span" } else { "record" };
                        tracing::warn!(receiver = %self.target.name, %why, "a single {what} is too large for it, and is left out");
                        rejected += records;
                    }
                },
                Err(untaken) => {
                    open.push_front(batch);
                    self.untaken(untaken.why)?;
                    let wait = untaken.wait.unwrap_or_default().max(jittered(pause));
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    self.pause(wait).await;
                    if *self.stop.borrow() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(rejected))
    }

    async fn send(&mut self, batch: &Batch) -> Result<Taken, Untaken> {
        let receiver = match &mut self.receiver {
            Some(receiver) => receiver,
            None => {
                self.read_again();
                let receiver = Receiver::new(&self.target).await.map_err(Untaken::because)?;
                self.receiver.insert(receiver)
            }
        };
        receiver.send(batch).await
    }

    /// What log.toml says by now: a secret, a root or a certificate may be another.
    fn read_again(&mut self) {
        let settings = LogSettings::load(self.places.log_file()).unwrap_or_default();
        if let Some(target) = settings.ship.into_iter().find(|target| target.name == self.target.name) {
            self.target = target;
        }
    }

    fn taken(&mut self, taken: &Taken) -> Result<(), Report> {
        self.failures = 0;
        self.unwanted(taken);
        if let Some(trouble) = self.trouble.take() {
            tracing::warn!(receiver = %self.target.name, since = %trouble.since, attempts = trouble.attempts, "it takes the logs again");
            Trouble::end(&self.directory)?;
        }
        Ok(())
    }

    fn unwanted(&self, taken: &Taken) {
        if taken.rejected > 0 {
            tracing::warn!(receiver = %self.target.name, rejected = taken.rejected, why = %taken.why, "it does not want some of it");
        }
    }

    fn untaken(&mut self, why: String) -> Result<(), Report> {
        let name = &self.target.name;
        if self.trouble.as_ref().is_none_or(|trouble| trouble.error != why) {
            tracing::warn!(receiver = %name, place = %place(&self.target), %why, "it does not take the logs; they are kept and tried again");
        }
        // Whatever is kept of the connection may be what is wrong.
        self.receiver = None;
        let trouble = Trouble::again(self.trouble.take(), why);
        trouble.write(&self.directory)?;
        self.failures += 1;
        if self.once && self.failures >= ATTEMPTS {
            let error = format!("`{name}` does not take the logs: {}", trouble.error);
            return Err(Report::new(error).hint("nothing is lost: what has not arrived is shipped the next time"));
        }
        self.trouble = Some(trouble);
        Ok(())
    }

    async fn pause(&mut self, length: Duration) {
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Between half of it and all: many who wait for one receiver shall not all come back at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes they do.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause.mul_f64(0.5 + f64::from(byte[0]) / 512.0)
}
