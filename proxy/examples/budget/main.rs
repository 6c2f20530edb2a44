//! What the hot path costs in instructions: what `bench/budget` builds and starts, under callgrind.
//!
//! | part | module | enters → leaves |
//! |---|---|---|
//! | count | [`worker`] | a directory → a worker as `exeat run` has one, but for the sandbox around it |
//! | | [`part`] | what is counted, how often it is done, and where a count ends |
//! | | [`pure`] | the parts that are functions of their input |
//! | ends | [`ends`] | client and upstream, a process that nobody counts |
//! | compare | [`table`] | what callgrind wrote, and the budget → a table, and whether anything rose |
//!
//! Never: a count of calls that failed, nor a time; what else the machine does changes nothing here.

mod ends;
mod part;
mod pure;
mod table;
mod worker;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Of anything here: nobody tells errors apart but a reader.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["count", room] => worker::count(Path::new(room)).map(|()| true),
        ["ends", room] => ends::run(Path::new(room)).map(|()| true),
        ["compare", room, budget] => table::compare(Path::new(room), Path::new(budget), false),
        ["compare", room, budget, "--write"] => table::compare(Path::new(room), Path::new(budget), true),
        _ => Err("started by bench/budget".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&mut std::io::stderr(), &format!("budget: {error}"));
            ExitCode::from(2)
        }
    }
}

/// One line, at once. Whoever does not read it misses it.
fn say(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
