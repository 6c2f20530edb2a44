//! One DNS query and its answer.
//!
//! Enters: the bytes of a message. Leaves: the bytes of the reply, if there is to be one, and what was asked. Never: I/O;
//! a reply to what is no query; a record other than an address of the map, its reverse, or localhost (RFC 6761); a refusal of a name that has
//! an address.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use config::DnsName;
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::AddressMap;
use super::map::Common;

/// Far below the hour for which an address keeps its name.
const TTL: u32 = 60;
/// The payload size that DNS Flag Day 2020 settled on; our replies stay below 600 bytes.
const PAYLOAD: u16 = 1232;

/// What comes of a query.
#[derive(Debug)]
pub struct Answer {
    /// The reply; `None` for what deserves none.
    pub bytes: Option<Vec<u8>>,
    /// What was asked, where it could be read and is worth a record: not that a client without a cache asks for the same once more.
    pub asked: Option<Asked>,
    /// Whether it was too much.
    pub refused: bool,
}

/// A name that the sandbox asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The name, lower case, without the trailing dot, odd bytes escaped as in RFC 4343.
    pub name: String,
    /// The type of record, like `AAAA`.
    pub kind: String,
    /// The address in the answer, where the name has one of the map.
    pub address: Option<Ipv4Addr>,
}

/// Answers one query. `admit` is asked before anything is remembered or told for it: whether it is not too much. Where it is, a name that has
/// an address is answered all the same, and told another time.
pub fn answer(query: &[u8], map: &AddressMap, now: Instant, admit: impl FnOnce() -> bool) -> Answer {
    let (mut reply, question) = match open(query) {
        Ok(opened) => opened,
        Err(bytes) => return Answer { bytes, asked: None, refused: !admit() },
    };
    let name = dns_name(question.name());
    let again = name.as_ref().zip(common(&question)).filter(|(name, _)| is_mapped(name));
    let is_told = again.is_some_and(|(name, what)| map.is_noted(name, what, now));
    let is_news = !is_told && admit();
    if !is_told && !is_news && !again.is_some_and(|(name, _)| map.knows(name)) {
        reply.metadata.response_code = ResponseCode::Refused;
        return Answer { bytes: reply.to_vec().ok(), asked: None, refused: true };
    }
    let found = find(&question, name.as_ref(), map, now);
    match &found {
        Ok(data) => reply.add_answer(Record::from_rdata(question.name().clone(), TTL, data.clone())),
        Err(ResponseCode::NoError | ResponseCode::NXDomain) => reply.add_authority(start_of_authority()),
        Err(_) => &mut reply,
    };
    reply.metadata.response_code = found.as_ref().err().copied().unwrap_or(ResponseCode::NoError);
    if let Some((name, what)) = again.filter(|_| is_news) {
        map.note(name, what, now);
    }
    Answer { bytes: reply.to_vec().ok(), asked: is_news.then(|| asked(&question, found.ok().as_ref())), refused: false }
}

fn asked(question: &Query, found: Option<&RData>) -> Asked {
    let address = match found {
        Some(RData::A(A(address))) if !address.is_loopback() => Some(*address),
        _ => None,
    };
    let name = question.name().to_lowercase().to_ascii();
    let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
    Asked { name, kind: question.query_type().to_string(), address }
}

/// What clients without a cache ask before each connection.
fn common(question: &Query) -> Option<Common> {
    match (question.query_class(), question.query_type()) {
        (DNSClass::IN, RecordType::A) => Some(Common::A),
        (DNSClass::IN, RecordType::AAAA) => Some(Common::Aaaa),
        (DNSClass::IN, RecordType::HTTPS) => Some(Common::Https),
        _ => None,
    }
}

/// Whether a name gets an address of the map.
fn is_mapped(name: &DnsName) -> bool {
    !matches!(last_label(name), "arpa" | "localhost")
}

