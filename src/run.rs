//! `exeat run`: config → broker → sandbox → lock → proxy → drain.
//!
//! Enters: an agent's name and a command. Leaves: the command's exit code. Never: a command that runs before everything that
//! holds it stands, or a lease that outlives it.

pub mod ending;
pub mod lookout;
mod named;
mod observing;
mod own;
mod reach;
mod ready;
mod reload;
mod serving;
pub mod shown;
pub mod spec;
mod summary;
mod supervise;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use ::broker::{Client, Registration};
use config::{AgentId, LogSettings, Part, Policy, RoomSettings, SandboxSettings, Standing};
use jiff::Timestamp;
use proxy::leaf::Authority;
use proxy::record::Seal;
use proxy::serve::{self, Listeners, Parts, Worker};
use proxy::upstream::Roots;
use record::{CallLog, Event, WorkerEnd, WorkerStart};
use sandbox::{Hangups, HomeFile, Lacking, Lock, Prepared};
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::lookout::Lookout;
use self::serving::Serving;
use self::shown::Shown;
use self::supervise::{Ended, Signals, Times};
use crate::args;
use crate::broker;
use crate::clerk;
use crate::diff::remove_tree;
use crate::environment;
use crate::layers::Pending;
use crate::offboard::is_offboarded;
use crate::places::{self, Places};
use crate::report::{NOT_EXECUTABLE, NOT_FOUND, Report};
use crate::running::Presence;
use crate::settled;

/// Runs the command. Everything up to the lock happens while the process has one thread: both forks need that, and a thread that was there
/// before would not be locked in.
///
/// # Errors
/// Where anything fails before the command runs; then nothing has run.
pub fn run(places: &Places, arguments: &args::Run) -> Result<ExitCode, Report> {
    let file = places.file_of(&arguments.agent)?;
    // Before anything is planned: what is not there cannot be covered, and would be in sight once it is.
    places.make_state()?;
    crate::writable::look(places, &arguments.agent)?;
    not_offboarded(places, &arguments.agent)?;
    let policy = Policy::load_without_secrets(file)?;
    crate::writable::look_at_roots(places, policy.extra_roots())?;
    let logging = LogSettings::load_without_secrets(places.log_file())?;
    let shown = Shown::of(policy.sandbox(), &places::here()?)?;
    let layers = Pending::make(places, shown.overlay.clone())?;
    let spec = spec::of(places, &policy, arguments, shown, layers.as_ref())?;
    let digest = policy.digest().to_owned();
    // All three begin as copies of this process, so the secrets that the policy names are read afterwards, and the authority is made.
    let mut preparing = sandbox::begin(&spec).map_err(no_sandbox)?;
    // While that makes itself, all that does not need it.
    let embedded = arguments.broker.is_none().then(|| broker::embed(places, &preparing)).transpose()?;
    let watching = lookout::instance();
    let held = watching.as_ref().map(OwnedFd::try_clone).transpose()?;
    let clerk = clerk::fork(places, &logging, held.into_iter().chain(preparing.take_mounts()).collect())?;
    // Not before: the kernel lets nobody map the users of a process that is closed.
    sandbox::close_memory()?;
    let authority = Authority::generate(SystemTime::now())?;
    preparing.trust(authority.pem()).map_err(no_sandbox)?;
    // The command and the clerk keep what was given.
    sandbox::raise_open_files()?;
    let standing = Arc::new(reload::standing(places.agent_file(&arguments.agent), arguments)?);
    if standing.current().digest() != digest {
        return Err(Report::new("the agent's file was changed while its sandbox was made").hint("start again"));
    }
    let seen = spec.clone();
    standing.keep_secrets_from(move |file| seen.shows(file))?;
    // This thread looks after the command and speaks to the broker; the proxy has one of its own, from the lock on.
    let own = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let enlisted = own.block_on(enlist(places, arguments, standing, authority, (embedded, logging.room)))?;
    enlisted.worker.log().rotate(&enlisted.directory, clerk, clerk::limits(&logging))?;
    let reach = reach::of(places, &enlisted.worker.policy(), enlisted.presence.orders(), arguments.broker.as_deref());
    // Both before the lock: no file can be put under watch behind it, and no thread may be there that does not keep the signal.
    let lookout = Arc::new(lookout(places, &enlisted, watching));
    let hangups = Hangups::listen()?;
    let bolt = preparing.bolt(&reach);
    let prepared = preparing.finish().map_err(|error| enlisted.undone(error))?;
    if let Some(layers) = layers {
        layers.give_to(&enlisted.directory).inspect_err(|_| enlisted.leave_nothing())?;
    }
    let lacking = if arguments.unlocked_worker { Lacking::GoOn } else { Lacking::Refuse };
    let lock = prepared.lock_in(bolt, lacking).map_err(|error| enlisted.undone(error))?;
    let start = worker_start(arguments, &enlisted, &prepared, &lock)?;
    enlisted.worker.log().append(Timestamp::now(), Event::WorkerStart(start))?;
    observing::begins(&enlisted.worker, &prepared.status().capture).iter().for_each(crate::remark);
    sandbox::bound_heaps();
    let serving = Serving::begin()?;
    let done = own.block_on(work(enlisted, prepared, (lookout, hangups), serving.handle(), arguments.quiet));
    // All is said and written. What is left of the proxy's work ends with the process.
    own.shutdown_background();
    done
}

