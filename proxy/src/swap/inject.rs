//! A credential for a call whose agent sent none.
//!
//! Enters: the head of a call that was permitted. Leaves: the field that the grant names, with the placeholder in it, as though the agent
//! had sent it; from there on it is swapped as any other. Never: a field for another destination than the grant's, or for a rule that does
//! not name the credential; a call as somebody else, where exeat is to say who calls.

use config::{CredentialName, Part};
use http::{HeaderName, HeaderValue};

use super::{Head, Swap, plan};
use crate::request::same;

/// A call to a destination where exeat says who calls, and which says so itself. An agent that was talked into using a stranger's key could
/// otherwise carry off to the stranger's account whatever it knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the call brings `{header}` with a credential of its own, and exeat puts credential `{credential}` there")]
pub struct CallsAsItself {
    /// Which one would have been put in.
    pub credential: CredentialName,
    /// Where.
    pub header: String,
}

impl Swap {
    /// The field to add to a call; `None` where the credential is not to be put in, or the agent sent its placeholder.
    ///
    /// # Errors
    /// [`CallsAsItself`]
    pub fn inject(&self, head: &Head<'_>) -> Result<Option<(HeaderName, HeaderValue)>, CallsAsItself> {
        let granted = self.0.grants.iter().position(|(grant, _)| {
            grant.part() == Part::Secret && head.permitted == Some(grant.credential()) && grant.allows(head.destination)
        });
        let Some(entry) = granted else { return Ok(None) };
        let (grant, placeholder) = &self.0.grants[entry];
        let Some(injection) = grant.inject() else { return Ok(None) };
        let own = || CallsAsItself { credential: grant.credential().clone(), header: injection.header().to_owned() };
        let mut said = head.headers.get_all(injection.header()).iter().peekable();
        if said.peek().is_some() {
            let name = HeaderName::from_bytes(injection.header().as_bytes()).map_err(|_| own())?;
            // Whose placeholder it is, and whether it may stand there, is judged with all the others.
            let has_one = |value: &HeaderValue| {
                let decoded = plan::basic(&name, value);
                !self.0.all(decoded.as_deref().map_or(value.as_bytes(), Vec::as_slice)).is_empty()
            };
            return if said.all(has_one) { Ok(None) } else { Err(own()) };
        }
        if head.headers.keys().any(|name| same(name, injection.header())) {
            return Err(own());
        }
        if self.sightings(head).iter().any(|(seen, _)| seen.entry == entry) {
            return Ok(None);
        }
        let name = HeaderName::from_bytes(injection.header().as_bytes()).map_err(|_| own())?;
        let value = HeaderValue::from_str(&injection.value(placeholder)).map_err(|_| own())?;
        Ok(Some((name, value)))
    }

    /// Whether exeat puts a credential into a field of this name, however it is spelt, in some call.
    pub(crate) fn puts_in(&self, name: &HeaderName) -> bool {
        let mut injections = self.0.grants.iter().filter_map(|(grant, _)| grant.inject());
        injections.any(|injection| same(name, injection.header()))
    }
}
