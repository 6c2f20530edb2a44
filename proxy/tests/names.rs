//! Whatever is asked, the name server neither falls over nor says anything but what a name's own address is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use config::DnsName;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::prelude::*;
use proxy::names::{AddressMap, answer};

fn query(name: Name, kind: u16) -> Vec<u8> {
    let mut message = Message::new(99, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, RecordType::from(kind)));
    message.to_vec().unwrap()
}

proptest! {
    #[test]
    fn any_bytes_get_a_well_formed_reply_or_none(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), flips in proptest::collection::vec((0usize..60, any::<u8>()), 0..4),
    ) {
        let now = Instant::now();
        let map = AddressMap::new(now);
        let mut near = query(Name::from_ascii("api.example.com.").unwrap(), 1);
        for (at, byte) in flips {
            let at = at % near.len();
            near[at] = byte;
        }
        for bytes in [bytes, near] {
            for reply in [true, true, false].into_iter().filter_map(|admitted| answer(&bytes, &map, now, || admitted).bytes) {
                let reply = Message::from_vec(&reply).unwrap();
                prop_assert_eq!(reply.metadata.message_type, MessageType::Response);
                prop_assert_eq!(reply.metadata.id.to_be_bytes(), [bytes[0], bytes[1]]);
                prop_assert!(!reply.metadata.truncation);
            }
        }
    }

    #[test]
    fn every_host_name_has_the_same_address_of_its_own_for_ever_and_all_else_does_not_exist(
        labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..5),
        plain in "[a-z0-9_]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{1,10}){0,5}",
        kind in 1u16..70,
    ) {
        let now = Instant::now();
        let map = AddressMap::new(now);
        let odd = Name::from_labels(labels.iter().map(Vec::as_slice));
        let plain = Name::from_ascii(format!("{plain}.")).unwrap();
        for name in odd.into_iter().chain([plain]) {
            let text: String = name.iter().map(|label| String::from_utf8_lossy(label).into_owned()).collect::<Vec<_>>().join(".");
            let is_name = labels_are_text(&name) && text.parse::<DnsName>().is_ok();
            let special = text.ends_with("arpa") || text.ends_with("localhost");
            let replies = [kind, 1, 1].map(|kind| Message::from_vec(&answer(&query(name.clone(), kind), &map, now, || true).bytes.unwrap()).unwrap());
            prop_assume!(!special);
            if is_name {
                let address = map.address_of(&text.parse().unwrap(), now).unwrap();
                prop_assert_eq!(&replies[1].answers[0].data, &RData::A(A(address)));
                prop_assert_eq!(map.name_of(address, now).unwrap().to_string(), text.to_ascii_lowercase());
                prop_assert!(kind == 1 || replies[0].answers.is_empty());
            } else {
                prop_assert!(replies.iter().all(|reply| reply.metadata.response_code == ResponseCode::NXDomain));
            }
        }
    }
}

fn labels_are_text(name: &Name) -> bool {
    name.iter().all(|label| label.is_ascii() && !label.contains(&b'.'))
}
