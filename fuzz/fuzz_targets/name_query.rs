//! Any datagram gets no reply or a well-formed one with its id; an address in it is that of the name asked for.
#![no_main]

use std::time::Instant;

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::RData;
use libfuzzer_sys::fuzz_target;
use proxy::names::{AddressMap, answer};

fuzz_target!(|query: &[u8]| {
    let now = Instant::now();
    let map = AddressMap::new(now);
    let answers = [false, true, true].map(|admitted| answer(query, &map, now, || admitted));
    for (reply, answer) in answers.iter().filter_map(|answer| Some((answer.bytes.as_ref()?, answer))) {
        let reply = Message::from_vec(reply).expect("a well-formed reply");
        assert_eq!(reply.metadata.message_type, MessageType::Response);
        assert_eq!(reply.metadata.id.to_be_bytes(), query[..2]);
        for record in reply.answers {
            match record.data {
                RData::A(a) if !a.0.is_loopback() => {
                    let asked = answers[1].asked.as_ref().expect("a name");
                    assert_eq!(map.name_of(a.0, now).expect("a name").as_str(), asked.name);
                    assert!(!answer.refused && asked.address == Some(a.0));
                }
                RData::A(_) | RData::AAAA(_) => {}
                other => panic!("{other:?} was answered"),
            }
        }
    }
});
