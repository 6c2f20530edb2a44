//! The trusted certificates in the one form Java reads.
//!
//! For: `trust`. In: certificates. Out: a JKS key store of the password Java's own has. Never: a key. The format is that of
//! sun.security.provider.JavaKeyStore: header, entries, and a SHA-1 over password, a fixed phrase and all before it.

use crate::certificate::Certificate;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
const PASSWORD: &str = "changeit";
const PHRASE: &[u8] = b"Mighty Aphrodite";

pub(crate) fn of<'a>(certificates: impl Iterator<Item = &'a Certificate> + Clone) -> Vec<u8> {
    let mut store = Vec::with_capacity(certificates.clone().map(|certificate| certificate.der().len() + 64).sum());
    let number = |store: &mut Vec<u8>, number: usize| store.extend(u32::try_from(number).unwrap_or(0).to_be_bytes());
    let text = |store: &mut Vec<u8>, text: &str| {
        store.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
        store.extend(text.as_bytes());
    };
    store.extend(MAGIC.to_be_bytes());
    store.extend(VERSION.to_be_bytes());
    number(&mut store, certificates.clone().count());
    for (index, certificate) in certificates.enumerate() {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &format!("ca-{index}"));
        store.extend([0; 8]); // when it was added
        text(&mut store, "X.509");
        number(&mut store, certificate.der().len());
        store.extend(certificate.der());
    }
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(&PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>());
    digest.update(PHRASE);
    digest.update(&store);
    store.extend(digest.finish().as_ref());
    store
}
