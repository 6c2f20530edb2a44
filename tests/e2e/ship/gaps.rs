//! What was removed before it was shipped is not passed over in silence; what cannot be understood stops nothing that can.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use record::Segment;

use super::collector::Collector;
use super::{status, target};
use crate::harness::{Exeat, Upstream, within};

const PATIENCE: Duration = Duration::from_secs(30);

fn set_up() -> (Collector, Exeat) {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    target(&exeat, &format!("[[ship]]\nto = \"otlp\"\nname = \"siem\"\nurl = \"http://{}\"\n", collector.address));
    exeat.run(&["curl", "-sSf", "https://api.example.com/echo"]).ok();
    (collector, exeat)
}

fn worker(exeat: &Exeat) -> PathBuf {
    fs::read_dir(exeat.state().join("workers")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_segment_that_is_gone_is_a_gap_that_is_shown_and_told() {
    let (collector, exeat) = set_up();
    let worker = worker(&exeat);
    let first = Segment::plain(&worker, 1);
    let text = fs::read_to_string(&first).unwrap();
    let records = text.lines().count();
    // As though the first three records had been in a segment of their own.
    let rest: String = text.split_inclusive('\n').skip(3).collect();
    fs::write(Segment::plain(&worker, 2), rest).unwrap();
    fs::remove_file(&first).unwrap();
    exeat.exeat(&["ship", "--once"]).finish().ok();
    within(PATIENCE, "what is left", || collector.distinct() == records - 3);
    let shown = status(&exeat);
    let gaps = shown["receivers"][0]["gaps"].as_array().unwrap();
    assert_eq!((gaps.len(), &gaps[0]["from"], &gaps[0]["to"]), (1, &1.into(), &3.into()), "{shown}");
    let told = collector.records().iter().filter(|record| record["Body"].contains("\"event\":\"ship-gap\"")).count();
    assert_eq!(told, 1, "{:#?}", collector.records());
    let text = exeat.exeat(&["ship", "--status"]).finish().ok().stdout;
    assert!(text.contains("never shipped, removed before: records 1 to 3 of "), "{text}");
}

#[test]
fn a_log_that_is_gone_before_its_end_was_shipped_is_a_gap() {
    let (collector, exeat) = set_up();
    exeat.exeat(&["ship", "--once"]).finish().ok();
    // As though it had been shipped up to its second record only.
    let state = exeat.state().join("ship/siem");
    let name = worker(&exeat).file_name().unwrap().to_string_lossy().into_owned();
    fs::write(state.join("finished"), "").unwrap();
    let position = serde_json::json!({ "segment": 1, "offset": 10 });
    let mut cursor: serde_json::Value = serde_json::from_slice(&fs::read(state.join("cursor.json")).unwrap()).unwrap();
    cursor["workers"][&name] = serde_json::json!({ "next": position, "seq": 2, "from": position });
    fs::write(state.join("cursor.json"), cursor.to_string()).unwrap();
    assert_eq!(status(&exeat)["needed_segments"], 1);
    fs::remove_dir_all(worker(&exeat)).unwrap();
    exeat.exeat(&["ship", "--once"]).finish().ok();
    let shown = status(&exeat);
    let gap = &shown["receivers"][0]["gaps"][0];
    assert_eq!(
        (&gap["worker"], &gap["from"], &gap["to"]),
        (&name.into(), &3.into(), &serde_json::Value::Null),
        "{shown}"
    );
    within(PATIENCE, "word of it", || collector.records().iter().any(|record| record["Body"].contains("ship-gap")));
    assert_eq!(status(&exeat)["needed_segments"], 0);
}

#[test]
fn a_line_that_is_no_record_is_shipped_as_it_stands_and_stops_nothing() {
    let (collector, exeat) = set_up();
    let exeat = exeat.tampers_with_the_log();
    let first = Segment::plain(&worker(&exeat), 1);
    let text = fs::read_to_string(&first).unwrap();
    let (before, after) = text.split_at(text.find('\n').unwrap() + 1);
    fs::write(&first, format!("{before}{{\"seq\": \u{1b}[2J never written\n{after}")).unwrap();
    exeat.exeat(&["ship", "--once"]).finish().ok();
    within(PATIENCE, "all records", || collector.distinct() == text.lines().count());
    let strange = collector.records().iter().filter(|record| record["Body"].contains("never written")).count();
    assert_eq!(strange, 1);
}

#[test]
fn a_cursor_that_cannot_be_understood_is_for_a_person() {
    let (_collector, exeat) = set_up();
    exeat.exeat(&["ship", "--once"]).finish().ok();
    fs::write(exeat.state().join("ship/siem/cursor.json"), "half").unwrap();
    let run = exeat.exeat(&["ship", "--once"]).finish().ended_with(125);
    assert!(run.stderr.contains("hint: take `") && run.stderr.contains("to ship everything"), "{}", run.stderr);
}

#[test]
fn mistakes_in_the_file_are_found_by_check_and_ship_nothing() {
    let exeat = Exeat::new();
    let run = exeat.exeat(&["ship", "--once"]).finish().ended_with(125);
    assert!(run.stderr.contains("names nobody to ship the logs to"), "{}", run.stderr);
    target(&exeat, "[[ship]]\nto = \"otlp\"\nurl = \"http://collector.example.com\"\n");
    for command in [&["ship", "--once"][..], &["ship", "--status"], &["check", "--files-only"]] {
        let run = exeat.exeat(command).finish();
        let said = run.stdout + &run.stderr;
        assert!(
            run.code != Some(0) && said.contains("log.toml:3: ship[1].url: `http://collector.example.com`"),
            "{said}"
        );
    }
    // A client's key, which no run reads.
    let client = "client_certificate = { certificate = \"c.pem\", key = \"none.pem\" }";
    target(&exeat, &format!("[[ship]]\nto = \"otlp\"\nurl = \"https://collector.example.com\"\n{client}\n"));
    for command in [&["ship", "--once"][..], &["check", "--files-only"]] {
        let run = exeat.exeat(command).finish();
        let said = run.stdout + &run.stderr;
        assert!(run.code != Some(0) && said.contains("c.pem") && said.contains("log.toml:4"), "{said}");
    }
    exeat.run(&["true"]).ok();
}
