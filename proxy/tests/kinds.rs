//! The kinds of refusal in the schema of the call log are those that the proxy has, read off its own source.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;

/// The functions that name kinds: each in a file, up to the first line that ends it.
const TABLES: [(&str, &str); 3] = [
    (include_str!("../src/respond.rs"), "pub fn row("),
    (include_str!("../../config/src/denial.rs"), "pub fn as_str(&self)"),
    (include_str!("../src/tool/objection.rs"), "impl Why {"),
];

/// Words with a hyphen or of one part that stand for a kind: the first text in a row's tuple, or all there is in it.
fn kinds() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (source, begins) in TABLES {
        let table = source.split_once(begins).unwrap().1.split_once("\n}\n").unwrap().0;
        for line in
            table.lines().filter(|line| line.contains("=>") || line.contains("Self::new(") || line.contains("(S::"))
        {
            found.extend(line.split('"').nth(1).map(str::to_owned));
        }
    }
    // Tools: the rule says what is listed, in a call that was judged before.
    found.retain(|kind| kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
    found
}

#[test]
fn the_schema_has_the_kinds_of_the_table_and_no_others() {
    let schema: serde_json::Value = serde_json::from_str(record::SCHEMA).unwrap();
    for (definition, field) in [("Refused", "kind"), ("Observed", "kind")] {
        let listed = &schema["$defs"][definition]["properties"][field]["enum"];
        let listed: BTreeSet<String> = serde_json::from_value(listed.clone()).unwrap();
        assert_eq!(listed, kinds(), "KINDS in record/src/schema/shape.rs against the table in proxy/src/respond.rs");
    }
}
