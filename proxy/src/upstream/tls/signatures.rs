//! Signatures in certificates, each verified once.
//!
//! Enters: a key, what it is said to have signed, and the signature. Leaves: whether it has. All of a house's names often show one certificate,
//! and all certificates of an authority the same intermediate: to verify such a signature again costs as much as the rest of a handshake
//! upstream, and gives the same. Name, term, purpose and chain are judged anew each time; that is not what is remembered. Never: an answer from
//! memory for what differs in one bit from what was verified; one for a signature that was wrong; more than [`MOST`] of them.

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, Digest, SHA256};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

/// So many are remembered, the oldest is forgotten first. All are looked through, which takes a hundredth of verifying one.
const MOST: usize = 128;

/// What was verified, by its digest.
#[derive(Debug)]
struct Good(Mutex<VecDeque<[u8; 32]>>);

impl Good {
    const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    fn has(&self, digest: &Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|one| one == digest.as_ref())
    }

    fn add(&self, digest: &Digest) {
        let Ok(digest) = digest.as_ref().try_into() else { return };
        let mut good = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= MOST {
            good.pop_front();
        }
        good.push_back(digest);
    }
}

/// The backend's algorithms for the signatures of certificates, with one memory: that a key has signed something is nobody's secret, and no
/// matter of who asks.
pub(super) fn remembered() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    static GOOD: Good = Good::new();
    static ALL: LazyLock<Vec<Remembered>> = LazyLock::new(|| {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        algorithms.all.iter().map(|&inner| Remembered { inner, good: &GOOD }).collect()
    });
    static LISTED: LazyLock<Vec<&dyn SignatureVerificationAlgorithm>> =
        LazyLock::new(|| ALL.iter().map(|one| one as &dyn SignatureVerificationAlgorithm).collect());
    &LISTED
}

/// One of them.
#[derive(Debug)]
struct Remembered {
    inner: &'static dyn SignatureVerificationAlgorithm,
    good: &'static Good,
}

impl Remembered {
    /// What is remembered of a signature. Each part has its length before it, so that no two signatures have the same parts.
    fn digest(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Digest {
        let (key, by) = (self.inner.public_key_alg_id(), self.inner.signature_alg_id());
        let mut context = Context::new(&SHA256);
        for part in [key.as_ref(), by.as_ref(), public_key, message, signature] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.finish()
    }
}

impl SignatureVerificationAlgorithm for Remembered {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let digest = self.digest(public_key, message, signature);
        if !self.good.has(&digest) {
            self.inner.verify_signature(public_key, message, signature)?;
            self.good.add(&digest);
        }
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.inner.fips()
    }
}

#[cfg(test)]
mod tests;
