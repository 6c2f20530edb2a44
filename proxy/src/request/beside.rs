//! What a call comes to beside itself, by what stands in its head and its query.
//!
//! Enters: a call. Leaves: the other calls that it is as well, or why nobody can tell which; kept, so that a policy that comes later is asked of
//! them, too. Never: a judgement, which is the policy's.

use super::elsewhere::{Elsewhere, elsewhere};
use super::{Call, overridden, overriding, overriding_parameter};
use crate::error::Refusal;

/// Nearly always nothing.
#[derive(Debug, Clone)]
pub struct Beside(Result<Vec<Elsewhere>, Box<Refusal>>);

impl Default for Beside {
    fn default() -> Self {
        Self(Ok(Vec::new()))
    }
}

impl Beside {
    pub(super) fn of(call: &Call) -> Self {
        Self(others(call).map_err(Box::new))
    }

    /// The other calls, where policies tell them apart.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] where servers may take it for another call than the one that is judged.
    pub(crate) fn calls(&self) -> Result<&[Elsewhere], Refusal> {
        self.0.as_deref().map_err(|refusal| Refusal::clone(refusal))
    }
}

fn others(call: &Call) -> Result<Vec<Elsewhere>, Refusal> {
    if let Some(name) = overriding(&call.headers) {
        return Err(Refusal::Malformed(format!(
            "`{name}` may have the server take it for another method or path than what was judged; send the method and the path \
             themselves, without that field"
        )));
    }
    if let Some(name) = overriding_parameter(call.query.as_deref().unwrap_or_default().as_bytes()) {
        return Err(overridden("the query", &name));
    }
    elsewhere(call)
}
