//! `exeat report`: what it says is what the state shows, by its numbers, and what was not measured it does not claim.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::credentials::{SECRET, leased};
use crate::harness::evidence::by_schema;
use crate::harness::{Exeat, Run, TokenEndpoint, Upstream};
use crate::verify::chained;

/// The report of the agent, which is one by the schema that exeat prints.
fn report(exeat: &Exeat) -> Value {
    let report = exeat.exeat(&["report", "--agent", "bot", "--json"]).finish().ok().json();
    let schema = exeat.exeat(&["schema", "report"]).finish().ok().json();
    assert_eq!(by_schema(&schema, &report), [""; 0]);
    report
}

fn page(exeat: &Exeat) -> String {
    exeat.exeat(&["report", "--agent", "bot"]).finish().ok().stdout
}

fn with_status<'r>(report: &'r Value, status: &str) -> BTreeSet<&'r str> {
    let controls = report["controls"].as_array().unwrap().iter();
    controls.filter(|control| control["status"] == status).map(|control| control["id"].as_str().unwrap()).collect()
}

/// All that is claimed, in one text.
fn claims(report: &Value) -> String {
    report["controls"].as_array().unwrap().iter().map(|control| control["evidence"].to_string()).collect()
}

/// A run with calls by a leased credential, and two kinds of refusal.
fn ran() -> (Exeat, Run) {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(600));
    let exeat = leased(&upstream, &issuer);
    let run = exeat.sh(
        "for n in 1 2 3; do curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; done
        curl -sS https://one.example.net/; curl -sS https://two.example.net/; curl -sS http://api.example.com/ || true",
    );
    assert!(issuer.all_revoked());
    (exeat, run.ok())
}

#[test]
fn of_a_fresh_installation_nothing_is_claimed_but_what_its_files_say() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, "credential = \"api\"\nmethods = [\"GET\"]");
    let exeat = exeat.fixed("api", SECRET, "to = [\"api.example.com\"]\nenv = \"API_KEY\"");
    let report = report(&exeat);
    assert_eq!(with_status(&report, "evidenced"), BTreeSet::new());
    let facts = &report["facts"];
    for unmeasured in ["leases", "activity", "walls", "probe", "decisions", "offboarded"] {
        assert!(facts[unmeasured].is_null(), "{unmeasured}: {}", facts[unmeasured]);
    }
    assert_eq!((&facts["policy"]["allow"], &facts["credentials"][0]["fixed"]), (&1.into(), &true.into()));
    assert_eq!(facts["findings"][0]["risk"], "NHI7");
    let claims = claims(&report);
    assert!(!claims.contains("/state/") && !claims.contains("/workers/"), "{claims}");
    let page = page(&exeat);
    assert!(
        page.contains("`exeat probe`: never run for this agent") && page.contains("Activity: not measured"),
        "{page}"
    );
    assert!(
        page.contains("### NHI7:2025 Long-Lived Secrets: not covered") && !page.contains(": evidenced\n"),
        "{page}"
    );
    assert!(!page.contains(SECRET), "{page}");
}

#[test]
fn of_nobody_nothing_is_claimed_and_a_bad_period_is_an_error() {
    let exeat = Exeat::new();
    let run = exeat.exeat(&["report", "--agent", "nobody", "--json"]).finish().ok();
    let report = run.json();
    assert_eq!(with_status(&report, "not-covered").len(), 26, "{report:#}");
    assert!(report["facts"]["policy_unusable"].as_str().unwrap().contains("nobody.toml"));
    let run = exeat.exeat(&["report", "--agent", "bot", "--since", "soon"]).finish().ended_with(125);
    assert!(run.stderr.contains("write 30d, 12h or 90m"), "{run:#?}");
}

