//! Which part of the logs is still to be shipped, for whoever removes old ones.
//!
//! Enters: log.toml, and how far each of its receivers is. Leaves: for each worker the oldest segment that one of them lacks. Never: a segment
//! given up because exeat's own files cannot be read.

use std::path::Path;

use config::LogSettings;

use super::cursor::Cursor;
use crate::places::Places;

/// What the receivers lack.
pub struct Needed {
    /// `None`: nobody knows how far one of them is.
    cursors: Option<Vec<Cursor>>,
}

impl Needed {
    /// As it is now. It only becomes less.
    pub fn load(places: &Places) -> Self {
        let cursors = LogSettings::load_without_secrets(places.log_file()).ok().and_then(|settings| {
            settings.ship.iter().map(|target| Cursor::open(places, &target.name).ok()).collect::<Option<Vec<_>>>()
        });
        Self { cursors }
    }

    /// The number of the oldest segment of the worker with this directory that a receiver lacks, or part of which it lacks. `None`: all have
    /// all of it, or there are none.
    pub fn oldest(&self, worker: &Path) -> Option<u64> {
        let Some(cursors) = &self.cursors else { return Some(0) };
        let name = worker.file_name().unwrap_or_default().to_string_lossy();
        let lacking = cursors.iter().filter(|cursor| !cursor.is_finished(&name));
        lacking.map(|cursor| cursor.mark(&name).from.segment).min()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use record::read::Position;

    use super::*;
    use crate::ship::batch::Mark;

    #[test]
    fn the_slowest_receiver_decides_and_what_cannot_be_read_gives_up_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places { config: directory.path().to_owned(), state: directory.path().to_owned() };
        let (log, worker) = (places.log_file(), Path::new("/x/w1"));
        assert_eq!(Needed::load(&places).oldest(worker), None);
        let receivers =
            ["a", "b"].map(|name| format!("[[ship]]\nto = \"syslog\"\nname = \"{name}\"\naddress = \"h\"\n"));
        fs::write(&log, receivers.concat()).unwrap();
        assert_eq!(Needed::load(&places).oldest(worker), Some(0));
        let ship = |name: &str, segment: u64, finished: bool| {
            let (next, from) = (Position { segment: segment + 1, offset: 9 }, Position { segment, offset: 0 });
            let marks = [("w1".to_owned(), Mark { next, seq: 5, from }, finished)];
            Cursor::open(&places, name).unwrap().advance(&marks, 1, 0).unwrap();
        };
        ship("a", 7, false);
        assert_eq!(Needed::load(&places).oldest(worker), Some(0));
        ship("b", 3, false);
        assert_eq!(Needed::load(&places).oldest(worker), Some(3));
        ship("b", 4, true);
        assert_eq!(Needed::load(&places).oldest(worker), Some(7));
        ship("a", 7, true);
        assert_eq!(Needed::load(&places).oldest(worker), None);
        fs::write(places.shipped().join("a/cursor.json"), "{").unwrap();
        assert_eq!(Needed::load(&places).oldest(worker), Some(0));
        fs::write(&log, "[[ship]]\n").unwrap();
        assert_eq!(Needed::load(&places).oldest(worker), Some(0));
    }
}
