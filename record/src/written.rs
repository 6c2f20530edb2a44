//! A line as it is written.
//!
//! Enters: a line. Leaves: its JSON, byte for byte what serde_json makes of it; a call's start and end are put together here, as every call has
//! both: serde has to go through a map for what is flattened, and looks at each byte of a text for one to escape. Never: a field that is left
//! out, as each is named where its structure is taken apart.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::cut::Cuts;
use crate::event::{CallEnd, CallStart, CredentialUse, Event, TlsLeg};
use crate::hash::Hash;

/// A [`Line`](crate::Line), of an event that is somebody else's.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Line<'e> {
    pub seq: u64,
    pub time: Timestamp,
    pub prev: Hash,
    #[serde(flatten)]
    pub event: &'e Event,
    #[serde(skip_serializing_if = "is_empty")]
    pub cut: &'e Cuts,
}

fn is_empty(cut: &&Cuts) -> bool {
    cut.is_empty()
}

/// What was written last and is likely to come again.
#[derive(Debug, Default)]
pub(crate) struct Last {
    second: i64,
    second_text: String,
    policy: Again<str>,
    client_tls: Again<TlsLeg>,
    upstream_tls: Again<TlsLeg>,
}

/// Nearly every line has the policy of the line before it, and most connections are alike.
#[derive(Debug)]
struct Again<T: ?Sized> {
    of: Option<Arc<T>>,
    text: Vec<u8>,
}

impl<T: ?Sized> Default for Again<T> {
    fn default() -> Self {
        Self { of: None, text: Vec::new() }
    }
}