#[test]
fn what_a_run_did_is_told_by_its_numbers_and_where_they_are() {
    let (exeat, run) = ran();
    let told = report(&exeat);
    let activity = &told["facts"]["activity"];
    let numbers =
        ["workers", "identified", "calls", "with_credential", "with_credential_over_tls", "refused", "alerts", "ended"];
    assert_eq!(numbers.map(|name| activity[name].as_u64().unwrap()), [1, 1, 3, 3, 3, 3, 0, 1], "{activity:#}");
    assert_eq!(activity["records"], run.log.lines.len());
    let kinds = activity["refused_by_kind"].as_array().unwrap();
    assert_eq!((kinds[0]["kind"].as_str(), kinds[0]["refused"].as_u64()), (Some("host-not-listed"), Some(2)));
    for kind in kinds {
        let seq = usize::try_from(kind["last"]["seq"].as_u64().unwrap()).unwrap();
        let line = serde_json::to_value(&run.log.lines[seq - 1]).unwrap();
        assert_eq!((&line["event"], &line["kind"]), (&"refused".into(), &kind["kind"]), "{line:#}");
    }
    let host = &activity["by_host"][0];
    assert_eq!((host["to"].as_str(), host["calls"].as_u64()), (Some("api.example.com:443"), Some(3)));
    let leases = &told["facts"]["leases"];
    assert_eq!((leases["given"].as_u64(), leases["revoked"].as_u64()), (Some(1), Some(1)), "{leases:#}");
    assert_eq!(told["facts"]["walls"]["policy"], told["facts"]["policy"]["digest"]);
    assert!(with_status(&told, "evidenced").contains("NHI4:2025"), "{told:#}");
    let page = page(&exeat);
    assert!(
        page.contains("| `api.example.com:443` | 3 | 0 |") && page.contains("| `host-not-listed` | 2 | worker"),
        "{page}"
    );
    assert!(page.contains("Of 1 lease given, 1 were revoked at their issuer"), "{page}");

    // In another file, and of a period with nothing in it.
    let file = exeat.work().join("report.md");
    let options = ["report", "--agent", "bot", "--output", file.to_str().unwrap()];
    assert_eq!(exeat.exeat(&options).finish().ok().stdout, "");
    assert!(fs::read_to_string(&file).unwrap().starts_with("# Evidence of agent `bot`\n"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let later = exeat.exeat(&["report", "--agent", "bot", "--json", "--since", "1s"]).finish().ok().json();
    assert!(later["facts"]["activity"].is_null() && later["facts"]["leases"].is_null(), "{later:#}");
    assert!(!with_status(&later, "evidenced").contains("NHI4:2025"), "{later:#}");
}

#[test]
fn a_log_that_was_changed_is_told_and_nothing_is_claimed_by_it() {
    let (exeat, run) = ran();
    assert!(claims(&report(&exeat)).contains("/calls"));
    let worker = exeat.state().join("workers").join(&run.log.start().worker);
    let log = worker.join("calls/000001.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("one.example.net", "own.example.net", 1)).unwrap();
    let told = report(&exeat);
    assert!(told["facts"]["activity"].is_null() && told["facts"]["walls"].is_null());
    let broken = &told["facts"]["logs"]["broken"][0];
    assert!(broken["worker"].as_str().unwrap().ends_with(&run.log.start().worker), "{broken}");
    assert!(!claims(&told).contains("/calls"), "{}", claims(&told));
    let page = page(&exeat);
    assert!(page.contains("1 logs CHANGED") && page.contains("not what was written"), "{page}");
    assert!(!page.contains("SPIFFE identity of its own"), "{page}");
    // Whose it was is told by the broker's roll: neither the log nor the worker's own file makes it another agent's.
    let other = |text: &str| text.replacen("\"agent\":\"bot\"", "\"agent\":\"cat\"", 1);
    let who = worker.join("worker.json");
    let whose = fs::read_to_string(&who).unwrap();
    assert_ne!(other(&whose), whose);
    fs::write(&log, other(&text)).unwrap();
    fs::write(&who, other(&whose)).unwrap();
    assert_eq!(report(&exeat)["facts"]["logs"]["broken"].as_array().unwrap().len(), 1);
    let cat = exeat.exeat(&["report", "--agent", "cat", "--json"]).finish().ok().json();
    assert_eq!(cat["facts"]["logs"]["logs"], 0, "{cat:#}");
    fs::write(&log, text).unwrap();
    fs::write(&who, whose).unwrap();
    assert!(claims(&report(&exeat)).contains("/calls"));
}

#[test]
fn a_log_that_nobody_signed_for_is_not_covered_by_the_signatures_of_others() {
    const WHOLE: &str = "of the agent all is what was written";
    let (exeat, run) = ran();
    let told = report(&exeat);
    assert_eq!(told["facts"]["logs"]["unsigned"], 0, "{:#} {run:#?}", told["facts"]["logs"]);
    assert!(claims(&told).contains(WHOLE), "{told:#}");
    // As somebody who knows how logs are made would make one of a worker that never was.
    let id = &run.log.start().worker;
    let forged = format!("{}{}", &id[..id.len() - 4], if id.ends_with("0000") { "1111" } else { "0000" });
    let workers = exeat.state().join("workers");
    let text = fs::read_to_string(workers.join(id).join("calls/000001.jsonl")).unwrap().replace(id, &forged);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    chained(&mut lines);
    let calls = workers.join(&forged).join("calls");
    fs::create_dir_all(&calls).unwrap();
    fs::write(calls.join("000001.jsonl"), lines.join("\n") + "\n").unwrap();
    let told = report(&exeat);
    let logs = &told["facts"]["logs"];
    assert_eq!((&logs["logs"], &logs["unsigned"]), (&2.into(), &1.into()), "{logs:#}");
    assert!(!claims(&told).contains(WHOLE), "{}", claims(&told));
    assert!(page(&exeat).contains("the broker did not sign for 1 of 2 call logs"), "{}", page(&exeat));
}

#[test]
fn a_battery_counts_while_its_policy_is_in_the_file() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .allow_with("api.example.com", &upstream, "methods = [\"GET\"]")
        .limit(std::time::Duration::from_secs(180));
    let probed = exeat.exeat(&["probe", "--agent", "bot", "--json"]).finish();
    let findings = probed.json();
    let told = report(&exeat);
    let probe = &told["facts"]["probe"];
    let sum = |verdict: &str| {
        probe["groups"].as_object().unwrap().values().map(|group| group[verdict].as_u64().unwrap()).sum::<u64>()
    };
    for verdict in ["held", "broke", "not_applicable"] {
        assert_eq!(sum(verdict), findings[verdict].as_u64().unwrap(), "{verdict}");
    }
    assert_eq!(probe["policy"], told["facts"]["policy"]["digest"]);
    // What the battery tried is not the agent's doing.
    let activity = &told["facts"]["activity"];
    assert_eq!((&activity["batteries"], &activity["refused"], &activity["workers"]), (&1.into(), &0.into(), &0.into()));
    assert!(claims(&told).contains("/state/probes/bot.json"), "{}", claims(&told));
    let exeat = exeat.rule("# the file is another now\n");
    let told = report(&exeat);
    assert!(!claims(&told).contains("/state/probes/"), "{}", claims(&told));
    assert!(page(&exeat).contains("was run under another policy than the file has now"));
}

#[test]
fn of_an_agent_that_was_offboarded_it_is_told_that_nothing_is_left() {
    let (exeat, _) = ran();
    assert!(!claims(&report(&exeat)).contains("offboarded"));
    exeat.exeat(&["offboard", "bot"]).finish().ok();
    let told = report(&exeat);
    assert_eq!(told["facts"]["offboarded"]["by"], rustix::process::getuid().as_raw());
    assert!(claims(&told).contains("The agent was offboarded on 2"), "{}", claims(&told));
    assert!(page(&exeat).contains("- Offboarded; workers that run: 0."));
}

#[test]
fn the_schema_of_a_record_is_printed() {
    let exeat = Exeat::new();
    for arguments in [&["schema"][..], &["schema", "record"]] {
        assert_eq!(exeat.exeat(arguments).finish().ok().stdout, record::SCHEMA);
    }
}
