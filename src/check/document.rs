//! What `exeat check --json` says.
//!
//! Enters: what was found. Leaves: one JSON document. Never: anything that the text does not have.

use std::io::{self, Write};

use config::{Finding, Mistake, RuleId, Unmet};
use sandbox::Capability;
use serde::Serialize;
use serde_json::{Value, json};

use super::Checked;
use super::replay::{Difference, Replayed};
use crate::out::Out;
use crate::places::Places;

/// Changes when a field changes its meaning or goes; fields may be added.
const SCHEMA: &str = "exeat-check/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'static str,
    config: String,
    agents: usize,
    credentials: usize,
    /// Findings that nobody has accepted.
    warnings: usize,
    mistakes: Vec<Value>,
    /// How many `[[expect]]` there are.
    expectations: usize,
    /// Those that do not hold.
    unmet: Vec<Value>,
    findings: Vec<Value>,
    notes: &'a [String],
    /// What would have been decided otherwise, where that was asked.
    replay: Option<Value>,
    machine: Option<Vec<Value>>,
}

pub(super) fn write(out: &mut Out<impl Write>, places: &Places, checked: &Checked) -> io::Result<()> {
    let document = Document {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        config: places.config.display().to_string(),
        agents: checked.agents,
        credentials: checked.credentials,
        warnings: checked.warnings(),
        mistakes: checked.mistakes.iter().map(mistake).collect(),
        expectations: checked.expectations,
        unmet: checked.unmet.iter().map(unmet).collect(),
        findings: checked.findings.iter().map(finding).collect(),
        notes: &checked.notes,
        replay: checked.replayed.as_ref().map(replay),
        machine: checked.machine.as_ref().map(|machine| machine.iter().map(capability).collect()),
    };
    out.json(&document)
}

fn mistake(Mistake { file, line, column, key, reason, remedy }: &Mistake) -> Value {
    json!({"file": file, "line": line, "column": column, "key": key, "reason": reason, "remedy": remedy})
}

fn unmet(Unmet { call, expected, decided, kind, rule, mistake: place }: &Unmet) -> Value {
    let mut told = mistake(place);
    let (line, rule) = (rule.as_ref().map(RuleId::line), rule.as_ref().map(ToString::to_string));
    told["call"] = call.as_str().into();
    told["expected"] = (*expected).into();
    told["decided"] = (*decided).into();
    told["kind"] = (*kind).into();
    told["rule"] = rule.into();
    told["rule_line"] = line.into();
    told
}

fn replay(replayed: &Replayed) -> Value {
    let Replayed { since, agents, judged, otherwise, differences, unlisted, heads, left_out, unread, notes, window } =
        replayed;
    let differences: Vec<Value> = differences.iter().map(Difference::json).collect();
    json!({
        "window": window, "since": since, "agents": agents, "judged": judged, "otherwise": otherwise,
        "differences": differences, "unlisted": unlisted, "heads_only": heads, "left_out": left_out, "unread": unread, "notes": notes,
    })
}

fn finding(finding: &Finding) -> Value {
    let Finding { risk, credential, agent, file, line, column, key, reason, remedy, accepted } = finding;
    json!({
        "risk": risk.number(), "title": risk.title(), "credential": credential.as_str(),
        "agent": agent.as_ref().map(config::AgentId::as_str), "file": file, "line": line, "column": column, "key": key,
        "reason": reason, "remedy": remedy, "accepted": accepted,
    })
}

fn capability(Capability { name, required, present, why, remedy }: &Capability) -> Value {
    json!({"name": name, "required": required, "present": present, "why": why, "remedy": remedy})
}
