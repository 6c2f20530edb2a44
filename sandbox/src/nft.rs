//! The NAT rules that leave one way out, as nf_tables messages.
//!
//! For: `network`. In: the ports of the two listeners. Out: one batch, all or nothing, that the kernel reads as
//!
//! ```text
//! table inet exeat { chain output { type nat hook output priority dstnat;
//!     tcp dport 53 redirect to :names
//!     udp dport 53 redirect to :names
//!     ip  daddr != 127.0.0.0/8 tcp redirect to :proxy
//!     ip6 daddr != ::1         tcp redirect to :proxy
//! } }
//! ```
//!
//! Never: a look at what is there already; the namespace is new. Numbers are those of linux/netfilter/nf_tables.h.

use crate::netlink::{ACK, APPEND, CREATE, Message, SILENT, attribute, nested};
use std::net::Ipv6Addr;

/// `NFNL_SUBSYS_NFTABLES`, the high byte of each message type, and the two messages around a batch.
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFT_MSG_*`.
const NEW_TABLE: u16 = NFTABLES << 8;
const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
const NEW_RULE: u16 = NFTABLES << 8 | 6;
/// `NFPROTO_*`.
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// `NFT_REG_1`.
const REGISTER: u32 = 1;

const TABLE: &[u8] = b"exeat\0";
const CHAIN: &[u8] = b"output\0";

/// The whole rule set.
pub(crate) fn batch(proxy: u16, names: u16) -> Vec<Message> {
    let subsystem = NFTABLES.to_be_bytes();
    let border = |kind| Message::new(kind, SILENT, &[0, 0, subsystem[0], subsystem[1]]);
    vec![
        border(BATCH_BEGIN),
        message(NEW_TABLE, CREATE).with(1, TABLE),
        message(NEW_CHAIN, CREATE)
            .with(1, TABLE)
            .with(3, CHAIN)
            .with_nested(4, |hook| {
                value(hook, 1, &3_u32.to_be_bytes()); // NF_INET_LOCAL_OUT
                value(hook, 2, &(-100_i32).to_be_bytes()); // dstnat
            })
            .with(7, b"nat\0"),
        rule(|list| {
            protocol(list, libc::IPPROTO_TCP);
            port_is_53(list);
            redirect(list, names);
        }),
        rule(|list| {
            protocol(list, libc::IPPROTO_UDP);
            port_is_53(list);
            redirect(list, names);
        }),
        rule(|list| {
            family(list, IPV4);
            protocol(list, libc::IPPROTO_TCP);
            payload(list, NETWORK, 16, 1); // the first byte of the destination
            compare(list, NOT_EQUAL, &[127]);
            redirect(list, proxy);
        }),
        rule(|list| {
            family(list, IPV6);
            protocol(list, libc::IPPROTO_TCP);
            payload(list, NETWORK, 24, 16); // the destination
            compare(list, NOT_EQUAL, &Ipv6Addr::LOCALHOST.octets());
            redirect(list, proxy);
        }),
        border(BATCH_END),
    ]
}

fn message(kind: u16, flags: u16) -> Message {
    Message::new(kind, flags | ACK, &[INET, 0, 0, 0])
}

fn rule(fill: impl FnOnce(&mut Vec<u8>)) -> Message {
    message(NEW_RULE, APPEND).with(1, TABLE).with(2, CHAIN).with_nested(4, fill)
}

fn value(to: &mut Vec<u8>, kind: u16, bytes: &[u8]) {
    attribute(to, kind, |inner| inner.extend(bytes));
}

fn number(to: &mut Vec<u8>, kind: u16, number: u32) {
    value(to, kind, &number.to_be_bytes());
}

fn expression(list: &mut Vec<u8>, name: &[u8], fill: impl FnOnce(&mut Vec<u8>)) {
    nested(list, 1, |element| {
        value(element, 1, name);
        nested(element, 2, fill);
    });
}

/// `meta`: loads a fact about the packet.
fn meta(list: &mut Vec<u8>, key: u32) {
    expression(list, b"meta\0", |meta| {
        number(meta, 1, REGISTER);
        number(meta, 2, key);
    });
}

/// `NFT_META_NFPROTO`.
fn family(list: &mut Vec<u8>, family: u8) {
    meta(list, 15);
    compare(list, EQUAL, &[family]);
}

/// `NFT_META_L4PROTO`.
fn protocol(list: &mut Vec<u8>, protocol: i32) {
    meta(list, 16);
    compare(list, EQUAL, &[protocol.to_le_bytes()[0]]);
}

const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// `payload`: loads bytes of a header.
fn payload(list: &mut Vec<u8>, base: u32, offset: u32, length: u32) {
    expression(list, b"payload\0", |payload| {
        for (kind, field) in [(1, REGISTER), (2, base), (3, offset), (4, length)] {
            number(payload, kind, field);
        }
    });
}

/// The destination port, at the same place for TCP and UDP.
fn port_is_53(list: &mut Vec<u8>) {
    payload(list, TRANSPORT, 2, 2);
    compare(list, EQUAL, &53_u16.to_be_bytes());
}

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

/// `cmp`: goes on only if the loaded bytes compare so.
fn compare(list: &mut Vec<u8>, operator: u32, with: &[u8]) {
    expression(list, b"cmp\0", |compare| {
        number(compare, 1, REGISTER);
        number(compare, 2, operator);
        nested(compare, 3, |data| value(data, 1, with));
    });
}

/// `immediate` and `redir`: the destination becomes this namespace's loopback, at `port`.
fn redirect(list: &mut Vec<u8>, port: u16) {
    expression(list, b"immediate\0", |immediate| {
        number(immediate, 1, REGISTER);
        nested(immediate, 2, |data| value(data, 1, &port.to_be_bytes()));
    });
    expression(list, b"redir\0", |redirect| number(redirect, 1, REGISTER));
}
