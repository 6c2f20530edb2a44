//! What was in force for a worker, as the first record of its log has it.
//!
//! Enters: that record. Leaves: facts. Never: a wall that the record does not name.

use std::collections::BTreeMap;

use jiff::Timestamp;
use record::WorkerStart;
use serde_json::Value;

use super::facts::{Place, Walls};

/// Reads them off.
pub(super) fn of(seq: u64, at: Timestamp, start: &WorkerStart) -> Walls {
    let WorkerStart { sandbox, lock, .. } = start;
    let texts =
        |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    Walls {
        record: Place { worker: start.worker.clone(), seq },
        at,
        version: start.version.clone(),
        policy: start.policy.clone(),
        identity: start.identity.clone(),
        observe: start.observe,
        namespaces: texts(&sandbox["namespaces"]),
        capture: match &sandbox["capture"] {
            Value::String(all) => all.clone(),
            Value::Object(_) => "ports".to_owned(),
            _ => "unknown".to_owned(),
        },
        syscall_filter: sandbox["syscall_filter"] == "allow-list",
        landlock: sandbox["landlock"]["abi"].as_i64(),
        // Not said is not closed.
        nested: sandbox["nested"] != false,
        hidden: sandbox["hidden"]["count"].as_u64().unwrap_or_default(),
        limits: limits(&sandbox["limits"]),
        worker_filter: lock["syscall_filter"].as_bool(),
        worker_landlock: lock["landlock"].as_i64(),
        worker_dumpable: lock["dumpable"].as_bool(),
    }
}

fn limits(limits: &Value) -> BTreeMap<String, String> {
    let by = |name: &str| limits["by"][name].as_str().unwrap_or("the worker").to_owned();
    let held = limits.as_object().into_iter().flatten().filter(|(name, value)| *name != "grace" && value.is_number());
    held.map(|(name, value)| (name.clone(), format!("{value}, by {}", by(name)))).collect()
}
