//! Where things are on this machine.
//!
//! Enters: options and the environment. Leaves: the directories of configuration and state, and a worker's own. Never: a state
//! directory that others can read.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use config::{AgentId, WorkerId};

use crate::args::Arguments;
use crate::report::Report;

/// The two directories that exeat knows.
#[derive(Debug, Clone)]
pub struct Places {
    /// Holds `agents/NAME.toml`, `credentials.toml`, `broker.toml` and `log.toml`.
    pub config: PathBuf,
    /// Holds `workers/ID/`, `index/ID/`, `layers/`, `ship/RECEIVER/`, `leases/BROKER/`, `ledger.key`, `checkpoints/`, `checkpoint.key`,
    /// `keys/identity.jsonl`, `offboarded/AGENT`, `offboarded.jsonl` and `probes/AGENT.json`.
    pub state: PathBuf,
}

impl Places {
    /// By option or `EXEAT_CONFIG` and `EXEAT_STATE`, otherwise as the XDG base directory specification says.
    ///
    /// # Errors
    /// When neither they nor `HOME` are set.
    pub fn find(arguments: &Arguments) -> Result<Self, Report> {
        Ok(Self {
            config: place(arguments.at.config.as_deref(), "XDG_CONFIG_HOME", ".config", "--config")?,
            state: place(arguments.at.state.as_deref(), "XDG_STATE_HOME", ".local/state", "--state")?,
        })
    }

    /// The policy file of an agent.
    pub fn agent_file(&self, agent: &AgentId) -> PathBuf {
        self.config.join("agents").join(format!("{agent}.toml"))
    }

    /// The same, of an agent that is meant to have one.
    ///
    /// # Errors
    /// When it is not there: the name may be another's.
    pub fn file_of(&self, agent: &AgentId) -> Result<PathBuf, Report> {
        /// As many names as a person reads in a line.
        const NAMED: usize = 12;
        let file = self.agent_file(agent);
        if !fs::symlink_metadata(&file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(file);
        }
        let entries = fs::read_dir(self.config.join("agents")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned));
        let mut names: Vec<String> =
            names.filter_map(|name| Some(format!("`{}`", name.parse::<AgentId>().ok()?))).collect();
        names.sort();
        let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
        names.truncate(NAMED);
        let hint = match names.is_empty() {
            true => "no agent has one there; `exeat init` writes it, or say --config DIR".to_owned(),
            false => format!("there are {}{more}; `exeat init --agent {agent}` writes one more", names.join(", ")),
        };
        Err(Report::new(format!("there is no agent `{agent}`: `{}` is not there", file.display())).hint(hint))
    }

    /// The broker's file of credentials.
    pub fn credentials_file(&self) -> PathBuf {
        self.config.join("credentials.toml")
    }

    /// The broker's file about itself.
    pub fn broker_file(&self) -> PathBuf {
        self.config.join("broker.toml")
    }

    /// The file about the call logs.
    pub fn log_file(&self) -> PathBuf {
        self.config.join("log.toml")
    }

    /// Where it is kept how far the call logs were shipped.
    pub fn shipped(&self) -> PathBuf {
        self.state.join("ship")
    }

    /// Makes that directory, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_shipped(&self) -> io::Result<()> {
        make(&self.shipped())
    }

    /// Where the workers' directories are.
    pub fn workers(&self) -> PathBuf {
        self.state.join("workers")
    }

    /// Where it is kept which calls are where in the logs: with them, by whoever owns them; whoever only reads them keeps it with what can be
    /// done without (`XDG_CACHE_HOME`). `None`: nowhere.
    pub fn index(&self) -> Option<PathBuf> {
        let owner = fs::metadata(&self.state).ok()?.uid();
        if owner == rustix::process::geteuid().as_raw() {
            return Some(self.state.join("index"));
        }
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = self.state.canonicalize().ok()?;
        let name = record::Hash::of_line(state.as_os_str().as_encoded_bytes()).to_string();
        Some(given.or_else(home)?.join("exeat").join("index").join(name))
    }

    /// Where the brokers' directories are, in which each keeps who holds what, and listens to operators.
    pub fn ledgers(&self) -> PathBuf {
        self.state.join("leases")
    }

    /// Makes the state directory, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_state(&self) -> io::Result<()> {
        make(&self.state)
    }

    /// Makes the directory of the ledgers, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_ledgers(&self) -> io::Result<()> {
        make(&self.ledgers())
    }

    /// Makes the directory of the keys that sign identities, for its owner only, and names their file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_keys(&self) -> io::Result<PathBuf> {
        let directory = self.state.join("keys");
        make(&directory)?;
        Ok(directory.join("identity.jsonl"))
    }

    /// The key that the ledgers are sealed with.
    pub fn ledger_key(&self) -> PathBuf {
        self.state.join("ledger.key")
    }

    /// Where the broker keeps how long each log is.
    pub fn checkpoints(&self) -> PathBuf {
        self.state.join("checkpoints")
    }

    /// The key that it signs that with.
    pub fn checkpoint_key(&self) -> PathBuf {
        self.state.join("checkpoint.key")
    }

    /// Where each agent that was offboarded has a file of its name.
    pub fn offboarded(&self) -> PathBuf {
        self.state.join("offboarded")
    }

    /// Makes that directory, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_offboarded(&self) -> io::Result<()> {
        make(&self.offboarded())
    }

    /// What was shown of each offboarding, a line each.
    pub fn offboardings(&self) -> PathBuf {
        self.state.join("offboarded.jsonl")
    }

    /// What came of the last `exeat probe` of an agent.
    pub fn probe(&self, agent: &AgentId) -> PathBuf {
        self.state.join("probes").join(format!("{agent}.json"))
    }

    /// Makes the directory of these, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_probes(&self) -> io::Result<PathBuf> {
        let directory = self.state.join("probes");
        make(&directory)?;
        Ok(directory)
    }

    /// Makes the directory of layers whose runs have no worker yet, for its owner only, and names it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_layers(&self) -> io::Result<PathBuf> {
        let directory = self.state.join("layers");
        make(&directory)?;
        Ok(directory)
    }

    /// Makes the directory of one worker, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_worker(&self, worker: &WorkerId) -> io::Result<PathBuf> {
        let directory = self.workers().join(worker.to_string());
        make(&directory)?;
        Ok(directory)
    }
}

/// The directory of the start.
///
/// # Errors
/// When it is gone, or above it nothing can be seen.
pub fn here() -> Result<PathBuf, Report> {
    std::env::current_dir().map_err(|error| {
        Report::new(format!("the current directory cannot be told: {error}"))
            .hint("it may have been removed: change into one that is there")
    })
}

fn make(directory: &Path) -> io::Result<()> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot make the directory `{}`: {error}", directory.display()))
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(named)
}

fn place(given: Option<&Path>, variable: &str, below_home: &str, option: &str) -> Result<PathBuf, Report> {
    if let Some(given) = given {
        return Ok(std::path::absolute(given)?);
    }
    let base = match (std::env::var_os(variable), std::env::var_os("HOME")) {
        (Some(base), _) if Path::new(&base).is_absolute() => PathBuf::from(base),
        (_, Some(home)) => PathBuf::from(home).join(below_home),
        _ => return Err(Report::new("neither HOME nor its XDG directory is set").hint(format!("say {option} DIR"))),
    };
    Ok(base.join("exeat"))
}