/// Reads a query with one question and begins the reply to it; or the reply, if any, to what is not that.
fn open(query: &[u8]) -> Result<(Message, Query), Option<Vec<u8>>> {
    let Some(&[high, low, flags, ..]) = query.first_chunk::<12>() else { return Err(None) };
    // A reply to a reply would make two servers talk for ever.
    if flags & 0x80 != 0 {
        return Err(None);
    }
    let operation = OpCode::from_u8(flags >> 3 & 0x0f);
    let error = |code| Message::error_msg(u16::from_be_bytes([high, low]), operation, code).to_vec().ok();
    if operation != OpCode::Query {
        return Err(error(ResponseCode::NotImp));
    }
    let mut decoder = BinDecoder::new(query);
    let message = match Message::read(&mut decoder) {
        Ok(message) if decoder.is_empty() => message,
        _ => return Err(error(ResponseCode::FormErr)),
    };
    let [question] = &message.queries[..] else { return Err(error(ResponseCode::FormErr)) };
    let mut reply = Message::response(message.metadata.id, operation);
    reply.add_query(question.clone());
    reply.metadata.recursion_desired = message.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    if let Some(asked) = &message.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD).set_dnssec_ok(asked.flags().dnssec_ok);
        reply.set_edns(edns);
        if asked.version() > 0 {
            reply.metadata.response_code = ResponseCode::BADVERS;
            return Err(reply.to_vec().ok());
        }
    }
    let question = question.clone();
    Ok((reply, question))
}

/// The record asked for, or the code that says why there is none; `NoError` is NODATA.
fn find(question: &Query, name: Option<&DnsName>, map: &AddressMap, now: Instant) -> Result<RData, ResponseCode> {
    if question.query_class() != DNSClass::IN {
        return Err(ResponseCode::Refused);
    }
    let name = name.ok_or(ResponseCode::NXDomain)?;
    let kind = question.query_type();
    // RFC 8482: one record is enough for ANY.
    let wants_address = matches!(kind, RecordType::A | RecordType::ANY);
    if last_label(name) == "arpa" {
        let asked = reverse(name).and_then(|address| map.name_of(address, now)).ok_or(ResponseCode::NXDomain)?;
        let pointed = Name::from_ascii(format!("{asked}.")).map_err(|_| ResponseCode::ServFail)?;
        return if kind == RecordType::PTR { Ok(RData::PTR(PTR(pointed))) } else { Err(ResponseCode::NoError) };
    }
    if last_label(name) == "localhost" {
        return match kind {
            RecordType::AAAA => Ok(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
            _ if wants_address => Ok(RData::A(A(Ipv4Addr::LOCALHOST))),
            _ => Err(ResponseCode::NoError),
        };
    }
    // A name gets its address whatever type is asked for: the answers must not differ by what was asked before.
    let address = map.address_of(name, now).map_err(|_| ResponseCode::ServFail)?;
    if wants_address { Ok(RData::A(A(address))) } else { Err(ResponseCode::NoError) }
}

/// The name as the rest of the proxy knows names, unless it is none. Labels are bytes: a dot or an umlaut within one must
/// not turn it into another name.
fn dns_name(name: &Name) -> Option<DnsName> {
    let mut text = String::new();
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok().filter(|label| label.is_ascii() && !label.contains('.'))?);
    }
    text.parse().ok()
}

fn last_label(name: &DnsName) -> &str {
    name.as_str().rsplit('.').next().unwrap_or_default()
}

/// `2.0.18.198.in-addr.arpa` → 198.18.0.2.
fn reverse(name: &DnsName) -> Option<Ipv4Addr> {
    let digits = name.as_str().strip_suffix(".in-addr.arpa")?;
    let address: Ipv4Addr = digits.parse().ok()?;
    let [a, b, c, d] = address.octets();
    Some([d, c, b, a].into())
}

