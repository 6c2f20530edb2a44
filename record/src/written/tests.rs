//! What is written by hand is what serde would write, of any event.
//!
//! Enters: events of any text. Leaves: two lines of each. Never: two that differ.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::cut::Whole;
use crate::event::{NameAsked, Observed, Retried, Trace};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,20}", "\\PC{0,9}", "[\u{0}-\u{7f}]{0,9}"]
}

fn some<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    option::of(strategy)
}

fn leg() -> impl Strategy<Value = Arc<TlsLeg>> {
    (text(), text(), some(text()), some(text()))
        .prop_map(|(version, cipher, group, alpn)| Arc::new(TlsLeg { version, cipher, group, alpn }))
}

fn credential() -> impl Strategy<Value = CredentialUse> {
    let places = proptest::collection::vec(text().prop_map(Cow::from), 0..3);
    (text(), text(), places, any::<bool>(), some(any::<f64>())).prop_map(
        |(name, lease, places, injected, waited_ms)| CredentialUse { name, lease, places, injected, waited_ms },
    )
}

fn start() -> impl Strategy<Value = Event> {
    let texts = (text(), text(), text(), text(), text(), text(), text());
    let options = (some(text()), some(text()), some(text()));
    let rest = (some(credential()), some(leg()), some((text(), text())), some((text(), text(), text())));
    (any::<u64>(), any::<u64>(), texts, options, rest).prop_map(|(call, connection, texts, options, rest)| {
        let (scheme, to, method, path, http, rule, policy) = texts;
        let (query, tool, client_certificate) = options;
        let (credential, client_tls, observed, trace) = rest;
        let observed = observed.map(|(kind, reason)| Observed { kind, reason });
        let trace = trace.map(|(trace_id, span_id, parent)| Trace { trace_id, span_id, parent });
        Event::CallStart(CallStart {
            call,
            connection,
            scheme: scheme.into(),
            to,
            method: method.into(),
            path,
            query,
            tool,
            http: http.into(),
            rule,
            policy: policy.into(),
            credential,
            client_certificate,
            client_tls,
            observed,
            trace,
        })
    })
}

fn end() -> impl Strategy<Value = Event> {
    let counts = (any::<u64>(), any::<u64>(), any::<u64>(), 0..2_u64, 0..2_u64);
    let times = (some(any::<f64>()), any::<f64>());
    let texts = (text(), some(text()), some(text()), some(text()));
    let rest = (some(any::<u16>()), some((text(), text())), some(leg()), some(any::<std::net::IpAddr>()));
    (counts, times, texts, rest).prop_map(|(counts, (head_ms, total_ms), texts, rest)| {
        let (call, sent, received, swapped, scrubbed) = counts;
        let (outcome, address, proxy, reason) = texts;
        let (status, retried, upstream_tls, forbidden) = rest;
        let retried = retried.map(|(refused, lease)| Retried { refused, lease });
        Event::CallEnd(CallEnd {
            call,
            outcome: outcome.into(),
            status,
            retried,
            sent,
            received,
            swapped,
            head_ms,
            total_ms,
            address: address.map(Arc::from),
            proxy,
            upstream_tls,
            forbidden,
            scrubbed,
            reason,
        })
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    let near = (0_i64..3, prop_oneof![Just(0), Just(100_000_000), 0..1_000_000_000])
        .prop_map(|(second, nanos)| Timestamp::new(1_795_705_858 + second, nanos).unwrap());
    prop_oneof![
        4 => near,
        1 => (Timestamp::MIN.as_second()..Timestamp::MAX.as_second()).prop_map(|second| Timestamp::from_second(second).unwrap()),
        1 => (-9_999_i64..9_999).prop_map(|nanos| Timestamp::from_nanosecond(nanos.into()).unwrap()),
    ]
}

fn other() -> impl Strategy<Value = Event> {
    (text(), text()).prop_map(|(name, kind)| Event::NameAsked(NameAsked { name, kind }))
}

proptest! {
    #[test]
    fn what_has_to_be_escaped_is_found_wherever_it_is(text in "[ -~\u{0}-\u{ff}€]{0,40}") {
        let expected = serde_json::to_string(&text).unwrap() == format!("\"{text}\"");
        prop_assert_eq!(is_plain(text.as_bytes()), expected);
    }

    #[test]
    fn lines_are_written_as_serde_writes_them(
        events in proptest::collection::vec((time(), prop_oneof![4 => start(), 4 => end(), 1 => other()]), 1..5),
        seq: u64,
        prev: [u8; 32],
        cut in proptest::collection::btree_map(Just(Cow::from("path")), any::<(u64, [u8; 32])>(), 0..2),
    ) {
        let whole = |(field, (bytes, hash))| (field, Whole { bytes, sha256: Hash::from(hash) });
        let cut: Cuts = cut.into_iter().map(whole).collect();
        let mut last = Last::default();
        for (time, event) in events {
            let line = Line { seq, time, prev: Hash::from(prev), event: &event, cut: &cut };
            let mut written = b"before".to_vec();
            write(&mut written, &mut last, &line).unwrap();
            let expected = crate::Line { seq, time, prev: Hash::from(prev), event: event.clone(), cut: cut.clone() };
            let expected = serde_json::to_string(&expected).unwrap();
            prop_assert_eq!(std::str::from_utf8(&written[6..]).unwrap(), expected);
        }
    }
}
