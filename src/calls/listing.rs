//! Rows on standard output.
//!
//! Enters: rows. Leaves: a table, the records, or comma-separated values. Never: in a terminal, a record that does more than be read.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use super::{Row, Stop, csv, row};
use crate::args;
use crate::plain::plain_json;

/// What is written.
enum Form {
    Table,
    Json,
    Csv,
}

/// A listing under way.
pub(super) struct Listing {
    out: BufWriter<StdoutLock<'static>>,
    form: Form,
    terminal: bool,
}

impl Listing {
    /// Begins with the line above the rows, if there is one.
    pub(super) fn begin(arguments: &args::Calls) -> Result<Listing, Stop> {
        let form = match arguments {
            args::Calls { json: true, .. } => Form::Json,
            args::Calls { csv: true, .. } => Form::Csv,
            _ => Form::Table,
        };
        let (out, terminal) = (BufWriter::new(io::stdout().lock()), io::stdout().is_terminal());
        let mut listing = Listing { out, form, terminal };
        listing.written(|listing| match listing.form {
            Form::Table => writeln!(listing.out, "{}", row::HEADING),
            Form::Csv => csv::head(&mut listing.out),
            Form::Json => Ok(()),
        })?;
        Ok(listing)
    }

    /// Some more rows, which are on their way when this returns.
    pub(super) fn rows(&mut self, rows: &[Row]) -> Result<(), Stop> {
        self.written(|listing| rows.iter().try_for_each(|row| listing.row(row)))
    }

    fn row(&mut self, row: &Row) -> io::Result<()> {
        match self.form {
            Form::Table => writeln!(self.out, "{row}"),
            Form::Csv => csv::row(&mut self.out, row),
            Form::Json => row.lines.iter().try_for_each(|line| match self.terminal {
                true => writeln!(self.out, "{}", plain_json(line)),
                false => writeln!(self.out, "{line}"),
            }),
        }
    }

    fn written(&mut self, write: impl FnOnce(&mut Listing) -> io::Result<()>) -> Result<(), Stop> {
        let written = write(self).and_then(|()| self.out.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::Gone,
            _ => Stop::Failed(error.into()),
        })
    }
}
