//! The trace that a call belongs to (W3C Trace Context).
//!
//! Enters: a request's head. Leaves: the trace that its client says it is part of, exeat's own span in it, and both fields as they go
//! upstream. Never: a field made up where the client sent none; one that could be read in two ways passed on; a placeholder read as a trace.

use aws_lc_rs::rand;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::request::remove_any;
use crate::swap::Swap;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-` and 32, 16 and 2 digits (section 3.2.2.1); later versions begin like it (section 3.2.4).
const LENGTH: usize = 55;
/// The flags that version 00 knows: sampled, and random trace id (section 3.2.2.5). The others are sent as zeros.
const FLAGS: u8 = 0b11;

/// A call's place in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    id: String,
    parent: String,
    span: String,
    flags: u8,
}

impl Trace {
    /// The trace that a request says it is part of, with a new span. `None` where it says nothing that has one reading: whoever
    /// receives that begins a trace of its own. `None` also where a placeholder is in it, which is no trace, and no log's.
    pub fn of(headers: &HeaderMap, swap: &Swap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let (id, parent, flags) = parse(value.as_bytes()).filter(|_| !holds_placeholder(headers, swap))?;
        Some(Self { id, parent, span: new_span()?, flags })
    }

    /// Something within this call, as a span of its own.
    pub(crate) fn below(&self) -> Option<Self> {
        Some(Self { parent: self.span.clone(), span: new_span()?, ..self.clone() })
    }

    /// As the log has it.
    pub(crate) fn record(&self) -> record::Trace {
        record::Trace { trace_id: self.id.clone(), span_id: self.span.clone(), parent: self.parent.clone() }
    }

    /// Its 32 digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The 16 digits of the client's span.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// The 16 digits of the span that this call is.
    pub fn span(&self) -> &str {
        &self.span
    }

    /// The field as it goes upstream: the same trace, and this call as the parent.
    fn field(&self) -> HeaderValue {
        let Self { id, span, flags, .. } = self;
        // Digits and dashes only.
        HeaderValue::from_str(&format!("00-{id}-{span}-{flags:02x}")).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Puts what goes upstream in the place of what came, before anything is swapped: where a placeholder is, the fields are like any others.
pub fn pass_on(headers: &mut HeaderMap, trace: Option<&Trace>, swap: &Swap) {
    match trace {
        _ if holds_placeholder(headers, swap) => {}
        // `tracestate` passes as it came.
        Some(trace) => drop(headers.insert(TRACEPARENT, trace.field())),
        // Without its parent the state belongs to no trace (section 3.3).
        None => remove_any(headers, &[TRACEPARENT, TRACESTATE]),
    }
}

fn holds_placeholder(headers: &HeaderMap, swap: &Swap) -> bool {
    let fields = [TRACEPARENT, TRACESTATE];
    fields.iter().flat_map(|field| headers.get_all(field)).any(|value| swap.is_in(value.as_bytes()))
}

fn parse(field: &[u8]) -> Option<(String, String, u8)> {
    let text = std::str::from_utf8(field).ok()?;
    let version = digits(text.get(..2)?)?;
    match version {
        0 if text.len() == LENGTH => {}
        // What a later version has behind it is not known here.
        1..=0xfe if text.len() == LENGTH || text.as_bytes().get(LENGTH) == Some(&b'-') => {}
        _ => return None,
    }
    let mut parts = text.get(..LENGTH)?.split('-');
    let (_, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && id.len() == 32 && parent.len() == 16 && flags.len() == 2;
    let said = [id, parent].into_iter().all(|part| is_hex(part) && part.bytes().any(|digit| digit != b'0'));
    (whole && said).then_some((id.to_owned(), parent.to_owned(), digits(flags)? & FLAGS))
}

/// Digits are small letters; capitals are no other spelling of the same.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn digits(two: &str) -> Option<u8> {
    is_hex(two).then(|| u8::from_str_radix(two, 16).ok()).flatten()
}

/// Nothing but zeros is no span. Without random bytes the trace is begun anew by whoever comes next.
fn new_span() -> Option<String> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).ok()?;
    bytes[7] |= u8::from(bytes == [0; 8]);
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn head(fields: &[&str]) -> HeaderMap {
        let field = |value: &&str| (TRACEPARENT, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        fields.iter().map(field).chain([(TRACESTATE, HeaderValue::from_static("vendor=1"))]).collect()
    }

    fn read(headers: &HeaderMap) -> Option<Trace> {
        Trace::of(headers, &Swap::new(Vec::new()))
    }

    fn passed_on(fields: &[&str]) -> HeaderMap {
        let mut head = head(fields);
        let trace = read(&head);
        pass_on(&mut head, trace.as_ref(), &Swap::new(Vec::new()));
        head
    }

    #[test]
    fn a_call_is_a_span_of_the_trace_that_its_client_names() {
        for (flags, sent) in [("00", "00"), ("01", "01"), ("03", "03"), ("ff", "03")] {
            let field = format!("00-{ID}-{PARENT}-{flags}");
            let trace = read(&head(&[&field])).unwrap();
            assert_eq!((trace.id(), trace.parent()), (ID, PARENT));
            assert_ne!(trace.span(), PARENT);
            let sent = format!("00-{ID}-{}-{sent}", trace.span());
            assert_eq!(trace.field().to_str().unwrap(), sent);
        }
        assert_eq!(passed_on(&[&format!("00-{ID}-{PARENT}-01")])[TRACESTATE], "vendor=1");
    }

    #[test]
    fn a_later_version_is_read_by_what_it_has_in_common() {
        for later in ["cc-{}-01", "cc-{}-01-what-the-future-brings", "fe-{}-01-"] {
            let trace = read(&head(&[&later.replace("{}", &format!("{ID}-{PARENT}"))])).unwrap();
            assert!(trace.field().to_str().unwrap().starts_with("00-"));
        }
        assert_eq!(read(&head(&[&format!("cc-{ID}-{PARENT}-01.x")])), None);
    }

    #[test]
    fn what_has_no_single_reading_is_left_out_and_its_state_with_it() {
        let zeros = ("0".repeat(32), "0".repeat(16));
        for bad in [
            String::new(),
            "00".to_owned(),
            format!("00-{ID}-{PARENT}"),
            format!("00-{ID}-{PARENT}-01-extra"),
            format!("00-{ID}-{PARENT}-1"),
            format!("ff-{ID}-{PARENT}-01"),
            format!("0-{ID}-{PARENT}-001"),
            format!("00-{}-{PARENT}-01", ID.to_uppercase()),
            format!("00-{}-{PARENT}-01", zeros.0),
            format!("00-{ID}-{}-01", zeros.1),
            format!("00-{ID}{PARENT}--01"),
            format!("00_{ID}_{PARENT}_01"),
            format!("00-{ID}-{PARENT}-0G"),
            format!("+1-{ID}-{PARENT}-01"),
            format!("00-{ID}-{PARENT}-+1"),
        ] {
            assert_eq!(read(&head(&[&bad])), None, "{bad:?}");
            assert_eq!(passed_on(&[&bad]), HeaderMap::new(), "{bad:?}");
        }
        let good = format!("00-{ID}-{PARENT}-01");
        assert_eq!(passed_on(&[&good, &good]), HeaderMap::new());
        assert_eq!(passed_on(&[]), HeaderMap::new());
    }

    proptest! {
        #[test]
        fn what_goes_upstream_is_always_well_formed(field in "[0-9a-fA-F-]{0,70}|(00|01|ff)-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,3}") {
            let Ok(value) = HeaderValue::from_str(&field) else { return Ok(()) };
            let mut head = HeaderMap::from_iter([(TRACEPARENT, value)]);
            let trace = read(&head);
            pass_on(&mut head, trace.as_ref(), &Swap::new(Vec::new()));
            if let Some(trace) = &trace {
                prop_assert!(field.contains(trace.id()) && field.contains(trace.parent()));
                let again = read(&head).unwrap();
                prop_assert_eq!((again.id(), again.parent()), (trace.id(), trace.span()));
            } else {
                prop_assert!(head.is_empty());
            }
        }
    }
}
