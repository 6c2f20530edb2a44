//! What sources are read with.
//!
//! Enters: the variables that the caller handed over; the broker's signer, once there is one. Leaves: both, to whoever reads a secret.
//! Never: a variable of the process that was not handed over.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;

use crate::identity::Signer;
use crate::outbound::system_roots;
use crate::secret::Secret;

/// The variables that a broker was given, and who it is to others.
#[derive(Default)]
pub(crate) struct Environment {
    variables: HashMap<String, Secret>,
    signer: OnceLock<Arc<Signer>>,
    roots: OnceLock<RootCertStore>,
}

impl Environment {
    /// One with nothing in it.
    pub(crate) fn new() -> Environment {
        Environment::default()
    }

    /// A variable.
    pub(crate) fn get(&self, name: &str) -> Option<&Secret> {
        self.variables.get(name)
    }

    /// All variables.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Secret)> {
        self.variables.iter()
    }

    /// From now on the broker can show who it is.
    pub(crate) fn sign_by(&self, signer: &Arc<Signer>) {
        // There is one signer for each broker.
        let _ = self.signer.set(Arc::clone(signer));
    }

    /// Who signs that. `None` where its own keys are read.
    pub(super) fn signer(&self) -> Option<&Arc<Signer>> {
        self.signer.get()
    }

    /// The system's roots, read when they are first asked for.
    pub(super) fn roots(&self) -> &RootCertStore {
        self.roots.get_or_init(system_roots)
    }
}

impl From<HashMap<String, Secret>> for Environment {
    fn from(variables: HashMap<String, Secret>) -> Environment {
        Environment { variables, ..Environment::default() }
    }
}

impl<const N: usize> From<[(String, Secret); N]> for Environment {
    fn from(variables: [(String, Secret); N]) -> Environment {
        HashMap::from(variables).into()
    }
}
