//! A certificate in the database in which NSS keeps what a user trusts.
//!
//! For: `stores`. In: a certificate. Out: `cert9.db`, with it as an authority for TLS servers and nothing else. Never: a key.
//!
//! NSS makes what is missing beside it (`key4.db`, `pkcs11.txt`) when it is first opened to be written to, as browsers do.

use crate::{
    certificate::Certificate,
    sqlite::{Row, Value, database},
};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

const TABLE: &str = "nssPublic";
/// All that NSS 3.87 makes, so that it can add to the table: the numbers of PKCS#11's attributes in hexadecimal.
const COLUMNS: &str = "id a0 a1 a2 a3 a10 a11 a12 a80 a81 a82 a83 a84 a85 a86 a87 a88 a89 a8a a8b a90 a100 a101 a102 a103 a104 a105 \
    a106 a107 a108 a109 a10a a10b a10c a110 a111 a120 a121 a122 a123 a124 a125 a126 a127 a128 a129 a130 a131 a132 a133 a134 a160 \
    a161 a162 a163 a164 a165 a166 a170 a180 a181 a200 a201 a202 a210 a300 a301 a302 a400 a401 a402 a403 a404 a405 a406 a480 a481 \
    a482 a500 a501 a502 a503 a40000211 a40000212 a80000001 ace534351 ace534352 ace534353 ace534354 ace534355 ace534356 ace534357 \
    ace534358 ace534364 ace534365 ace534366 ace534367 ace534368 ace534369 ace534373 ace534374 ace536351 ace536352 ace536353 \
    ace536354 ace536355 ace536356 ace536357 ace536358 ace536359 ace53635a ace53635b ace53635c ace53635d ace53635e ace53635f \
    ace536360 ace5363b4 ace5363b5 ad5a0db00";

const CERTIFICATE: &[u8] = &[0, 0, 0, 1];
const TRUST: &[u8] = &[0xce, 0x53, 0x43, 0x53];
const TRUSTED_DELEGATOR: &[u8] = &[0xce, 0x53, 0x43, 0x52];
const MUST_VERIFY: &[u8] = &[0xce, 0x53, 0x43, 0x53];
const YES: &[u8] = &[1];
const NO: &[u8] = &[0];
const LABEL: &[u8] = b"exeat worker";

/// The database. `None` of what is no certificate, or too large for a worker's.
pub(crate) fn database_of(certificate: &Certificate) -> Option<Vec<u8>> {
    let columns: Vec<&str> = COLUMNS.split(' ').collect();
    let names = certificate.names()?;
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
    let certified: &[(&str, &[u8])] = &[
        ("a0", CERTIFICATE),
        ("a1", YES), // on the store
        ("a2", NO),  // private
        ("a3", LABEL),
        ("a11", certificate.der()),
        ("a80", &[0; 4]), // X.509
        ("a81", &names.issuer),
        ("a82", &names.serial),
        ("a101", &names.subject),
        ("a102", hash.as_ref()),
        ("a170", YES), // can be changed
    ];
    let trusted: &[(&str, &[u8])] = &[
        ("a0", TRUST),
        ("a1", YES),
        ("a2", NO),
        ("a81", &names.issuer),
        ("a82", &names.serial),
        ("a170", YES),
        ("ace536358", TRUSTED_DELEGATOR), // TLS servers
        ("ace536359", MUST_VERIFY),       // TLS clients, code, mail
        ("ace53635a", MUST_VERIFY),
        ("ace53635b", MUST_VERIFY),
        ("ace536360", NO), // more cipher than its time was allowed
        ("ace5363b4", hash.as_ref()),
    ];
    let mut rows = Vec::new();
    for (number, values) in [(1, certified), (2, trusted)] {
        let place = |name: &str| columns.iter().position(|column| *column == name);
        let values = values.iter().map(|(name, value)| Some((place(name)?, Value::Blob(value))));
        rows.push(Row { number, values: values.collect::<Option<_>>()? });
    }
    database(TABLE, &columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate;
    use std::fs;

    #[test]
    fn every_certificate_of_the_machines_makes_a_database_of_two_pages() {
        let bundle = fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap();
        let certificates = certificate::from_pem(&bundle);
        assert!(certificates.len() > 50, "install ca-certificates");
        for certificate in &certificates {
            assert_eq!(database_of(certificate).map(|file| file.len()), Some(2 * 4096));
        }
    }
}
