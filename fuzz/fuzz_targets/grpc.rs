//! Where the messages of a gRPC stream end does not depend on how its bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::grpc::Messages;

fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, cut) = (input.0, usize::from(input.1).min(input.0.len()));
    let (mut at_once, mut in_two) = (Messages::default(), Messages::default());
    let whole = at_once.push(bytes);
    let cut_up = in_two.push(&bytes[..cut]).and_then(|()| in_two.push(&bytes[cut..]));
    assert_eq!(whole, cut_up);
    assert!(whole.is_err() || at_once.are_whole() == in_two.are_whole());
});
