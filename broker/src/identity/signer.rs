//! The broker as an issuer of identities: which key signs for whom, what verifiers are told, and the keeping of the keys.
//!
//! Enters: the settings, and in time the time. Leaves: identities, the JWK set, the discovery document. Keys are made ahead of
//! their time and kept past it (see `ring`); where they are in a file, other brokers may share it. It never signs with a
//! key that is not published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use config::{AgentId, Audience, IdentityKeys, IdentitySettings, SigningAlgorithm, Source, TrustDomain, WorkerId};
use jsonwebtoken::jwk::JwkSet;
use serde::Serialize;
use tokio::time::sleep;
use uuid::Uuid;

use super::key::SigningKey;
use super::key_file::{KeyFile, KeyFileError};
use super::ring::{Dated, Ring};
use super::{Actor, Claims, IDENTITY_LIFETIME, Identity, SigningError};
use crate::error::Error;
use crate::issuer::chain;
use crate::source::{self, Environment};

/// How often the keys are looked after. Far below the half hour by which each is published before it signs.
const LOOK: Duration = Duration::from_secs(60);

/// The discovery document, with the fields that verifiers ask for.
#[derive(Debug, Serialize)]
pub(crate) struct Discovery {
    issuer: String,
    jwks_uri: String,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<String>,
    claims_supported: [&'static str; 8],
}

/// The keys and the names that go with them.
pub(crate) struct Signer {
    issuer: String,
    domain: TrustDomain,
    unsaid: SigningAlgorithm,
    audiences: BTreeMap<String, SigningAlgorithm>,
    ring: ArcSwap<Ring>,
    keeping: Keeping,
    /// One change of the ring at a time.
    turn: Mutex<()>,
}

/// Where the keys come from.
enum Keeping {
    Memory { wanted: BTreeSet<SigningAlgorithm>, rotate: Duration },
    File { file: KeyFile, rotate: Duration },
    Given,
}

impl Signer {
    /// Reads the keys, or makes them. `wanted`: what signs for the issuers, besides what the settings say.
    pub(crate) async fn start(
        settings: &IdentitySettings,
        wanted: impl IntoIterator<Item = SigningAlgorithm>,
        environment: &Environment,
    ) -> Result<Signer, Error> {
        let wanted: BTreeSet<_> = wanted.into_iter().chain(settings.algorithms()).collect();
        let (keeping, ring) = match settings.keys.clone() {
            IdentityKeys::Unsaid { rotate } => (Keeping::Memory { wanted: wanted.clone(), rotate }, Ring::default()),
            IdentityKeys::File { path, rotate } => {
                (Keeping::File { file: KeyFile::new(path), rotate }, Ring::default())
            }
            IdentityKeys::Given { es256, rs256 } => (Keeping::Given, given(&es256, &rs256, environment).await?),
        };
        let signer = Signer {
            issuer: settings.issuer.clone(),
            domain: settings.trust_domain.clone(),
            unsaid: settings.algorithm,
            audiences: settings.audiences.clone(),
            ring: ArcSwap::from_pointee(ring),
            keeping,
            turn: Mutex::new(()),
        };
        signer.look_after(SystemTime::now()).map_err(|error| signer.unkept(error))?;
        match wanted.difference(&signer.ring.load().algorithms()).next() {
            None => Ok(signer),
            Some(algorithm) => Err(Error::Keys {
                what: format!("{algorithm} is to sign"),
                source: "there is no key of yours for it".into(),
            }),
        }
    }

    /// One with a P-256 key in memory.
    #[cfg(test)]
    pub(crate) fn generate(issuer: String, domain: TrustDomain) -> Result<Signer, SigningError> {
        let key = Arc::new(SigningKey::generate(SigningAlgorithm::Es256)?);
        Ok(Signer {
            issuer,
            domain,
            unsaid: SigningAlgorithm::Es256,
            audiences: BTreeMap::new(),
            ring: ArcSwap::from_pointee(Ring::new(vec![Dated { key, signs_from: UNIX_EPOCH }])),
            keeping: Keeping::Given,
            turn: Mutex::new(()),
        })
    }

    /// Signs who `worker` is, for `audience`.
    pub(crate) fn identity(
        &self,
        agent: &AgentId,
        worker: &WorkerId,
        audience: &Audience,
        now: SystemTime,
    ) -> Result<Identity, SigningError> {
        self.sign(format!("spiffe://{}/agent/{agent}/worker/{worker}", self.domain), audience, now)
    }

    /// Signs that it is a worker of `agent`, for `audience`.
    pub(crate) fn agent_identity(
        &self,
        agent: &AgentId,
        audience: &Audience,
        now: SystemTime,
    ) -> Result<Identity, SigningError> {
        self.sign(format!("spiffe://{}/agent/{agent}", self.domain), audience, now)
    }

    /// Signs who the broker itself is, for `audience`.
    pub(crate) fn own_identity(&self, audience: &Audience, now: SystemTime) -> Result<Identity, SigningError> {
        self.sign(format!("spiffe://{}/broker", self.domain), audience, now)
    }

