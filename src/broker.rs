//! The broker: as a service of its own, or embedded in a run.
//!
//! Enters: credentials.toml, broker.toml and the environment that long-lived secrets may be in. Leaves: a served socket. Never: a secret in
//! the process that runs the proxy; this one is forked before the other has read anything.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use broker::{Client, Publish, Secret, Settings};
use config::{Credentials, IdentityKeys, IdentitySettings};

use crate::args::{BrokerServe, Revoke};
use crate::places::Places;
use crate::report::{FAILED, Report};

/// The ledger of the broker that is a service. Each run with a broker of its own has a ledger named by its process.
const SERVICE: &str = "service";

/// Forks the broker and gives the worker's end of the connection to it. The process ends when that connection does, after it
/// has revoked; nobody waits for it, so that an issuer that cannot be reached does not hold up whoever ran the command. The
/// caller has no threads yet.
///
/// # Errors
/// When the process cannot be made.
pub fn embed(places: &Places) -> Result<UnixStream, Report> {
    // Memory is the child's own after the fork: each side takes its end out of its copy, and closes the other.
    let mut pair = Some(UnixStream::pair()?);
    let process = sandbox::fork_process(|| match pair.take() {
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
    let ledger = places.ledger(&std::process::id().to_string());
    let served = settings(places, &ledger).and_then(|settings| {
        leave_terminal()?;
        Ok(broker::serve_embedded(stream, settings)?)
    });
    match served {
        Ok(_standing) => {
            // What could not be revoked stays in the ledger. Where nothing was ever leased it has nothing to say.
            if std::fs::metadata(&ledger).is_ok_and(|ledger| ledger.len() == 0) {
                let _ = std::fs::remove_file(ledger);
            }
            0
        }
        Err(report) => {
            crate::complain(&report);
            FAILED
        }
    }
}

/// A session of its own, so that Ctrl-C does not reach it, and none of the caller's streams: it may outlive the run by as long
/// as a revocation takes, and whoever waits for the end of the run's output must not wait for that.
fn leave_terminal() -> Result<(), Report> {
    rustix::process::setsid()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Serves workers on a Unix socket until told to stop.
///
/// # Errors
/// When the configuration is wrong or the socket is taken.
pub fn serve(places: &Places, arguments: &BrokerServe) -> Result<ExitCode, Report> {
    let mut settings = settings(places, &places.ledger(SERVICE))?;
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
    for standing in broker::serve_unix(socket, settings, stop).await? {
        tracing::warn!(credential = %standing.credential, lease = %standing.lease, "still not revoked");
    }
    Ok(())
}

/// Takes one lease back: its worker uses it no longer, and what it carries under way is cut off. The exit code is 1 when the
/// issuer still takes the credential.
///
/// # Errors
/// When the broker is not there, or knows no such lease of a worker that lives.
pub fn revoke(arguments: &Revoke) -> Result<ExitCode, Report> {
    let Revoke { lease, broker: socket } = arguments;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async { Client::connect(socket).await?.revoke(*lease).await });
    let ended = ended.map_err(|error| {
        Report::new(error)
            .hint("`lease` in the call log and in the ledger is the id of a lease; it is gone when its worker is")
    })?;
    let mut out = std::io::stdout().lock();
    for lease in &ended.revoked {
        writeln!(out, "{lease}: revoked")?;
    }
    for kept in &ended.kept {
        let again = if kept.again { "; the broker tries again" } else { "" };
        writeln!(out, "{}: taken from its worker, but not revoked: {}{again}", kept.lease, kept.reason)?;
    }
    Ok(if ended.kept.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A variable as text; one that is no text is no secret either.
fn text((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

/// A file that is not there grants nothing: an agent without credentials needs none.
fn settings(places: &Places, ledger: &Path) -> Result<Settings, Report> {
    let file = places.credentials_file();
    let credentials = if file.exists() { Credentials::load(&file)? } else { Credentials::parse(&file, "")? };
    let environment: HashMap<String, Secret> =
        std::env::vars_os().filter_map(text).map(|(name, value)| (name, Secret::new(value))).collect();
    let mut settings = Settings::new(credentials);
    settings.identity = IdentitySettings::load(places.broker_file())?;
    settings.environment = environment;
    places.make_ledgers()?;
    settings.ledger = Some(ledger.to_owned());
    Ok(settings)
}
