//! The invariant about bounds: 8.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Exeat, Upstream, python_tools, tools};

/// The worker's memory, whatever is done to it, in MiB.
const MOST: u64 = 128;

#[test]
fn invariant_8_no_flood_makes_the_worker_grow_or_stop() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .sandbox(&format!("files = 4096\nread = [\"{}\"]", tools().display()))
        .allow("*.example.com", &upstream)
        .limit(Duration::from_secs(200));
    let mut live = exeat.start_with_input(&[&python_tools(), "-c", include_str!("floods.py")]);
    live.wait_for("flooded\n");
    let peak = live.peak_memory();
    live.write("\n");
    let run = live.finish().ok();
    let told: Value = serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
    assert!(peak < MOST, "the worker took {peak} MiB: {told}");
    assert_eq!(told["polite"], 200, "{told}");
    // Each of them was a flood: the connections came to be, the questions were heard.
    assert_eq!(told["held"], 1500, "{told}");
    assert!(told["asked"].as_u64().unwrap() > 20_000, "{told}");
    // A head of more than 64 KiB is refused, and the reason is in the log.
    let head = told["head"].as_array().unwrap();
    assert!(head.len() == 40 && head.iter().all(|status| *status == 431), "{told}");
    let head = told["head_2"].as_array().unwrap();
    assert!(head.len() == 10 && head.iter().all(|status| *status == 431), "{told}");
    assert_eq!(told["just_so"], serde_json::json!([200, 200]), "{told}");
    assert_eq!(told["names"], told["handshakes"], "{told}");
    let told_of = run.log.refusals().iter().filter(|refused| refused.reason.contains("head is too large")).count();
    assert_eq!(told_of, 40, "{:?}", run.log.refused_kinds());
    let told_of =
        run.log.refusals().iter().filter(|refused| refused.reason.contains("1 of its connection's were not")).count();
    assert_eq!(told_of, 10, "{:?}", run.log.refused_kinds());

    let seen = upstream.seen();
    assert!(seen.iter().all(|seen| seen.target == "/echo"), "a head without an end went upstream");
}