    fn sign(&self, sub: String, audience: &Audience, now: SystemTime) -> Result<Identity, SigningError> {
        let said = audience.algorithm.or_else(|| self.audiences.get(&audience.name).copied());
        let ring = self.ring.load();
        let key = ring.signing(said.unwrap_or(self.unsaid), now).ok_or(SigningError::Key)?;
        let iat = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            iss: self.issuer.clone(),
            sub,
            aud: audience.name.clone(),
            exp: iat + IDENTITY_LIFETIME.as_secs(),
            iat,
            nbf: iat,
            jti: Uuid::new_v4().to_string(),
            act: Actor { sub: format!("spiffe://{}/broker", self.domain) },
        };
        let jwt = key.sign(&claims, key.id())?;
        Ok(Identity { subject: claims.sub, jwt, expires: UNIX_EPOCH + Duration::from_secs(claims.exp) })
    }

    /// The issuer's URL.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether a worker may have an identity for this audience just because it asks.
    pub(crate) fn may_address(&self, audience: &str) -> bool {
        audience == self.issuer || self.audiences.contains_key(audience)
    }

    /// The public keys.
    pub(crate) fn keys(&self) -> JwkSet {
        self.ring.load().published()
    }

    /// Where verifiers look first.
    pub(crate) fn discovery(&self) -> Discovery {
        Discovery {
            issuer: self.issuer.clone(),
            jwks_uri: format!("{}/.well-known/jwks.json", self.issuer),
            response_types_supported: ["id_token"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: algorithms(&self.ring.load()),
            claims_supported: ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "act"],
        }
    }

    /// Makes the keys that are due, lets go those that are over, and sees what other brokers did to the file. On an error the
    /// keys stay as they are.
    fn look_after(&self, now: SystemTime) -> Result<(), KeyFileError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = match &self.keeping {
            Keeping::Given => None,
            Keeping::Memory { wanted, rotate } => renewed(&self.ring.load(), wanted, *rotate, now)?,
            Keeping::File { file, rotate } => Some(in_file(file, *rotate, now)?),
        };
        if let Some(ring) = ring {
            self.ring.store(Arc::new(ring));
        }
        Ok(())
    }

    fn unkept(&self, error: KeyFileError) -> Error {
        let what = match &self.keeping {
            Keeping::File { file, .. } => format!("`{}`", file.path().display()),
            Keeping::Memory { .. } | Keeping::Given => "in memory".to_owned(),
        };
        Error::Keys { what, source: error.into() }
    }
}

/// Looks after the keys until the broker is gone. An RSA key takes a while to make, during which others are served.
pub(crate) async fn keep(signer: Weak<Signer>) {
    loop {
        sleep(LOOK).await;
        let Some(signer) = signer.upgrade() else { return };
        let look = move || signer.look_after(SystemTime::now()).map_err(|error| signer.unkept(error));
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(reason = chain(&error), "the keys stay as they are"),
            Err(error) => tracing::error!(%error, "the keys were not looked after"),
        }
    }
}

/// The keys in the file as they are to be at `now`, which is also how they are left there.
fn in_file(file: &KeyFile, rotate: Duration, now: SystemTime) -> Result<Ring, KeyFileError> {
    let wanted = SigningAlgorithm::ALL.into();
    let found = file.read()?;
    if found.due(&wanted, rotate, now) == Default::default() {
        return Ok(found);
    }
    // Another broker may have done it meanwhile.
    let locked = file.lock()?;
    let found = file.read()?;
    match renewed(&found, &wanted, rotate, now)? {
        Some(ring) => locked.write(&ring).map(|()| ring),
        None => Ok(found),
    }
}

/// The ring with what is due done; `None` where nothing is.
fn renewed(
    ring: &Ring,
    wanted: &BTreeSet<SigningAlgorithm>,
    rotate: Duration,
    now: SystemTime,
) -> Result<Option<Ring>, SigningError> {
    let due = ring.due(wanted, rotate, now);
    if due == Default::default() {
        return Ok(None);
    }
    let mut renewed = ring.without_old(now);
    for (algorithm, signs_from) in due.make {
        let key = Arc::new(SigningKey::generate(algorithm)?);
        renewed = renewed.with(Dated { key, signs_from });
    }
    Ok(Some(renewed))
}

/// The operator's keys. The first of each kind signs for ever, the others never.
async fn given(es256: &[Source], rs256: &[Source], environment: &Environment) -> Result<Ring, Error> {
    let unusable = |algorithm: SigningAlgorithm, number: usize, source: Box<dyn std::error::Error + Send + Sync>| {
        Error::Keys { what: format!("key {} that is to sign {algorithm}", number + 1), source }
    };
    let mut keys = Vec::new();
    for (algorithm, sources) in [(SigningAlgorithm::Es256, es256), (SigningAlgorithm::Rs256, rs256)] {
        for (number, place) in sources.iter().enumerate() {
            let pem = source::read(place, environment).await;
            let pem = pem.map_err(|error| unusable(algorithm, number, error.into()))?;
            let key = SigningKey::from_pem(pem).map_err(|error| unusable(algorithm, number, error.into()))?;
            if key.algorithm() != algorithm {
                let reason = format!("it is a key that signs {}", key.algorithm());
                return Err(unusable(algorithm, number, reason.into()));
            }
            // The last whose time has come signs.
            let signs_from = UNIX_EPOCH + Duration::from_secs(u64::from(number == 0));
            keys.push(Dated { key: Arc::new(key), signs_from });
        }
    }
    Ok(Ring::new(keys))
}

fn algorithms(ring: &Ring) -> Vec<String> {
    ring.algorithms().iter().map(ToString::to_string).collect()
}
