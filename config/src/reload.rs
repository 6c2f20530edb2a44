//! The policy in force, and its replacement while connections stand.
//!
//! Enters: a file that may have changed. Leaves: the policy to judge the next call by. Never: one from a file
//! with mistakes; the last good policy stays in force then.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::divert::Diversion;
use crate::error::LoadError;
use crate::file;
use crate::policy::Policy;

/// The policy in force. Share it in an `Arc`, and ask for [`current`](Self::current) at each decision.
#[derive(Debug)]
pub struct Standing {
    path: PathBuf,
    current: ArcSwap<Policy>,
    shown: Shown,
    manner: Manner,
}

/// What becomes of each policy as it is read.
#[derive(Debug)]
enum Manner {
    AsWritten,
    Observing,
    Diverted(Diversion),
}

impl Manner {
    fn of(&self, policy: Policy) -> Policy {
        match self {
            Self::AsWritten => policy,
            Self::Observing => policy.observing(),
            Self::Diverted(end) => policy.diverted(end),
        }
    }
}

/// What the file says at a moment, where that is not what is in force; it may be half of what somebody is about to write.
#[derive(Debug)]
pub struct Draft(Result<Policy, LoadError>);

impl Draft {
    /// Whether both readings found the same.
    pub fn is_like(&self, other: &Draft) -> bool {
        match (&self.0, &other.0) {
            (Ok(one), Ok(other)) => one.is_like(other),
            (Err(one), Err(other)) => one == other,
            _ => false,
        }
    }

    /// The digest of the policy that it is, if it is one.
    pub fn digest(&self) -> Option<&str> {
        self.0.as_ref().ok().map(Policy::digest)
    }
}

/// Whether the sandbox would see a file.
#[derive(Default)]
struct Shown(OnceLock<Box<View>>);

type View = dyn Fn(&Path) -> bool + Send + Sync;

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl Standing {
    /// Reads the policy at `path` and puts it in force.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::load_in(path.as_ref(), Manner::AsWritten)
    }

    /// The same, observing: it, and every policy after it, lets pass what no rule covers.
    pub fn load_observing(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::load_in(path.as_ref(), Manner::Observing)
    }

    /// The same, and what it, and every policy after it, lets out ends there.
    pub fn load_diverted(path: impl AsRef<Path>, end: Diversion) -> Result<Self, LoadError> {
        Self::load_in(path.as_ref(), Manner::Diverted(end))
    }

    fn load_in(path: &Path, manner: Manner) -> Result<Self, LoadError> {
        let current = ArcSwap::from_pointee(manner.of(Policy::load(path)?));
        Ok(Self { current, path: path.to_owned(), shown: Shown::default(), manner })
    }

    /// The policy in force now.
    pub fn current(&self) -> Arc<Policy> {
        self.current.load_full()
    }

    /// Whether that is this one.
    pub fn is_current(&self, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.current.load(), policy)
    }

    /// No policy is in force any more, nor will one be, that names a secret in a file of which `shown` says that the sandbox would
    /// see it.
    ///
    /// # Errors
    /// Where the policy in force does.
    pub fn keep_secrets_from(&self, shown: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Result<(), LoadError> {
        // A second sandbox would be a mistake of ours; the first one's view stays.
        let _ = self.shown.0.set(Box::new(shown));
        self.check_secrets(&self.current())
    }

    fn check_secrets(&self, policy: &Policy) -> Result<(), LoadError> {
        let shown = |file: &&Path| self.shown.0.get().is_some_and(|shown| shown(file));
        let Some(file) = policy.secret_files().find(shown) else { return Ok(()) };
        let reason = format!("`{}` holds a secret and would be seen in the sandbox", file.display());
        let remedy = "keep it in a directory of this agent's own (`../secrets/…`), outside the working directory, `read` and `write`";
        Err(LoadError::whole_file(&self.path.display().to_string(), reason, remedy))
    }

    /// Reads the file again. `None`: it says what is in force.
    pub fn read(&self) -> Option<Draft> {
        let current = self.current();
        match file::load_another(&self.path, &current) {
            Ok(None) => None,
            Ok(Some(policy)) => {
                let policy = self.manner.of(policy);
                match self.check_secrets(&policy) {
                    Ok(()) => (!policy.is_like(&current)).then_some(Draft(Ok(policy))),
                    Err(error) => Some(Draft(Err(error))),
                }
            }
            Err(error) => Some(Draft(Err(error))),
        }
    }

    /// Puts what was read in force, whole.
    ///
    /// # Errors
    /// Its mistakes; the last good policy stays in force then.
    pub fn take(&self, draft: Draft) -> Result<(), LoadError> {
        self.current.store(Arc::new(draft.0?));
        Ok(())
    }

    /// Reads the file again and takes what it says. The answer is whether the policy changed.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn reload(&self) -> Result<bool, LoadError> {
        self.read().map(|draft| self.take(draft)).transpose().map(|taken| taken.is_some())
    }
}
