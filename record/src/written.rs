//! A line as it is written.
//!
//! Enters: a line. Leaves: its JSON, byte for byte what serde_json makes of it; a call's start and end are put together here, as every call has
//! both: serde has to go through a map for what is flattened, and looks at each byte of a text for one to escape. Never: a field that is left
//! out, as each is named where its structure is taken apart.

use jiff::Timestamp;
use serde::Serialize;

use crate::event::{CallEnd, CallStart, CredentialUse, Event, Line, TlsLeg};

/// The last second that was written out: nearly every line has the one of the line before it.
#[derive(Debug, Default)]
pub(crate) struct Second {
    second: i64,
    text: String,
}

/// Puts `line` behind what is in `out`.
pub(crate) fn write(out: &mut Vec<u8>, last: &mut Second, line: &Line) -> serde_json::Result<()> {
    let Line { seq, time, prev, event } = line;
    let (start, end) = match event {
        Event::CallStart(start) => (Some(start), None),
        Event::CallEnd(end) => (None, Some(end)),
        _ => return serde_json::to_writer(out, line),
    };
    let mut pen = Pen(out);
    pen.value(r#"{"seq":"#, seq)?;
    pen.time(r#","time":"#, last, *time)?;
    pen.value(r#","prev":"#, prev)?;
    start.map_or(Ok(()), |start| call_start(&mut pen, start))?;
    end.map_or(Ok(()), |end| call_end(&mut pen, end))?;
    pen.raw("}");
    Ok(())
}

fn call_start(pen: &mut Pen<'_>, start: &CallStart) -> serde_json::Result<()> {
    let CallStart {
        call,
        connection,
        scheme,
        to,
        method,
        path,
        query,
        tool,
        http,
        rule,
        policy,
        credential,
        client_certificate,
        client_tls,
        observed,
        trace,
    } = start;
    pen.value(r#","event":"call-start","call":"#, call)?;
    pen.value(r#","connection":"#, connection)?;
    pen.text(r#","scheme":"#, scheme)?;
    pen.text(r#","to":"#, to)?;
    pen.text(r#","method":"#, method)?;
    pen.text(r#","path":"#, path)?;
    pen.text_if(r#","query":"#, query.as_deref())?;
    pen.text_if(r#","tool":"#, tool.as_deref())?;
    pen.text(r#","http":"#, http)?;
    pen.text(r#","rule":"#, rule)?;
    pen.text(r#","policy":"#, policy)?;
    if let Some(CredentialUse { name, lease, places, injected, waited_ms }) = credential {
        pen.text(r#","credential":{"name":"#, name)?;
        pen.text(r#","lease":"#, lease)?;
        for (index, place) in places.iter().enumerate() {
            pen.text(if index == 0 { r#","in":["# } else { "," }, place)?;
        }
        pen.raw(if places.is_empty() { "" } else { "]" });
        pen.raw(if *injected { r#","injected":true"# } else { "" });
        pen.value_if(r#","waited_ms":"#, waited_ms.as_ref())?;
        pen.raw("}");
    }
    pen.text_if(r#","client_certificate":"#, client_certificate.as_deref())?;
    pen.leg(r#","client_tls":"#, client_tls.as_ref())?;
    pen.value_if(r#","observed":"#, observed.as_ref())?;
    pen.value_if(r#","trace":"#, trace.as_ref())
}

fn call_end(pen: &mut Pen<'_>, end: &CallEnd) -> serde_json::Result<()> {
    let CallEnd {
        call,
        outcome,
        status,
        retried,
        sent,
        received,
        swapped,
        head_ms,
        total_ms,
        address,
        proxy,
        upstream_tls,
        forbidden,
        scrubbed,
        reason,
    } = end;
    pen.value(r#","event":"call-end","call":"#, call)?;
    pen.text(r#","outcome":"#, outcome)?;
    pen.value_if(r#","status":"#, status.as_ref())?;
    pen.value_if(r#","retried":"#, retried.as_ref())?;
    pen.value(r#","sent":"#, sent)?;
    pen.value(r#","received":"#, received)?;
    pen.value_if(r#","swapped":"#, (*swapped > 0).then_some(swapped))?;
    pen.value_if(r#","head_ms":"#, head_ms.as_ref())?;
    pen.value(r#","total_ms":"#, total_ms)?;
    pen.text_if(r#","address":"#, address.as_deref())?;
    pen.text_if(r#","proxy":"#, proxy.as_deref())?;
    pen.leg(r#","upstream_tls":"#, upstream_tls.as_ref())?;
    pen.value_if(r#","forbidden":"#, forbidden.as_ref())?;
    pen.value_if(r#","scrubbed":"#, (*scrubbed > 0).then_some(scrubbed))?;
    pen.text_if(r#","reason":"#, reason.as_deref())
}

/// Writes JSON; what stands before a value comes with it.
struct Pen<'o>(&'o mut Vec<u8>);

impl Pen<'_> {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn value(&mut self, before: &str, value: &impl Serialize) -> serde_json::Result<()> {
        self.raw(before);
        serde_json::to_writer(&mut *self.0, value)
    }

    fn value_if(&mut self, before: &str, value: Option<&impl Serialize>) -> serde_json::Result<()> {
        value.map_or(Ok(()), |value| self.value(before, value))
    }

    fn text(&mut self, before: &str, text: &str) -> serde_json::Result<()> {
        // With no way out of the loop sixteen bytes are looked at at once.
        let plain = text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
        if !plain {
            return self.value(before, &text);
        }
        self.raw(before);
        self.raw("\"");
        self.raw(text);
        self.raw("\"");
        Ok(())
    }

    fn text_if(&mut self, before: &str, text: Option<&str>) -> serde_json::Result<()> {
        text.map_or(Ok(()), |text| self.text(before, text))
    }

    fn leg(&mut self, before: &str, leg: Option<&TlsLeg>) -> serde_json::Result<()> {
        let Some(TlsLeg { version, cipher, alpn }) = leg else { return Ok(()) };
        self.raw(before);
        self.text(r#"{"version":"#, version)?;
        self.text(r#","cipher":"#, cipher)?;
        self.text_if(r#","alpn":"#, alpn.as_deref())?;
        self.raw("}");
        Ok(())
    }

    fn time(&mut self, before: &str, last: &mut Second, time: Timestamp) -> serde_json::Result<()> {
        let (second, Ok(mut rest)) = (time.as_second(), u32::try_from(time.subsec_nanosecond())) else {
            return self.value(before, &time);
        };
        if second < 0 {
            return self.value(before, &time);
        }
        if last.second != second || last.text.is_empty() {
            let whole = time - jiff::SignedDuration::from_nanos(i64::from(rest));
            (last.second, last.text) = (second, whole.to_string().trim_end_matches('Z').to_owned());
        }
        self.raw(before);
        self.raw("\"");
        self.raw(&last.text);
        if rest > 0 {
            let mut digits = *b".000000000";
            for digit in digits[1..].iter_mut().rev() {
                *digit += (rest % 10) as u8;
                rest /= 10;
            }
            let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
            self.0.extend_from_slice(&digits[..digits.len() - zeros]);
        }
        self.raw("Z\"");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Observed, Retried, Trace};
    use crate::hash::Hash;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[ -~]{0,20}", "\\PC{0,9}", "[\u{0}-\u{7f}]{0,9}"]
    }

    fn some<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
        option::of(strategy)
    }

    fn leg() -> impl Strategy<Value = TlsLeg> {
        (text(), text(), some(text())).prop_map(|(version, cipher, alpn)| TlsLeg { version, cipher, alpn })
    }

    fn credential() -> impl Strategy<Value = CredentialUse> {
        let places = proptest::collection::vec(text(), 0..3);
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
                scheme,
                to,
                method,
                path,
                query,
                tool,
                http,
                rule,
                policy,
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
                outcome,
                status,
                retried,
                sent,
                received,
                swapped,
                head_ms,
                total_ms,
                address,
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

    proptest! {
        #[test]
        fn lines_are_written_as_serde_writes_them(
            events in proptest::collection::vec((time(), prop_oneof![start(), end()]), 1..5),
            seq: u64,
            prev: [u8; 32],
        ) {
            let mut last = Second::default();
            for (time, event) in events {
                let line = Line { seq, time, prev: Hash::from(prev), event };
                let mut written = b"before".to_vec();
                write(&mut written, &mut last, &line).unwrap();
                let expected = serde_json::to_string(&line).unwrap();
                prop_assert_eq!(std::str::from_utf8(&written[6..]).unwrap(), expected);
            }
        }
    }
}
