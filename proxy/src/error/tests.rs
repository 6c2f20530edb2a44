//! What refusals say, and whose fault they are.

use super::*;

#[test]
fn what_an_upstream_calls_itself_shows_no_credential() {
    let (destination, reason) = ("a.example:443".parse().unwrap(), "it is for s3cret-of-a.example".to_owned());
    let refusal = Refusal::UpstreamTls { destination, reason, remedy: "" }
        .scrubbed(&Scrub::new([("s3cret-of-a", "placeholder")]));
    assert!(refusal.to_string().ends_with("it is for placeholder.example"), "{refusal}");
}