/// A worker that its broker knows, with everything open that it needs.
struct Enlisted {
    /// Its directory in the state directory.
    directory: PathBuf,
    worker: Arc<Worker>,
    seal: Arc<Seal>,
    broker: Client,
    identity: String,
    credentials: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    files: Vec<HomeFile>,
    presence: Presence,
    stop: watch::Sender<bool>,
}

impl Enlisted {
    /// There is no sandbox for it: nothing has run, nothing is logged, and nothing stays.
    fn undone(&self, error: sandbox::Error) -> Report {
        self.leave_nothing();
        no_sandbox(error)
    }

    fn leave_nothing(&self) {
        let _ = remove_tree(&self.directory);
    }
}

async fn enlist(
    places: &Places,
    arguments: &args::Run,
    standing: Arc<Standing>,
    authority: Authority,
    (embedded, room): (Option<UnixStream>, RoomSettings),
) -> Result<Enlisted, Report> {
    let broker = match (embedded, &arguments.broker) {
        (Some(stream), _) => Client::from_stream(stream)?,
        (None, Some(socket)) => Client::connect(socket).await.map_err(|error| {
            let hint =
                "`exeat broker serve --socket SOCKET` serves there; without --broker, the run has a broker of its own";
            Report::new(error).hint(hint)
        })?,
        (None, None) => return Err(Report::new("there is no broker")),
    };
    let registration = broker.register(&arguments.agent).await.map_err(|error| {
        Report::new(error)
            .hint("where the broker itself says why, it is above; `exeat check` names every mistake in its file")
    })?;
    granted(&standing.current(), &registration)?;
    let environment = environment::build(
        arguments.agent.as_str(),
        &standing.current().sandbox().pass_env,
        &registration.grants,
        &sandbox::trust_environment(),
    );
    let files = environment::home_files(&registration.grants)?;
    let roots = Roots::read(standing.current().extra_roots())?;
    let directory = places.make_worker(&registration.worker)?;
    let log = Arc::new(CallLog::create(&directory)?);
    let seal = Arc::new(Seal::create(&directory, &log, &broker)?);
    let presence = Presence::announce(&directory, registration.worker, arguments.agent.clone())?;
    // Whoever offboards it writes first and looks for workers then.
    not_offboarded(places, &arguments.agent)?;
    let (identity, credentials) = (registration.identity.subject.clone(), names(&registration));
    let (stop, stopped) = watch::channel(false);
    let (client, give_back) = (broker.clone(), sandbox::give_back_freed);
    let parts = Parts { policy: standing, authority, roots, broker, registration, log, room, give_back };
    let (worker, broker) = (Worker::new(parts, stopped), client);
    arguments.canary.iter().try_for_each(|_| crate::probe::stand_in::remember(&worker))?;
    Ok(Enlisted { directory, worker, seal, broker, identity, credentials, environment, files, presence, stop })
}

