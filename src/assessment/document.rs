//! What `exeat report --json` says, and its schema.
//!
//! Enters: facts and assessed controls. Leaves: one JSON document. Never: anything that the page in Markdown is silent about.

use jiff::Timestamp;
use serde::Serialize;

use super::control::Assessed;
use super::facts::Facts;

/// Changes when a field changes its meaning or goes; fields may be added.
pub(super) const SCHEMA: &str = "exeat-report/1";
/// Its JSON Schema. `EXEAT_WRITE_SCHEMA=1 cargo test -p exeat --bin exeat schema` writes it anew.
pub(super) const JSON_SCHEMA: &str = include_str!("../../record/schema/report-1.schema.json");

/// A report.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Document {
    /// `exeat-report/1`.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub(super) schema: &'static str,
    /// The version of exeat that made it.
    pub(super) version: &'static str,
    /// The agent.
    pub(super) agent: String,
    /// When it was made.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub(super) at: Timestamp,
    /// From when on calls, leases and decisions are counted.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub(super) since: Timestamp,
    /// The configuration directory.
    pub(super) config: String,
    /// The state directory.
    pub(super) state: String,
    /// What was measured.
    pub(super) facts: Facts,
    /// What that is evidence for.
    pub(super) controls: Vec<Assessed>,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use schemars::generate::SchemaSettings;

    use super::{Document, JSON_SCHEMA};

    #[test]
    fn the_schema_is_that_of_the_document() {
        let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Document>();
        let mut schema = schema.to_value();
        schema["$id"] = "https://exeat.invalid/schema/report-1.schema.json".into();
        schema["title"] = "exeat report, version 1".into();
        let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("EXEAT_WRITE_SCHEMA").is_some() {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("record/schema/report-1.schema.json");
            std::fs::write(file, &made).unwrap();
            return;
        }
        assert!(
            made == JSON_SCHEMA,
            "the report has changed: EXEAT_WRITE_SCHEMA=1 cargo test -p exeat --bin exeat schema"
        );
    }
}