/// Puts `line` behind what is in `out`.
pub(crate) fn write(out: &mut Vec<u8>, last: &mut Last, line: &Line<'_>) -> serde_json::Result<()> {
    let Line { seq, time, prev, event, cut } = line;
    let (start, end) = match event {
        Event::CallStart(start) => (Some(start), None),
        Event::CallEnd(end) => (None, Some(end)),
        _ => return serde_json::to_writer(out, line),
    };
    let mut pen = Pen(out);
    pen.value(r#"{"seq":"#, seq)?;
    pen.time(r#","time":"#, last, *time)?;
    pen.raw(r#","prev":""#);
    pen.0.extend_from_slice(&prev.to_hex());
    pen.raw("\"");
    start.map_or(Ok(()), |start| call_start(&mut pen, last, start))?;
    end.map_or(Ok(()), |end| call_end(&mut pen, last, end))?;
    pen.value_if(r#","cut":"#, (!cut.is_empty()).then_some(cut))?;
    pen.raw("}");
    Ok(())
}

fn call_start(pen: &mut Pen<'_>, last: &mut Last, start: &CallStart) -> serde_json::Result<()> {
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
    pen.text(r#","scheme":""#, scheme)?;
    pen.text(r#","to":""#, to)?;
    pen.text(r#","method":""#, method)?;
    pen.text(r#","path":""#, path)?;
    pen.text_if(r#","query":""#, query.as_deref())?;
    pen.text_if(r#","tool":""#, tool.as_deref())?;
    pen.text(r#","http":""#, http)?;
    pen.text(r#","rule":""#, rule)?;
    pen.again(r#","policy":"#, &mut last.policy, Some(policy), |pen| pen.text("\"", policy))?;
    if let Some(CredentialUse { name, lease, places, injected, waited_ms }) = credential {
        pen.text(r#","credential":{"name":""#, name)?;
        pen.text(r#","lease":""#, lease)?;
        for (index, place) in places.iter().enumerate() {
            pen.raw(if index == 0 { r#","in":[""# } else { r#",""# });
            pen.rest(place)?;
        }
        if !places.is_empty() {
            pen.raw("]");
        }
        if *injected {
            pen.raw(r#","injected":true"#);
        }
        pen.value_if(r#","waited_ms":"#, waited_ms.as_ref())?;
        pen.raw("}");
    }
    pen.text_if(r#","client_certificate":""#, client_certificate.as_deref())?;
    pen.leg(r#","client_tls":"#, &mut last.client_tls, client_tls.as_ref())?;
    pen.value_if(r#","observed":"#, observed.as_ref())?;
    pen.value_if(r#","trace":"#, trace.as_ref())
}

fn call_end(pen: &mut Pen<'_>, last: &mut Last, end: &CallEnd) -> serde_json::Result<()> {
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
    pen.text(r#","outcome":""#, outcome)?;
    pen.value_if(r#","status":"#, status.as_ref())?;
    pen.value_if(r#","retried":"#, retried.as_ref())?;
    pen.value(r#","sent":"#, sent)?;
    pen.value(r#","received":"#, received)?;
    pen.value_if(r#","swapped":"#, (*swapped > 0).then_some(swapped))?;
    pen.value_if(r#","head_ms":"#, head_ms.as_ref())?;
    pen.value(r#","total_ms":"#, total_ms)?;
    pen.text_if(r#","address":""#, address.as_deref())?;
    pen.text_if(r#","proxy":""#, proxy.as_deref())?;
    pen.leg(r#","upstream_tls":"#, &mut last.upstream_tls, upstream_tls.as_ref())?;
    pen.value_if(r#","forbidden":"#, forbidden.as_ref())?;
    pen.value_if(r#","scrubbed":"#, (*scrubbed > 0).then_some(scrubbed))?;
    pen.text_if(r#","reason":""#, reason.as_deref())
}

/// Writes JSON; what stands before a value comes with it.
struct Pen<'o>(&'o mut Vec<u8>);

/// Whether nothing in it has to be escaped.
fn is_plain(text: &[u8]) -> bool {
    // What is no multiple of either has some of its bytes twice in one.
    match (text, text.last_chunk::<16>(), text.last_chunk::<8>()) {
        (_, Some(last), _) => {
            let mut odd = odd_bytes(*last);
            for bytes in text.as_chunks::<16>().0 {
                odd |= odd_bytes(*bytes);
            }
            odd == 0
        }
        (_, None, Some(last)) => text.first_chunk::<8>().is_some_and(|first| odd_bytes(*first) | odd_bytes(*last) == 0),
        (&[a, b, c, d, ..], ..) => {
            text.last_chunk().is_some_and(|&[e, f, g, h]| odd_bytes([a, b, c, d, e, f, g, h]) == 0)
        }
        (&[a, .., c], ..) => odd_bytes([a, text[1], c, c, c, c, c, c]) == 0,
        (&[a], ..) => odd_bytes([a; 8]) == 0,
        (&[], ..) => true,
    }
}

/// Not zero where one of these is a control character, a quotation mark or a backslash. With no way out in between they are looked at at once.
#[inline(always)]
fn odd_bytes<const N: usize>(bytes: [u8; N]) -> u8 {
    bytes
        .into_iter()
        .fold(0, |odd, byte| odd | u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\'))
}

impl Pen<'_> {
    // What is known beforehand is written without a call where this is part of who calls it.
    #[inline(always)]
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

    /// What stands before it ends with its first quotation mark.
    #[inline(always)]
    fn text(&mut self, before: &str, text: &str) -> serde_json::Result<()> {
        self.raw(before);
        self.rest(text)
    }

    fn rest(&mut self, text: &str) -> serde_json::Result<()> {
        if !is_plain(text.as_bytes()) {
            self.0.pop();
            return serde_json::to_writer(&mut *self.0, text);
        }
        self.raw(text);
        self.raw("\"");
        Ok(())
    }

    #[inline(always)]
    fn text_if(&mut self, before: &str, text: Option<&str>) -> serde_json::Result<()> {
        text.map_or(Ok(()), |text| self.text(before, text))
    }

    /// What `write` makes of it, unless it is what was written last.
    fn again<T: PartialEq + ?Sized>(
        &mut self,
        before: &str,
        last: &mut Again<T>,
        of: Option<&Arc<T>>,
        write: impl FnOnce(&mut Self) -> serde_json::Result<()>,
    ) -> serde_json::Result<()> {
        let Some(of) = of else { return Ok(()) };
        self.raw(before);
        if last.of.as_ref().is_some_and(|last| Arc::ptr_eq(last, of) || last == of) {
            self.0.extend_from_slice(&last.text);
            return Ok(());
        }
        let from = self.0.len();
        write(self)?;
        *last = Again { of: Some(Arc::clone(of)), text: self.0[from..].to_vec() };
        Ok(())
    }

    fn leg(&mut self, before: &str, last: &mut Again<TlsLeg>, leg: Option<&Arc<TlsLeg>>) -> serde_json::Result<()> {
        self.again(before, last, leg, |pen| leg.map_or(Ok(()), |leg| pen.value("", leg)))
    }

    fn time(&mut self, before: &str, last: &mut Last, time: Timestamp) -> serde_json::Result<()> {
        let (second, Ok(mut rest)) = (time.as_second(), u32::try_from(time.subsec_nanosecond())) else {
            return self.value(before, &time);
        };
        if second < 0 {
            return self.value(before, &time);
        }
        if last.second != second || last.second_text.is_empty() {
            let whole = time - jiff::SignedDuration::from_nanos(i64::from(rest));
            (last.second, last.second_text) = (second, whole.to_string().trim_end_matches('Z').to_owned());
        }
        self.raw(before);
        self.raw("\"");
        self.raw(&last.second_text);
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
mod tests;
