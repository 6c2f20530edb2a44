//! Who a worker is to others, as the identity team settles it: broker.toml.
//!
//! Enters: broker.toml, or nothing, for which everything has a default. Leaves: the issuer's URL, the trust domain, the
//! audiences, and where the keys are that sign. Never: a key itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::credential::Source;
use crate::error::{LoadError, Malformed, quoted};
use crate::file;

/// How long a key signs before the next one does, where nothing is said.
pub const ROTATION: Duration = Duration::from_secs(30 * 86_400);

/// The `[identity]` of broker.toml. One that exists is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// The issuer's URL: `iss`, and the base of the discovery document.
    pub issuer: String,
    /// The trust domain of the SPIFFE IDs.
    pub trust_domain: TrustDomain,
    /// What signs for an audience of which nothing is said.
    pub algorithm: SigningAlgorithm,
    /// The audiences, besides the issuer itself, for which a worker may have an identity when it asks for one, and what signs there.
    pub audiences: BTreeMap<String, SigningAlgorithm>,
    /// The keys.
    pub keys: IdentityKeys,
}

/// Where the keys are that sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityKeys {
    /// In memory, for as long as the broker lives; on disk in the state directory where the broker is a service.
    Unsaid {
        /// How long a key signs.
        rotate: Duration,
    },
    /// In a file that the broker makes, and in which it rotates them.
    File {
        /// The file.
        path: PathBuf,
        /// How long a key signs.
        rotate: Duration,
    },
    /// The operator's own. The first of each kind signs, all are published; the broker rotates none.
    Given {
        /// P-256.
        es256: Vec<Source>,
        /// RSA of 2,048 bits or more.
        rs256: Vec<Source>,
    },
}

/// What signs a JWT (RFC 7518 §3.1). Some verifiers take only the one, some only the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl SigningAlgorithm {
    /// Both.
    pub const ALL: [SigningAlgorithm; 2] = [SigningAlgorithm::Es256, SigningAlgorithm::Rs256];
}

/// Whom a worker's identity is shown, and what signs it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The `aud` of the JWT.
    pub name: String,
    /// `None`: as broker.toml says.
    pub algorithm: Option<SigningAlgorithm>,
}

/// The trust domain of the SPIFFE IDs that a broker issues. Default: `exeat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomain(String);

impl IdentitySettings {
    /// Reads broker.toml. A file that is not there says nothing.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        match path.as_ref().exists() {
            true => file::load_identity(path.as_ref()),
            false => Ok(Self::default()),
        }
    }

    /// Reads broker.toml from text. Paths in it are relative to the directory of `file`.
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Self, LoadError> {
        file::parse_identity(file.as_ref(), text)
    }

    /// What signs for an audience.
    pub fn algorithm(&self, audience: &str) -> SigningAlgorithm {
        self.audiences.get(audience).copied().unwrap_or(self.algorithm)
    }

    /// All that signs for any audience.
    pub fn algorithms(&self) -> BTreeSet<SigningAlgorithm> {
        self.audiences.values().copied().chain([self.algorithm]).collect()
    }
}

impl IdentityKeys {
    /// Whether there is a key, or can be one, that signs so.
    pub fn sign(&self, algorithm: SigningAlgorithm) -> bool {
        match (self, algorithm) {
            (Self::Given { es256, .. }, SigningAlgorithm::Es256) => !es256.is_empty(),
            (Self::Given { rs256, .. }, SigningAlgorithm::Rs256) => !rs256.is_empty(),
            (Self::Unsaid { .. } | Self::File { .. }, _) => true,
        }
    }
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            issuer: "https://broker.exeat.internal".to_owned(),
            trust_domain: TrustDomain::default(),
            algorithm: SigningAlgorithm::default(),
            audiences: BTreeMap::new(),
            keys: IdentityKeys::Unsaid { rotate: ROTATION },
        }
    }
}

impl FromStr for SigningAlgorithm {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let known = Self::ALL.into_iter().find(|one| one.to_string() == text);
        known.ok_or_else(|| Malformed::new(format!("{} signs nothing here", quoted(text)), "write `ES256` or `RS256`"))
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        })
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self("exeat".to_owned())
    }
}

impl FromStr for TrustDomain {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        match (1..=255).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(Malformed::new(
                format!("{} is not a SPIFFE trust domain", quoted(text)),
                "write 1 to 255 of a-z, 0-9, `.`, `-`, `_`: `example.com`",
            )),
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_domains() {
        assert!("prod.acme-1".parse::<TrustDomain>().is_ok());
        for bad in ["", "Acme", "a/b", "a b", "ä"] {
            assert!(bad.parse::<TrustDomain>().is_err(), "{bad}");
        }
    }

    #[test]
    fn algorithms_go_by_their_registered_names() {
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(algorithm.to_string().parse::<SigningAlgorithm>().unwrap(), algorithm);
        }
        for bad in ["es256", "HS256", "none", "EdDSA", ""] {
            assert!(bad.parse::<SigningAlgorithm>().is_err(), "{bad}");
        }
    }
}
