//! Who trusts a broker by what it publishes: a verifier of its own, which shares no code with the signer.
//!
//! Enters: the broker's URL and a JWT that it signed. Leaves: header and claims, or why they are not taken. Never: a key that the
//! discovery document does not lead to, an algorithm that the key is not for.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::authority::Authority;
use super::tools::output;

/// Header and claims of a JWT that `issuer` signed for `audience`, and that is good now.
pub fn verified(issuer: &str, jwt: &str, audience: &str) -> Result<(Value, Value), &'static str> {
    let (signed, signature) = jwt.rsplit_once('.').ok_or("no JWT")?;
    let (head, claims) = signed.split_once('.').ok_or("no JWT")?;
    let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "no base64url");
    let read = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).map_err(|_| "no JSON");
    let (head, claims, signature) = (read(head)?, read(claims)?, decoded(signature)?);
    let discovery = get(&format!("{issuer}/.well-known/openid-configuration"));
    let keys = get(discovery["jwks_uri"].as_str().ok_or("no keys are published")?);
    let mut keys = keys["keys"].as_array().into_iter().flatten();
    let key = keys.find(|key| key["kid"] == head["kid"]).ok_or("the key is not published")?;
    let part = |name: &str| decoded(key[name].as_str().unwrap_or_default());
    let good = match (head["alg"].as_str(), key["alg"].as_str()) {
        (Some("RS256"), Some("RS256")) => RsaPublicKeyComponents { n: part("n")?, e: part("e")? }
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .is_ok(),
        (Some("ES256"), Some("ES256")) => {
            let point = [&[4][..], &part("x")?, &part("y")?].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
        }
        _ => return Err("the key is for another algorithm"),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    match () {
        () if !good => Err("the signature does not verify"),
        () if claims["iss"] != issuer => Err("another issuer"),
        () if claims["aud"] != audience => Err("another audience"),
        () if !claims["exp"].as_u64().is_some_and(|exp| (now + 1..=now + 300).contains(&exp)) => Err("not now"),
        () => Ok((head, claims)),
    }
}

fn get(url: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("ca.pem");
    std::fs::write(&roots, Authority::trusted().pem()).unwrap();
    serde_json::from_str(&output(&["curl", "-sSf", "--cacert", roots.to_str().unwrap(), url])).unwrap()
}
