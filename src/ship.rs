//! `exeat ship`: the call logs go to where log.toml says, in a process of its own.
//!
//! Enters: the logs in the state directory, which workers go on writing. Leaves: each record at each receiver, at least once; on the disk, how
//! far each of them is. Never: anything that a worker waits for; two of these at once.

mod batch;
mod cursor;
mod lane;
pub mod needed;
mod otlp;
mod reader;
mod receiver;
mod source;
mod status;
mod syslog;
mod trouble;

use std::process::ExitCode;

use config::LogSettings;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::lane::Lane;
use crate::args;
use crate::places::Places;
use crate::report::Report;

/// Ships, or says how far that is.
///
/// # Errors
/// When log.toml has mistakes or names no receiver, when another one ships, and as [`Lane::run`] says.
pub fn run(places: &Places, arguments: &args::Ship) -> Result<ExitCode, Report> {
    let file = places.log_file();
    let settings = LogSettings::load_without_secrets(&file)?;
    if settings.ship.is_empty() {
        let error = format!("`{}` names nobody to ship the logs to", file.display());
        let hint = "write `[[ship]]`, `to = \"otlp\"` and `url = \"https://collector.example.com:4318\"`";
        return Err(Report::new(error).hint(hint));
    }
    if arguments.status {
        return status::print(places, &settings, arguments.json);
    }
    // Before it has read a secret.
    sandbox::close_memory()?;
    places.make_shipped()?;
    let Some(_lock) = cursor::lock(&places.shipped())? else {
        let error = format!("another `exeat ship` works on `{}`", places.state.display());
        return Err(Report::new(error).hint("end that one first; `exeat ship --status` says how far it is"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(all(places.clone(), LogSettings::load(&file)?, arguments.once))?;
    Ok(ExitCode::SUCCESS)
}

/// All receivers at a time: one that is away holds up no other.
async fn all(places: Places, settings: LogSettings, once: bool) -> Result<(), Report> {
    let (stop, stopped) = watch::channel(false);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let places: &'static Places = Box::leak(Box::new(places));
    let mut lanes: JoinSet<_> =
        settings.ship.into_iter().map(|target| Lane::new(places, target, once, stopped.clone()).run()).collect();
    let mut failed = None;
    loop {
        tokio::select! {
            _ = interrupt.recv() => { stop.send_replace(true); }
            _ = terminate.recv() => { stop.send_replace(true); }
            ended = lanes.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(report))) => {
                    // The others go on when there is an end to it; a service had better be started again.
                    if !once {
                        stop.send_replace(true);
                    }
                    failed.get_or_insert(report);
                }
                Some(Err(panicked)) => return Err(panicked.into()),
            },
        }
    }
    failed.map_or(Ok(()), Err)
}
