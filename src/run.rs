//! `exeat run`: config → broker → sandbox → proxy → drain.
//!
//! Enters: an agent's name and a command. Leaves: the command's exit code. Never: a command that runs before everything that
//! holds it stands, or a lease that outlives it.

mod supervise;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::broker::{Client, Registration};
use config::{Policy, Standing};
use jiff::Timestamp;
use proxy::leaf::Authority;
use proxy::record::{CallLog, Event, WorkerEnd, WorkerStart};
use proxy::serve::{Listeners, Parts, Worker};
use sandbox::{Prepared, Spec};
use tokio::sync::watch;

use crate::args;
use crate::broker::{self, Embedded};
use crate::environment;
use crate::places::Places;
use crate::report::Report;

/// Runs the command. Everything up to `prepare` happens while the process has one thread: both forks need that.
///
/// # Errors
/// Where anything fails before the command runs; then nothing has run.
pub fn run(places: &Places, arguments: &args::Run) -> Result<ExitCode, Report> {
    let file = places.agent_file(&arguments.agent);
    let policy = Policy::load(&file)?;
    let embedded = arguments.broker.is_none().then(|| broker::embed(places)).transpose()?;
    let authority = Authority::generate(SystemTime::now())?;
    let prepared = sandbox::prepare(&spec(&policy, &authority, arguments)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let standing = Arc::new(Standing::new(file, policy));
    runtime.block_on(work(places, arguments, standing, authority, prepared, embedded))
}
