//! What criterion found out about the pure parts.
//!
//! Enters: the directory where it leaves its estimates. Leaves: a table. Never: an estimate of its own.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::Error;

use super::findings::Findings;
use super::table::Table;

/// The medians of the latest run, with their 95 % confidence intervals.
pub fn table(directory: &Path, findings: &mut Findings) -> Result<String, Error> {
    let mut rows = Vec::new();
    for group in fs::read_dir(directory).map_err(|error| Error::from(error).during("what criterion left"))? {
        let group = group?.path();
        for function in fs::read_dir(&group).into_iter().flatten() {
            let latest = function?.path().join("new");
            if latest.join("estimates.json").exists() {
                rows.push(row(&latest, findings)?);
            }
        }
    }
    rows.sort();
    let about = "`cargo bench`, median with its 95 % confidence interval, one core.";
    let mut table = Table::new("Pure parts", about, &["part", "time", "a second"]);
    rows.iter().for_each(|row| table.row(row));
    Ok(table.end())
}

fn row(latest: &Path, findings: &mut Findings) -> Result<[String; 3], Error> {
    let read = |name: &str| -> Result<Value, Error> { Ok(serde_json::from_slice(&fs::read(latest.join(name))?)?) };
    let (estimates, benchmark) = (read("estimates.json")?, read("benchmark.json")?);
    let median = &estimates["median"];
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let nanoseconds = number(&median["point_estimate"]);
    let interval = &median["confidence_interval"];
    let (low, high) = (number(&interval["lower_bound"]), number(&interval["upper_bound"]));
    let (unit, divisor) = match nanoseconds {
        ..1e3 => ("ns", 1.0),
        ..1e6 => ("µs", 1e3),
        _ => ("ms", 1e6),
    };
    let time = format!("{:.1} {unit} ({:.1}–{:.1})", nanoseconds / divisor, low / divisor, high / divisor);
    let rate = match benchmark["throughput"]["Bytes"].as_f64() {
        Some(bytes) => format!("{:.2} GB", bytes / nanoseconds),
        None => format!("{:.0}", 1e9 / nanoseconds),
    };
    let name = benchmark["full_id"].as_str().unwrap_or("?").to_owned();
    let all = [nanoseconds, low, high];
    findings.note(name.clone(), all.map(|nanoseconds| nanoseconds / 1e3).into_iter().collect());
    if let Some(bytes) = benchmark["throughput"]["Bytes"].as_f64() {
        findings.note(format!("rate of {name}"), all.map(|nanoseconds| bytes / nanoseconds).into_iter().collect());
    }
    Ok([name, time, rate])
}
