//! Where the messages of gRPC, gRPC-Web or Connect end does not depend on how their bytes are cut, and none of another flag passes than these have.
#![no_main]

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use proxy::grpc::messages;

/// And the flag beside 0.
const KINDS: [(&str, u8); 3] =
    [("application/grpc", 0), ("application/grpc-web", 0x80), ("application/connect+proto", 2)];

/// Whether a reader that has all of it finds another flag.
fn has_another(mut bytes: &[u8], last: u8) -> bool {
    while let Some((&flag, behind)) = bytes.split_first() {
        if ![0, last].contains(&flag) {
            return true;
        }
        let Some((length, behind)) = behind.split_first_chunk() else { return false };
        bytes = behind.get(u32::from_be_bytes(*length) as usize..).unwrap_or_default();
    }
    false
}

fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, cut) = (input.0, usize::from(input.1).min(input.0.len()));
    for (kind, last) in KINDS {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let new = || messages(&headers).expect("no base64").expect("messages");
        let (mut at_once, mut in_two) = (new(), new());
        let whole = at_once.push(bytes);
        let cut_up = in_two.push(&bytes[..cut]).and_then(|()| in_two.push(&bytes[cut..]));
        assert_eq!(whole, cut_up);
        assert!(whole.is_err() || at_once.are_whole() == in_two.are_whole());
        assert_eq!(whole.is_err(), has_another(bytes, last), "{kind}");
    }
});
