//! Every record of a state directory against the schema that is published beside the record's crate.
//!
//! Enters: a state directory. Leaves: the lines that are not records by the schema, and why not. Never: a look at a record by the types that
//! wrote it.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use record::read::{Position, WorkerLog};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(record::SCHEMA).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
});

/// What is wrong, a line for each record.
pub fn unlike_the_schema(state: &Path) -> Vec<String> {
    let mut flaws = Vec::new();
    let workers = fs::read_dir(state.join("workers")).map(|entries| entries.flatten().collect::<Vec<_>>());
    for worker in workers.unwrap_or_default() {
        match WorkerLog::open(&worker.path()) {
            Ok(None) => {}
            Ok(Some(log)) => {
                for text in log.texts(Position::START) {
                    flaws.extend(text.map_or_else(|error| Some(error.to_string()), |text| flaw(&text.bytes)));
                }
            }
            Err(error) => flaws.push(error.to_string()),
        }
    }
    flaws
}

fn flaw(line: &[u8]) -> Option<String> {
    let text = || String::from_utf8_lossy(line);
    let record = match serde_json::from_slice(line) {
        Ok(record) => record,
        Err(error) => return Some(format!("no JSON ({error}): {}", text())),
    };
    if SCHEMA.is_valid(&record) {
        return None;
    }
    let why: Vec<String> =
        SCHEMA.iter_errors(&record).map(|error| format!("{} at {}", error.masked(), error.instance_path())).collect();
    Some(format!("not by the schema ({}): {}", why.join("; "), text()))
}

/// What is wrong with a document by a schema.
pub fn by_schema(schema: &serde_json::Value, document: &serde_json::Value) -> Vec<String> {
    let schema = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
    schema.iter_errors(document).map(|error| format!("{error} at {}", error.instance_path())).collect()
}
