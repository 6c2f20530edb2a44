//! Calls as they come.
//!
//! Enters: what was found so far, and the logs as they grow. Leaves: the calls that are over since the last look. Never: more in memory than
//! the calls that are open and what is read at once.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;

use record::index::{Live, Sheet};
use record::read::{Follower, Position, ReadError, WorkerLog};

use super::filter::Filter;
use super::find::{Cuts, Finder, Hit};
use super::id;
use crate::places::Places;
use crate::report::Report;
use crate::running;

/// What is read of one log at a time: a few mebibytes at most.
const AT_ONCE: usize = 2048;

/// The logs that grow.
pub(super) struct Following {
    /// Those that do not any more, and those that are followed.
    known: HashSet<OsString>,
    followed: HashMap<usize, (Follower, Live)>,
}

impl Following {
    /// Begins behind what there is. What is open is followed to its end.
    pub(super) fn begin(places: &Places, finder: &Finder) -> Result<Following, Report> {
        let running: HashSet<PathBuf> = running::all(places)?
            .into_iter()
            .map(|running| places.workers().join(running.worker.to_string()))
            .collect();
        let known = finder.logs.iter().filter_map(|log| Some(log.worker().file_name()?.to_owned())).collect();
        let living = finder.logs.iter().enumerate().filter(|(_, log)| running.contains(log.worker()));
        let start = |log: &WorkerLog| (Follower::new(log.worker(), Position::START), Live::default());
        Ok(Following { known, followed: living.map(|(number, log)| (number, start(log))).collect() })
    }

    /// A sheet of what there is, as it is shown: the last segment of a log first. Leaves whether its log is followed.
    pub(super) fn seen(&mut self, log: usize, sheet: &Sheet) -> bool {
        let Some((follower, live)) = self.followed.get_mut(&log) else { return false };
        if follower.position() < sheet.behind() {
            follower.go_on_from(sheet.behind());
        }
        live.open(sheet);
        true
    }

    /// Looks for workers that are new.
    pub(super) fn look(&mut self, places: &Places, finder: &mut Finder) -> Result<(), Report> {
        for log in super::logs(places)? {
            let Some(name) = log.worker().file_name().map(ToOwned::to_owned) else { continue };
            if self.known.insert(name) {
                let follower = Follower::new(log.worker(), Position::START);
                self.followed.insert(finder.logs.len(), (follower, Live::default()));
                finder.logs.push(log);
            }
        }
        if finder.names.len() < finder.logs.len() {
            finder.names = id::short(finder.logs.iter().map(WorkerLog::worker));
        }
        Ok(())
    }

    /// The calls that are over, some at a time, in order of time. None: there are no more for now. A log that cannot be read any more is not
    /// followed any more; why is told.
    pub(super) fn more(&mut self, finder: &Finder, filter: &Filter) -> (Vec<Hit>, Vec<ReadError>) {
        let (mut hits, mut flaws) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        for (number, (follower, live)) in &mut self.followed {
            let worker = finder.logs[*number].worker();
            let read = follower.texts(AT_ONCE).and_then(|texts| {
                let last = texts.iter().map(|text| live.take(worker, text));
                last.collect::<Result<Vec<bool>, _>>()
            });
            match read {
                Ok(last) if !last.contains(&true) => {}
                Ok(_) => ended.push(*number),
                Err(error) => {
                    flaws.push(error);
                    ended.push(*number);
                }
            }
            if finder.wants(filter, &finder.logs[*number]) {
                let sheet = live.over();
                let (mut sieve, agent) = (filter.on(&sheet), Rc::from(sheet.agent()));
                let wanted = sheet.entries().iter().filter(|entry| sieve.wants(entry));
                hits.extend(wanted.map(|entry| Hit::of(*number, &agent, entry)));
            }
        }
        for number in ended {
            self.followed.remove(&number);
        }
        hits.sort();
        (hits, flaws)
    }

    /// Follows no more what is left out.
    pub(super) fn leave(&mut self, cuts: &Cuts) {
        self.followed.retain(|number, _| !cuts.has(*number));
    }
}