/// Lets a resolver remember for a minute that there is nothing (RFC 2308).
fn start_of_authority() -> Record {
    let minute = 60;
    let soa = SOA::new(Name::root(), Name::root(), 1, minute, minute, minute, TTL);
    Record::from_rdata(Name::root(), TTL, RData::SOA(soa))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn query(name: Name, kind: RecordType) -> Message {
        let mut message = Message::new(7, hickory_proto::op::MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, kind));
        message
    }

    fn map() -> AddressMap {
        AddressMap::new(Instant::now())
    }

    fn reply(message: &Message, map: &AddressMap) -> (Message, Option<Asked>) {
        let answer = answer(&message.to_vec().unwrap(), map, Instant::now(), || true);
        (Message::from_vec(&answer.bytes.unwrap()).unwrap(), answer.asked)
    }

    fn ask(name: &str, kind: RecordType, map: &AddressMap) -> (ResponseCode, Vec<RData>) {
        let (reply, _) = reply(&query(Name::from_ascii(name).unwrap(), kind), map);
        assert_eq!(reply.metadata.id, 7);
        assert_eq!(reply.queries.len(), 1);
        let soa = reply.authorities.iter().filter(|record| record.record_type() == RecordType::SOA).count();
        let code = reply.metadata.response_code;
        let negative = reply.answers.is_empty() && matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
        assert_eq!(soa == 1, negative, "{name} {kind}");
        (code, reply.answers.into_iter().map(|record| record.data).collect())
    }

    const NODATA: (ResponseCode, Vec<RData>) = (ResponseCode::NoError, Vec::new());
    const NO_NAME: (ResponseCode, Vec<RData>) = (ResponseCode::NXDomain, Vec::new());

    #[test]
    fn every_name_has_an_address_and_no_other_record() {
        let map = map();
        let a = (ResponseCode::NoError, vec![RData::A(A([198, 18, 0, 2].into()))]);
        assert_eq!(ask("api.Example.com.", RecordType::A, &map), a);
        assert_eq!(ask("api.example.com.", RecordType::ANY, &map), a);
        let b = (ResponseCode::NoError, vec![RData::A(A([198, 18, 0, 3].into()))]);
        assert_eq!(ask("single", RecordType::A, &map), b);
        for kind in [RecordType::AAAA, RecordType::HTTPS, RecordType::TXT, RecordType::NS, RecordType::Unknown(65280)] {
            assert_eq!(ask("api.example.com.", kind, &map), NODATA);
        }
    }

    #[test]
    fn what_is_no_host_name_does_not_exist() {
        let map = map();
        for name in [".", "1.2.3.4.", "1.0.0.127.in-addr.arpa.", "ipv4only.arpa.", "arpa."] {
            assert_eq!(ask(name, RecordType::A, &map), NO_NAME, "{name}");
        }
        // A dot, a space or an umlaut within a label does not make it another name.
        for labels in [vec![&b"a.example"[..]], vec![b"a b", b"example"], vec!["é".as_bytes(), b"example"]] {
            let (reply, asked) = reply(&query(Name::from_labels(labels).unwrap(), RecordType::A), &map);
            assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
            assert!(asked.unwrap().name.is_ascii());
        }
    }

    #[test]
    fn an_address_points_back_to_its_name() {
        let map = map();
        ask("api.example.com", RecordType::A, &map);
        let pointer = RData::PTR(PTR(Name::from_ascii("api.example.com.").unwrap()));
        assert_eq!(ask("2.0.18.198.in-addr.arpa.", RecordType::PTR, &map), (ResponseCode::NoError, vec![pointer]));
        assert_eq!(ask("2.0.18.198.in-addr.arpa.", RecordType::TXT, &map), NODATA);
        assert_eq!(ask("3.0.18.198.in-addr.arpa.", RecordType::PTR, &map), NO_NAME);
    }

    #[test]
    fn localhost_stays_at_home() {
        let map = map();
        let four = (ResponseCode::NoError, vec![RData::A(A(Ipv4Addr::LOCALHOST))]);
        let six = (ResponseCode::NoError, vec![RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))]);
        for name in ["localhost.", "db.LOCALHOST."] {
            assert_eq!(ask(name, RecordType::A, &map), four);
            assert_eq!(ask(name, RecordType::AAAA, &map), six);
            assert_eq!(ask(name, RecordType::MX, &map), NODATA);
        }
        assert_eq!(map.name_of([198, 18, 0, 2].into(), Instant::now()), None);
    }

    #[test]
    fn what_is_asked_is_reported() {
        let (_, asked) = reply(&query(Name::from_ascii("API.example.").unwrap(), RecordType::A), &map());
        let address = Some(Ipv4Addr::new(198, 18, 0, 2));
        assert_eq!(asked, Some(Asked { name: "api.example".into(), kind: "A".into(), address }));
    }

    #[test]
    fn a_name_that_has_an_address_is_never_too_much_and_is_told_once_a_minute() {
        let start = Instant::now();
        let map = AddressMap::new(start);
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let ask = |name: &str, kind, now, admitted| {
            let query = query(Name::from_ascii(name).unwrap(), kind).to_vec().unwrap();
            let answer = answer(&query, &map, now, || admitted);
            let code = Message::from_vec(&answer.bytes.unwrap()).unwrap().metadata.response_code;
            assert_eq!(code == ResponseCode::Refused, answer.refused);
            (answer.refused, answer.asked.is_some())
        };
        let (too_much, answered, told) = ((true, false), (false, false), (false, true));
        assert_eq!(ask("a.example", RecordType::A, start, false), too_much);
        assert_eq!(ask("a.example", RecordType::AAAA, start, true), told);
        assert_eq!(ask("A.example", RecordType::A, start, false), answered);
        assert_eq!(ask("a.example", RecordType::A, start, true), told);
        assert_eq!(ask("a.example", RecordType::AAAA, after(63), true), answered);
        // Later it is told again, as soon as there is room for it.
        for kind in [RecordType::A, RecordType::AAAA] {
            assert_eq!(ask("a.example", kind, after(64), false), answered);
            assert_eq!(ask("a.example", kind, after(65), true), told);
            assert_eq!(ask("a.example", kind, after(66), true), answered);
        }
        // What is no part of a connection's beginning is told each time, and no more often than allowed.
        assert_eq!(ask("a.example", RecordType::TXT, after(66), true), told);
        assert_eq!(ask("a.example", RecordType::TXT, after(66), true), told);
        assert_eq!(ask("a.example", RecordType::TXT, after(66), false), too_much);
        assert_eq!(ask("localhost", RecordType::A, after(66), false), too_much);
        assert_eq!(ask("b.example", RecordType::A, after(66), false), too_much);
    }

    #[test]
    fn only_a_single_internet_question_is_answered() {
        let map = map();
        let name = Name::from_ascii("a.example.").unwrap();
        let code = |message: &Message| reply(message, &map).0.metadata.response_code;
        let mut update = query(name.clone(), RecordType::A);
        update.metadata.op_code = OpCode::Update;
        assert_eq!(code(&update), ResponseCode::NotImp);
        let mut two = query(name.clone(), RecordType::A);
        two.add_query(two.queries[0].clone());
        assert_eq!(code(&two), ResponseCode::FormErr);
        let mut chaos = query(name.clone(), RecordType::TXT);
        chaos.queries[0].set_query_class(DNSClass::CH);
        assert_eq!(code(&chaos), ResponseCode::Refused);
        let plain = query(name, RecordType::A).to_vec().unwrap();
        for bytes in [&plain[..plain.len() - 1], &[&plain[..], b"x"].concat()] {
            let reply = answer(bytes, &map, Instant::now(), || true).bytes.unwrap();
            assert_eq!(Message::from_vec(&reply).unwrap().metadata.response_code, ResponseCode::FormErr);
        }
        let refused = answer(&plain, &map, Instant::now(), || false);
        assert!(refused.refused && refused.asked.is_none());
        let refused = Message::from_vec(&refused.bytes.unwrap()).unwrap();
        assert_eq!((refused.metadata.response_code, refused.queries.len()), (ResponseCode::Refused, 1));
    }

    #[test]
    fn replies_and_fragments_get_no_reply() {
        let reply = Message::response(7, OpCode::Query).to_vec().unwrap();
        for bytes in [&reply[..], b"", b"\0\x07\x01\0\0\x01\0\0\0\0\0"] {
            for admitted in [true, false] {
                let answer = answer(bytes, &map(), Instant::now(), || admitted);
                assert_eq!((answer.bytes, answer.refused), (None, !admitted));
            }
        }
    }

    #[test]
    fn edns_is_echoed_and_later_versions_are_not_pretended() {
        let mut message = query(Name::from_ascii("a.example.").unwrap(), RecordType::A);
        let mut edns = Edns::new();
        edns.set_max_payload(4096).set_dnssec_ok(true);
        message.set_edns(edns.clone());
        let (answered, _) = reply(&message, &map());
        let ours = answered.edns.unwrap();
        assert_eq!((ours.max_payload(), ours.version(), ours.flags().dnssec_ok), (PAYLOAD, 0, true));
        edns.set_version(1);
        message.set_edns(edns);
        let (answered, _) = reply(&message, &map());
        // 16 is BADVERS here and BADSIG in TSIG; the library reads it as the latter.
        assert_eq!((u16::from(answered.metadata.response_code), answered.answers.len()), (16, 0));
    }
}
