//! The load driver: the same binary, started directly and inside the sandbox.
//!
//! Enters: jobs on standard input. Leaves: outcomes on standard output. Never: a call without a time limit, nor an outcome in
//! which one failed; one thread, so that what it costs is easy to take away.

mod attack;
mod calls;
mod hold;
mod http;
mod load;
mod lookup;
mod once;
pub mod through;

use std::io::BufRead;
use std::rc::Rc;

use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use crate::error::Error;
use crate::job::{Job, Outcome, Reply};

use self::http::Client;
use self::load::Opened;
pub use self::once::{FIRST_BYTE, run as ask};

/// Does jobs until standard input ends.
pub fn run() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Rc::new(Client::new()?);
    let mut lines = std::io::stdin().lock().lines();
    while let Some(line) = lines.next() {
        let job: Rc<Job> = Rc::new(serde_json::from_str(&line?)?);
        let mut go = || lines.next().is_some_and(|line| line.is_ok());
        let reply = match work(&runtime, &client, &job, &mut go) {
            Ok(outcome) => Reply::Done(outcome),
            Err(error) => Reply::Failed(error.to_string()),
        };
        crate::say(&serde_json::to_string(&reply)?)?;
    }
    Ok(())
}

fn work(runtime: &Runtime, client: &Rc<Client>, job: &Rc<Job>, go: &mut dyn FnMut() -> bool) -> Result<Outcome, Error> {
    let tasks = LocalSet::new();
    let opened = tasks.block_on(runtime, Opened::open(client, job))?;
    crate::say(&serde_json::to_string(&Reply::Ready)?)?;
    if !go() {
        return Err(Error::new("told to stop"));
    }
    tasks.block_on(runtime, opened.run(client, job))
}
