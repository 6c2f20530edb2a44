//! The trusted certificates in the one form Java reads.
//!
//! For: `trust`. In: certificates. Out: a JKS key store of the password Java's own has. Never: a key. The format is that of
//! sun.security.provider.JavaKeyStore: header, entries, and a SHA-1 over password, a fixed phrase and all before it.

use crate::certificate;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use std::cell::Cell;

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
/// Bytes of a number.
const LENGTH: usize = 4;
const PASSWORD: &str = "changeit";
const PHRASE: &[u8] = b"Mighty Aphrodite";

/// Of every certificate in these PEM texts. Each is decoded to where it stays: a machine has a hundred and fifty.
pub(crate) fn of(texts: &[&[u8]]) -> Vec<u8> {
    // Base64 takes a third more than what it says, and a name of each a few bytes.
    let mut store = Vec::with_capacity(texts.iter().map(|text| text.len()).sum());
    store.extend(MAGIC.to_be_bytes());
    store.extend(VERSION.to_be_bytes());
    let (counted, count) = (store.len(), Cell::new(0));
    store.extend([0; LENGTH]);
    let before = |store: &mut Vec<u8>| {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(store, &format!("ca-{}", count.get()));
        store.extend([0; 8]); // when it was added
        text(store, "X.509");
        store.extend([0; LENGTH]);
    };
    for pem in texts {
        certificate::append_each(pem, &mut store, before, |store, begin| {
            let length = store.len() - begin;
            write(store, begin - LENGTH, length);
            count.set(count.get() + 1);
        });
    }
    write(&mut store, counted, count.get());
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(&PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>());
    digest.update(PHRASE);
    digest.update(&store);
    store.extend(digest.finish().as_ref());
    store
}

fn text(store: &mut Vec<u8>, text: &str) {
    store.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    store.extend(text.as_bytes());
}

fn write(store: &mut [u8], at: usize, number: usize) {
    store[at..at + LENGTH].copy_from_slice(&u32::try_from(number).unwrap_or(0).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::from_pem;

    #[test]
    fn it_has_each_certificate_that_can_be_read_and_says_how_many() {
        let bundle = std::fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap();
        let spoilt = b"-----BEGIN CERTIFICATE-----\nAAAA!AAA\n-----END CERTIFICATE-----\n";
        let store = of(&[spoilt, &bundle, b"", spoilt, &bundle[..bundle.len() / 2]]);
        let all: Vec<_> = from_pem(&bundle).into_iter().chain(from_pem(&bundle[..bundle.len() / 2])).collect();
        let number = |at: usize| u32::from_be_bytes(store[at..at + LENGTH].try_into().unwrap());
        assert_eq!((number(0), number(4), number(8) as usize), (MAGIC, VERSION, all.len()));
        let mut at = 12;
        for (index, certificate) in all.iter().enumerate() {
            let name = format!("ca-{index}");
            at += LENGTH + 2;
            assert_eq!(&store[at..at + name.len()], name.as_bytes());
            at += name.len() + 8 + 2 + "X.509".len();
            assert_eq!(number(at) as usize, certificate.der().len());
            at += LENGTH;
            assert_eq!(&store[at..at + certificate.der().len()], certificate.der());
            at += certificate.der().len();
        }
        assert_eq!(store.len(), at + 20);
    }
}
