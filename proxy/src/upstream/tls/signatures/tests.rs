//! What is remembered of a signature, and what is not.

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{KeyPair, PublicKeyData, SigningKey};

use super::*;

/// One that counts how often it is asked.
#[derive(Debug)]
struct Asked(&'static dyn SignatureVerificationAlgorithm, AtomicUsize);

impl SignatureVerificationAlgorithm for Asked {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }
}

/// ECDSA on P-256 with SHA-256, with a memory of its own, and what counts behind it.
fn fresh() -> (Remembered, &'static Asked) {
    let asked: &Asked = Box::leak(Box::new(Asked(webpki_p256(), AtomicUsize::new(0))));
    (Remembered { inner: asked, good: Box::leak(Box::new(Good::new())) }, asked)
}

fn webpki_p256() -> &'static dyn SignatureVerificationAlgorithm {
    use rustls_pki_types::alg_id::{ECDSA_P256, ECDSA_SHA256};
    let is_it = |one: &&dyn SignatureVerificationAlgorithm| {
        one.public_key_alg_id() == ECDSA_P256 && one.signature_alg_id() == ECDSA_SHA256
    };
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    algorithms.all.iter().copied().find(is_it).unwrap()
}

#[test]
fn a_signature_that_was_good_is_verified_once_and_what_differs_in_one_bit_is_another() {
    let (remembered, asked) = fresh();
    let key = KeyPair::generate().unwrap();
    let message = b"a certificate";
    let parts = [key.der_bytes().to_vec(), message.to_vec(), key.sign(message).unwrap()];
    let verified = |[key, message, signature]: &[Vec<u8>; 3]| remembered.verify_signature(key, message, signature);
    for _ in 0..3 {
        verified(&parts).unwrap();
    }
    assert_eq!(asked.1.load(Ordering::Relaxed), 1);
    let (mut others, bits) = (0, |part: usize| 0..parts[part].len() * 8);
    for (part, bit) in (0..3).flat_map(|part| bits(part).map(move |bit| (part, bit))) {
        let mut other = parts.clone();
        other[part][bit / 8] ^= 1 << (bit % 8);
        others += 1;
        assert!(verified(&other).is_err(), "bit {bit} of part {part}");
    }
    // A byte that one part gives to the next.
    let [key, message, signature] = &parts;
    let (first, rest) = signature.split_first().unwrap();
    assert!(verified(&[key.clone(), [&message[..], &[*first]].concat(), rest.to_vec()]).is_err());
    assert_eq!(asked.1.load(Ordering::Relaxed), 1 + others + 1);
    assert_eq!(remembered.good.0.lock().unwrap().len(), 1);
}

#[test]
fn a_signature_that_was_wrong_is_wrong_again() {
    let (remembered, asked) = fresh();
    let key = KeyPair::generate().unwrap();
    let signature = key.sign(b"a certificate").unwrap();
    for times in 1..=3 {
        assert!(remembered.verify_signature(key.der_bytes(), b"another one", &signature).is_err());
        assert_eq!(asked.1.load(Ordering::Relaxed), times);
    }
    assert!(remembered.good.0.lock().unwrap().is_empty());
}

#[test]
fn so_many_are_remembered_and_no_more() {
    let (remembered, asked) = fresh();
    let key = KeyPair::generate().unwrap();
    let all = (0..=MOST).map(|number| (number.to_be_bytes(), key.sign(&number.to_be_bytes()).unwrap()));
    let all: Vec<_> = all.collect();
    let verify = |(message, signature): &([u8; size_of::<usize>()], Vec<u8>)| {
        remembered.verify_signature(key.der_bytes(), message, signature).unwrap();
        asked.1.load(Ordering::Relaxed)
    };
    assert_eq!(all.iter().map(verify).last(), Some(MOST + 1));
    assert_eq!(all.iter().skip(1).map(verify).last(), Some(MOST + 1), "the last ones are remembered");
    assert_eq!(verify(&all[0]), MOST + 2, "the first is not");
    assert_eq!(remembered.good.0.lock().unwrap().len(), MOST);
}

#[test]
fn another_algorithm_has_not_verified_it() {
    let (remembered, _) = fresh();
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let digest = |inner| Remembered { inner, good: remembered.good }.digest(b"key", b"message", b"signature");
    let digests: std::collections::HashSet<_> =
        algorithms.all.iter().map(|&one| digest(one).as_ref().to_vec()).collect();
    // Two for RSA differ in the keys' lengths alone, which are part of the keys.
    let told = |one: &&dyn SignatureVerificationAlgorithm| (one.public_key_alg_id(), one.signature_alg_id());
    let kinds: std::collections::HashSet<_> =
        algorithms.all.iter().map(told).map(|(key, by)| (key.as_ref().to_vec(), by.as_ref().to_vec())).collect();
    assert_eq!(digests.len(), kinds.len());
    assert!(kinds.len() > 5);
}