/// From the command's start to its end, the proxy on `serving`.
async fn work(
    enlisted: Enlisted,
    mut prepared: Prepared,
    (lookout, hangups): (Arc<Lookout>, Hangups),
    serving: &Handle,
    quiet: bool,
) -> Result<ExitCode, Report> {
    let Enlisted { worker, seal, broker, environment, files, presence, stop, .. } = enlisted;
    let sockets = prepared.take_sockets();
    let listeners = Listeners { tcp: sockets.tcp, dns_udp: sockets.dns_udp, dns_tcp: sockets.dns_tcp };
    let settings = worker.policy().sandbox().clone();
    let proxy = serving.spawn(serve::serve(Arc::clone(&worker), listeners));
    // Beside the calls, so that many of them do not hold up what may be there to stop them.
    let reloading = tokio::spawn(reload::watch(Arc::clone(&worker), Arc::clone(&lookout)));
    let sealing = serving.spawn(Arc::clone(&seal).keep());
    let heard = Arc::clone(&lookout);
    let listening = tokio::spawn(async move { heard.listen().await });
    let signals = Signals::listen(hangups)?;
    let ended = match prepared.start(environment, files) {
        Ok(running) => {
            let calling = Arc::clone(&worker);
            let settling = tokio::spawn(settled::settle(move || calling.counts().0));
            let times = Times { wall_clock: settings.wall_clock, grace: settings.grace };
            // What is stopped has time to end, and no way out any more.
            let cut = || {
                let _ = stop.send(true);
            };
            let asked_to_stop = presence.asked_to_stop(&lookout);
            let ended = supervise::until_end(running, signals, times, asked_to_stop, cut, || lookout.ask()).await;
            settling.abort();
            ended.map_err(Report::from)
        }
        Err(error) => Err(no_sandbox(error)),
    };
    sealing.abort();
    let _ = stop.send(true);
    reloading.abort();
    listening.abort();
    // The kernel takes up to twenty milliseconds to end the watches, and has whoever lets go of them last wait for it. That is the clerk, who has them, too,
    // until it hears from the log's end that this worker is gone; so they are let go of before the log is.
    // Who seals is on another thread: a checkpoint that it asked for behind the worker's end would be the one that the log's end is to have.
    let _ = (reloading.await, listening.await, sealing.await);
    drop(lookout);
    proxy.await??;
    presence.has_stopped();
    finish(&worker, &broker, &seal, &ended, &settings).await;
    observing::ended(&worker).iter().for_each(crate::remark);
    let ended = ended?;
    ended.notes(&settings).iter().for_each(crate::remark);
    if !quiet {
        summary::tell(&worker);
    }
    let said = ended.report(&settings);
    // The clerk asks for its lock once the log's line to it ends, which is when this process does.
    drop(presence);
    // What is left ends with the process. Somebody waits for that, and to take it apart first would take longer.
    std::mem::forget((worker, seal, broker));
    said
}

/// Gives every lease back, closes the log and has it sealed. What cannot be revoked stays with the broker, which goes on trying.
async fn finish(
    worker: &Worker,
    broker: &Client,
    seal: &Seal,
    ended: &Result<Ended, Report>,
    settings: &SandboxSettings,
) {
    let (revoked, kept) = match broker.end_before_log().await {
        Ok(ended) => {
            for kept in ended.kept.iter().filter(|kept| kept.again) {
                tracing::warn!(credential = %kept.credential, lease = %kept.lease, reason = kept.reason, "not revoked");
            }
            (ended.revoked.len(), ended.kept.len())
        }
        Err(error) => {
            tracing::warn!(%error, "the broker did not say what it revoked");
            (0, 0)
        }
    };
    let outcome = match ended {
        Ok(ended) => ended.outcome(settings),
        Err(report) => format!("not started: {report}"),
    };
    let ended = ended.as_ref().ok();
    let limit = ended.and_then(Ended::limit).map(str::to_owned);
    // Plain numbers, which always become JSON.
    let limits = ended.and_then(|ended| serde_json::to_value(&ended.met).ok()).unwrap_or_default();
    let (calls, refused) = worker.counts();
    let end = WorkerEnd { outcome, limit, limits, calls, refused, revoked: revoked as u64, kept: kept as u64 };
    if let Err(error) = worker.log().append(Timestamp::now(), Event::WorkerEnd(end)) {
        tracing::error!(%error, "the end of the worker is not in the call log");
    }
    if let Err(error) = seal.last().await {
        tracing::warn!(%error, "the end of the call log has no signature");
    }
}

