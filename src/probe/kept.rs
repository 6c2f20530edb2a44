//! What came of the last battery of an agent, for `exeat report`.
//!
//! Enters: all findings. Leaves: a file in the state directory, replaced whole. Never: the result of a battery that was not run to its end, or
//! half a file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use config::AgentId;
use jiff::Timestamp;

use super::finding::Verdict;
use super::telling::Told;
use crate::assessment::{Group, Probed};
use crate::places::Places;
use crate::report::Report;

/// Keeps it.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn keep(places: &Places, agent: &AgentId, told: &Told<'_>) -> Result<(), Report> {
    let mut probed = Probed {
        at: Timestamp::now(),
        policy: told.policy.to_owned(),
        worker: told.worker.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Probed::default()
    };
    for finding in told.findings {
        let Group { held, broke, not_applicable } = probed.groups.entry(finding.group().to_owned()).or_default();
        match finding.verdict {
            Verdict::Held => *held += 1,
            Verdict::NotApplicable => *not_applicable += 1,
            Verdict::Broke => {
                *broke += 1;
                probed.broke.push(format!("{}: {}", finding.id, finding.seen));
            }
        }
    }
    let directory = places.make_probes()?;
    let draft = directory.join(format!("{agent}.{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec(&probed)?)?;
    file.sync_all()?;
    std::fs::rename(&draft, places.probe(agent))?;
    Ok(File::open(directory)?.sync_all()?)
}
