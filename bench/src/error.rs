//! Why there is no figure.
//!
//! Enters: what went wrong. Leaves: a sentence. Never: a second kind of error; nobody but a reader tells them apart.

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Error {
    /// In words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// What was being done when it went wrong, before why it did.
    pub fn during(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

/// Every error that says itself with all of its causes.
macro_rules! said {
    ($($source:ty),* $(,)?) => { $(
        impl From<$source> for Error {
            fn from(source: $source) -> Self {
                let mut words = source.to_string();
                let mut cause = std::error::Error::source(&source);
                while let Some(error) = cause {
                    words = format!("{words}: {error}");
                    cause = error.source();
                }
                Self(words)
            }
        }
    )* };
}

said! {
    std::io::Error, std::num::ParseIntError, serde_json::Error, hyper::Error, hyper::http::Error, rustls::Error,
    rustls_pki_types::pem::Error, rustls_pki_types::InvalidDnsNameError, rcgen::Error, nix::errno::Errno, rustix::io::Errno,
    hdrhistogram::CreationError, hdrhistogram::AdditionError, tokio::task::JoinError, std::env::VarError,
    hudsucker::Error,
}