/// The policy's file, those beside it, and the directory of orders.
fn lookout(places: &Places, enlisted: &Enlisted, watching: Option<OwnedFd>) -> Lookout {
    let policy = enlisted.worker.policy();
    let file = places.agent_file(policy.agent());
    let files = std::iter::once(file.as_path()).chain(policy.files_beside());
    Lookout::over(watching, files, enlisted.presence.orders())
}

fn not_offboarded(places: &Places, agent: &AgentId) -> Result<(), Report> {
    if is_offboarded(places, agent) {
        let hint = format!("`exeat offboard --undo {agent}` lets it run again");
        return Err(Report::new(format!("agent `{agent}` was offboarded")).hint(hint));
    }
    Ok(())
}

pub(crate) fn no_sandbox(error: sandbox::Error) -> Report {
    let code = match error.kind() {
        sandbox::ErrorKind::NotFound => NOT_FOUND,
        sandbox::ErrorKind::NotExecutable => NOT_EXECUTABLE,
        sandbox::ErrorKind::SetUp | sandbox::ErrorKind::Spec | sandbox::ErrorKind::Limit => crate::report::FAILED,
    };
    let hint = error.hint().map(str::to_owned);
    let report = Report::new(error).code(code);
    match hint {
        Some(hint) => report.hint(hint),
        None => report,
    }
}

/// Every credential that a rule names was granted to this agent; a rule that cannot work is found now, not at its first call.
fn granted(policy: &Policy, registration: &Registration) -> Result<(), Report> {
    for credential in policy.credentials() {
        if !registration.grants.iter().any(|(grant, _)| *grant.credential() == credential) {
            let agent = policy.agent();
            let told =
                Report::new(format!("a rule of `{agent}` names credential `{credential}`, which it is not granted"));
            return Err(told.hint(format!(
                "list `{agent}` under `agents` of [{credential}] in credentials.toml; see `exeat check`"
            )));
        }
    }
    Ok(())
}

fn worker_start(
    arguments: &args::Run,
    enlisted: &Enlisted,
    prepared: &Prepared,
    lock: &Lock,
) -> Result<WorkerStart, Report> {
    let mut sandbox = serde_json::to_value(prepared.status())?;
    // What the worker itself holds.
    let policy = enlisted.worker.policy();
    let SandboxSettings { wall_clock, grace, .. } = policy.sandbox();
    sandbox["limits"]["wall_clock"] = serde_json::to_value(wall_clock.map(|limit| limit.as_secs()))?;
    sandbox["limits"]["grace"] = serde_json::to_value(grace.as_secs())?;
    Ok(WorkerStart {
        format: record::FORMAT,
        observe: arguments.observe,
        probe: arguments.battery,
        worker: enlisted.presence.worker().to_string(),
        agent: arguments.agent.to_string(),
        identity: enlisted.identity.clone(),
        policy: policy.digest().to_owned(),
        command: arguments.command.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        sandbox,
        lock: serde_json::to_value(lock)?,
        credentials: enlisted.credentials.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// The credentials whose placeholders are inside; of one that has two, once.
fn names(registration: &Registration) -> Vec<String> {
    let of_secrets = registration.grants.iter().filter(|(grant, _)| grant.part() == Part::Secret);
    of_secrets.map(|(grant, _)| grant.credential().to_string()).collect()
}
