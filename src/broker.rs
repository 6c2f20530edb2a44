//! The broker: as a service of its own, or embedded in a run.
//!
//! Enters: credentials.toml, broker.toml and the environment that long-lived secrets may be in. Leaves: a served socket. Never: a secret in
//! the process that runs the proxy; this one is forked before the other has read anything. Its memory is closed to other processes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use broker::{LedgerPlace, NotaryPlace, Publish, Secret, Settings};
use config::{Credentials, IdentityKeys, IdentitySettings};
use sandbox::Preparing;

use crate::args::BrokerServe;
use crate::places::Places;
use crate::report::{FAILED, Report};
use crate::settled;
use crate::writable;

/// The ledger of the broker that is a service, which goes on with it after a restart. A run's own broker has a new one.
const SERVICE: &str = "service";

/// Forks the broker and gives the worker's end of the connection to it. The process ends when that connection does, after it
/// has revoked; nobody waits for it, so that an issuer that cannot be reached does not hold up whoever ran the command. The
/// caller has no threads yet, and has read no secret. The sandbox sets itself up meanwhile.
///
/// # Errors
/// When the process cannot be made.
pub fn embed(places: &Places, beside: &Preparing) -> Result<UnixStream, Report> {
    // Memory is the child's own after the fork: each side takes its end out of its copy, and closes the other.
    let mut pair = Some(UnixStream::pair()?);
    let process = beside.fork_beside(|| match pair.take() {
        Some((ours, theirs)) => {
            drop(ours);
            run_embedded(places, theirs)
        }
        None => FAILED,
    })?;
    process.detach();
    pair.take().map(|(ours, _)| ours).ok_or_else(|| Report::new("the connection to the broker is gone"))
}

/// The whole life of the embedded broker's process.
fn run_embedded(places: &Places, stream: UnixStream) -> u8 {
    // Before it has read a secret.
    let served =
        sandbox::close_memory().map_err(Report::from).and_then(|()| settings(places, None)).and_then(|settings| {
            // A session of its own, so that Ctrl-C does not reach it.
            rustix::process::setsid()?;
            broker::serve_embedded(stream, settings, let_go_of_streams).map_err(unusable)
        });
    match served {
        // What could not be revoked stays in the ledger, for the next broker.
        Ok(_standing) => 0,
        Err(report) => {
            crate::complain(&report);
            FAILED
        }
    }
}

/// None of the caller's streams once it has said what kept it from starting: it may outlive the run by as long as a revocation takes, and
/// whoever waits for the end of the run's output must not wait for that.
fn let_go_of_streams() -> std::io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // What it does for a call takes little.
    tokio::spawn(settled::settle(|| 0));
    Ok(())
}

/// Serves workers on a Unix socket until told to stop.
///
/// # Errors
/// When the configuration is wrong or the socket is taken.
pub fn serve(places: &Places, arguments: &BrokerServe) -> Result<ExitCode, Report> {
    // Before it has read a secret.
    sandbox::close_memory()?;
    writable::look_for_broker(places)?;
    let mut settings = settings(places, Some(SERVICE))?;
    let BrokerServe { https, certificate, key, .. } = arguments;
    settings.publish = match (https, certificate.clone(), key.clone()) {
        (Some(address), Some(certificate), Some(key)) => Some(Publish { address: *address, certificate, key }),
        _ => None,
    };
    // What others federate with outlives the broker: its keys are on disk, in the state directory if nothing else is said.
    if let IdentityKeys::Unsaid { rotate } = settings.identity.keys {
        settings.identity.keys = IdentityKeys::File { path: places.make_keys()?, rotate };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve_until_stopped(&arguments.socket, settings))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_until_stopped(socket: &Path, settings: Settings) -> Result<(), Report> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    for standing in broker::serve_unix(socket, settings, stop).await.map_err(unusable)? {
        tracing::warn!(credential = %standing.credential, lease = %standing.lease, "still not revoked");
    }
    Ok(())
}

/// Why a broker cannot go on, with what to do.
pub fn unusable(error: broker::Error) -> Report {
    let hint = error.hint();
    Report::new(error).hint(hint)
}

/// A variable as text; one that is no text is no secret either.
fn text((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

/// What the broker knows. A file that is not there grants nothing: an agent without credentials needs none.
///
/// # Errors
/// Every mistake in it.
pub fn credentials(places: &Places) -> Result<Credentials, Report> {
    let file = places.credentials_file();
    Ok(if file.exists() { Credentials::load(&file)? } else { Credentials::parse(&file, "")? })
}

/// Everything that a broker is to know, with a ledger of this name or one of its own.
///
/// # Errors
/// When credentials.toml has mistakes, or there is no place for the ledger.
pub fn settings(places: &Places, ledger: Option<&str>) -> Result<Settings, Report> {
    let environment: HashMap<String, Secret> =
        std::env::vars_os().filter_map(text).map(|(name, value)| (name, Secret::new(value))).collect();
    let mut settings = Settings::new(credentials(places)?);
    settings.identity = IdentitySettings::load(places.broker_file())?;
    settings.environment = environment;
    places.make_ledgers()?;
    let (directory, key) = (places.ledgers(), places.ledger_key());
    settings.ledger = Some(LedgerPlace { directory, name: ledger.map(str::to_owned), key });
    settings.notary = Some(NotaryPlace { directory: places.checkpoints(), key: places.checkpoint_key() });
    settings.offboarded = Some(places.offboarded());
    Ok(settings)
}
