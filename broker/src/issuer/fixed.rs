//! A secret that is what it is: an API key, a personal access token.
//!
//! Enters: its source. Leaves: its value of this moment, to be read again in a minute, so that a rotated one is in use
//! soon after. There is nothing to renew or to revoke. It never gives out what could break out of a header's line, nor for a key pair
//! what is none.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::Source;

use super::{IssueError, Issued};
use crate::key_pair::KeyPair;
use crate::source::{self, Environment};

/// How long a worker may go on using a value that was rotated.
pub(super) const REREAD: Duration = Duration::from_secs(60);

pub(crate) struct Fixed {
    pub(crate) value: Source,
    /// Whether it is a key pair, `ID:SECRET`, to sign with.
    pub(crate) pair: bool,
    pub(crate) environment: Arc<Environment>,
}

impl Fixed {
    pub(crate) async fn issue(&self) -> Result<Issued, IssueError> {
        let secret = source::read(&self.value, &self.environment).await?;
        if self.pair {
            KeyPair::read(&secret).map_err(IssueError::Unfit)?;
        }
        match secret.expose().contains(char::is_control) {
            true => Err(IssueError::Unfit("the secret contains a line break or another control character")),
            false => Ok(Issued { secret, receipt: None, expires: None, refresh: SystemTime::now() + REREAD }),
        }
    }
}
