//! Standard output, as every command writes to it.
//!
//! Enters: what a command says. Leaves: the same, for as long as somebody reads. Never: a failure because nobody does any more (`| head`): what
//! is said from then on is dropped, so that the command does all that it was asked for and ends with the code that it found. No other pipe's
//! end is forgiven by it: that of a broker's socket or of a collector stays an error.

use std::io::{self, ErrorKind, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use crate::plain::plain_json;

/// Standard output, or `W` in its place.
#[derive(Debug)]
pub struct Out<W = StdoutLock<'static>> {
    to: W,
    gone: bool,
}

/// Standard output.
pub fn out() -> Out {
    Out::new(io::stdout().lock())
}

impl<W: Write> Out<W> {
    fn new(to: W) -> Self {
        Self { to, gone: false }
    }

    /// Writes a value as a line of JSON. At a terminal, nothing in it acts.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.json_text(&serde_json::to_string(value)?)
    }

    /// The same of JSON that is written already.
    pub fn json_text(&mut self, json: &str) -> io::Result<()> {
        match io::stdout().is_terminal() {
            true => writeln!(self, "{}", plain_json(json)),
            false => writeln!(self, "{json}"),
        }
    }

    /// `instead` where nobody reads.
    fn forgiven<T>(&mut self, done: io::Result<T>, instead: T) -> io::Result<T> {
        match done {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(instead)
            }
            done => done,
        }
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gone {
            return Ok(bytes.len());
        }
        let written = self.to.write(bytes);
        self.forgiven(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.forgiven(flushed, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails in its way once it has had two bytes.
    struct Short(Vec<u8>, ErrorKind);

    impl Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.len() {
                0 => self.0.write(&bytes[..bytes.len().min(2)]),
                _ => Err(self.1.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.1.into())
        }
    }

    #[test]
    fn nobody_reading_is_no_failure_and_a_full_disk_is_one() {
        let mut gone = Out::new(Short(Vec::new(), ErrorKind::BrokenPipe));
        gone.write_all(b"abcdef").unwrap();
        gone.write_all(b"more").unwrap();
        gone.flush().unwrap();
        assert_eq!(gone.to.0, b"ab");
        let mut full = Out::new(Short(Vec::new(), ErrorKind::StorageFull));
        assert_eq!(full.write_all(b"abcdef").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(full.flush().unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
