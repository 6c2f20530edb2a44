//! Of a document that is let through, the operations that were judged are those that readers of the standard find, by POST and by GET alike; and
//! where only queries are listed, it passes if it passes at all and each operation that may be run is a query.
#![no_main]

mod graphql_reader;
mod judging;

use std::sync::LazyLock;

use graphql_parser::query::{Definition, OperationDefinition, parse_query};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

use graphql_reader::{Operation, chosen, operations};
use judging::Judging;

static ALL: LazyLock<Judging> =
    LazyLock::new(|| Judging::by("graphql = { operations = [\"query\", \"mutation\", \"subscription\"] }"));
static QUERIES: LazyLock<Judging> = LazyLock::new(|| Judging::by("graphql = { operations = [\"query\"] }"));

/// As the log has them.
fn told(operations: &[Operation]) -> String {
    let one = |(kind, name): &Operation| match name {
        Some(name) => format!("{kind} {name}"),
        None => (*kind).to_owned(),
    };
    operations.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What somebody else's parser finds.
fn by_another(document: &str) -> Option<Vec<Operation>> {
    let parsed = parse_query::<&str>(document).ok()?;
    let operations = parsed.definitions.into_iter().filter_map(|definition| match definition {
        Definition::Operation(operation) => Some(match operation {
            OperationDefinition::SelectionSet(_) => ("query", None),
            OperationDefinition::Query(query) => ("query", query.name.map(str::to_owned)),
            OperationDefinition::Mutation(mutation) => ("mutation", mutation.name.map(str::to_owned)),
            OperationDefinition::Subscription(subscription) => ("subscription", subscription.name.map(str::to_owned)),
        }),
        Definition::Fragment(_) => None,
    });
    Some(operations.collect())
}

// A line with what is asked for by name, and the document.
fuzz_target!(|text: &str| {
    let (wanted, document) = text.split_once('\n').unwrap_or(("", text));
    let body = json!({ "query": document, "operationName": wanted }).to_string();
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("operationName", wanted), ("query", document)])
        .finish();
    let name = |judging: &Judging, method, query, body: &str| {
        judging.judge(method, query, body.as_bytes()).map(|asked| asked.name.expect("an operation"))
    };
    let judged = name(&ALL, "POST", None, &body);
    assert_eq!(judged, name(&ALL, "GET", Some(&query), ""));
    let only_queries = name(&QUERIES, "POST", None, &body);
    let Ok(judged) = judged else { return assert!(only_queries.is_err()) };
    let read = operations(document).expect("it was judged to be a document");
    if let Some(other) = by_another(document) {
        assert_eq!(other, read);
    }
    let chosen = chosen(read, wanted);
    assert_eq!(judged, told(&chosen));
    assert_eq!(only_queries.is_ok(), chosen.iter().all(|(kind, _)| *kind == "query"));
});
