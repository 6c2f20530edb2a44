//! The policy in force, and its replacement while connections stand.
//!
//! Enters: a file that may have changed. Leaves: the policy to judge the next call by. Never: one from a file
//! with mistakes; the last good policy stays in force then.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::error::LoadError;
use crate::policy::Policy;

/// The policy in force. Share it in an `Arc`, and ask for [`current`](Self::current) at each decision.
#[derive(Debug)]
pub struct Standing {
    path: PathBuf,
    current: ArcSwap<Policy>,
}

impl Standing {
    /// Reads the policy at `path` and puts it in force.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref().to_owned();
        Ok(Self { current: ArcSwap::from_pointee(Policy::load(&path)?), path })
    }

    /// The policy in force now.
    pub fn current(&self) -> Arc<Policy> {
        self.current.load_full()
    }

    /// Reads the file again. With mistakes, the last good policy stays in force and they are returned. The answer is
    /// whether the policy changed.
    pub fn reload(&self) -> Result<bool, LoadError> {
        let policy = Policy::load(&self.path)?;
        let changed = policy.digest() != self.current().digest();
        if changed {
            self.current.store(Arc::new(policy));
        }
        Ok(changed)
    }
}
