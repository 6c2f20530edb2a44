//! The decision over GraphQL requests.
//!
//! Enters: a request by POST or GET, and the kinds of operation that the rule lists. Leaves: the operation, or why it is
//! refused. Never: an operation that the server might choose differently; a text that is not in the request.

use config::{GraphQl, Operation};
use serde_json::Value;

use super::document::{Defined, operations};
use super::json::{Json, Members};
use super::objection::{Why, shown, told};
use super::{Asked, as_it_is, posted, query, read};
use crate::request::Call;
use crate::swap::Swap;
use crate::{limit, turn};

/// What a request consists of (GraphQL over HTTP, section 5.1).
const MEMBERS: [&str; 4] = ["query", "operationName", "variables", "extensions"];
/// The one extension that says nothing of what is asked: some clients add their own name and version.
const TELLING_NOTHING: &str = "clientLibrary";

/// Judges a request, or a batch of them.
pub(super) async fn judge(rule: &GraphQl, swap: &Swap, call: &Call, body: &[u8]) -> Result<Asked, Why> {
    let by_query;
    let text = match (call.method.as_str(), call.query.as_deref()) {
        ("POST", None) => {
            posted::is_json(&call.headers)?;
            body
        }
        ("POST", Some(_)) => {
            return Err(Why::shape("some servers take a query string for the operation: send it in the body alone"));
        }
        ("GET", Some(query)) if body.is_empty() => {
            by_query = asked_by_query(query).await?;
            by_query.as_bytes()
        }
        // What a browser asks before a request of another origin.
        ("OPTIONS", None) if body.is_empty() => return Ok(Asked::default()),
        (method, _) => {
            let what = format!("a {method} request, which can carry an operation that is not judged");
            return Err(Why::form(&what, "send each operation as a POST request with a JSON body"));
        }
    };
    requests(rule, swap, read(text).await?).await
}

/// What a query string asks for, as the body of a POST would.
async fn asked_by_query(query: &str) -> Result<String, Why> {
    let text = |text: String| Value::String(text).to_string();
    let mut members = Vec::new();
    for (name, value) in query::read(query)? {
        let value = match name.as_str() {
            "variables" | "extensions" => read(value.as_bytes()).await?.text().to_owned(),
            _ => text(value),
        };
        members.push(format!("{}:{value}", text(name)));
    }
    Ok(format!("{{{}}}", members.join(",")))
}

async fn requests(rule: &GraphQl, swap: &Swap, body: Json<'_>) -> Result<Asked, Why> {
    let (requests, _) = body.batch().await;
    if requests.is_empty() || requests.len() > limit::BATCH {
        return Err(Why::shape(&format!("a batch has from 1 to {} requests", limit::BATCH)));
    }
    let (mut names, mut tokens) = (Vec::new(), limit::GRAPHQL_TOKENS);
    for request in requests {
        turn::slice().await;
        names.push(judge_one(rule, swap, request, &mut tokens).await?);
    }
    Ok(Asked { name: Some(names.join(", ")), listing: None })
}

async fn judge_one(rule: &GraphQl, swap: &Swap, request: Json<'_>, tokens: &mut usize) -> Result<String, Why> {
    let request = request.members(&MEMBERS).await.ok_or_else(|| Why::shape("a request is an object"))?;
    if let Some(key) = request.other() {
        return Err(Why::shape(&format!("`{}` is no member of a request", shown(key))));
    }
    if let Some(extensions) = request.get("extensions").filter(|extensions| !extensions.is_null()) {
        let members = extensions.members(&[TELLING_NOTHING]).await;
        if members.is_none_or(|members| members.other().is_some()) {
            return Err(Why::shape("`extensions` can name a persisted query, whose text is not here to be judged"));
        }
    }
    let Some(text) = request.get("query").and_then(Json::string) else {
        return Err(Why::shape("there is no text under `query`, and what is persisted elsewhere cannot be judged"));
    };
    as_it_is(swap, &text)?;
    let mut names = Vec::new();
    for (kind, name) in chosen(&operations(&text, tokens)?, &request)? {
        let name = name.as_ref().map_or_else(|| kind.to_string(), |name| format!("{kind} {}", told(name)));
        if !rule.operations().contains(kind) {
            return Err(unlisted(rule, *kind, name));
        }
        names.push(name);
    }
    Ok(names.join(", "))
}

fn unlisted(rule: &GraphQl, kind: Operation, name: String) -> Why {
    let listed = rule.operations().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what =
        format!("the GraphQL operation `{}` is not allowed: listed under `operations` is {listed}", shown(&name));
    Why::unlisted(what, name, &format!("ask your operator to add \"{kind}\" to `operations` of `graphql`"))
}

/// The operations that the server may run: the one that is named, or any of them.
fn chosen<'a>(defined: &'a [Defined], request: &Members<'_, '_>) -> Result<Vec<&'a Defined>, Why> {
    let wanted = match request.get("operationName").map(Json::scalar) {
        None | Some(Some(Value::Null)) => None,
        // For some servers that is no name, for others one that is not there.
        Some(Some(Value::String(name))) if name.is_empty() => None,
        Some(Some(Value::String(name))) => Some(name),
        Some(_) => return Err(Why::shape("`operationName` is not a name")),
    };
    let named = |defined: &&Defined| wanted.is_none() || defined.1 == wanted;
    let chosen: Vec<&Defined> = defined.iter().filter(named).collect();
    if chosen.is_empty() { Err(Why::shape("the document has no operation of that name")) } else { Ok(chosen) }
}

#[cfg(test)]
mod tests {
    use config::{Policy, Protocol};
    use serde_json::json;

    use super::*;
    use crate::turn::at_once;

    fn judged(body: &Value) -> Result<String, Why> {
        judged_text(&body.to_string())
    }

    fn judged_text(body: &str) -> Result<String, Why> {
        let text = "[[allow]]\nto = \"api.example.com\"\ngraphql = { operations = [\"query\"] }\n";
        let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", text).unwrap();
        let Some(Protocol::GraphQl(rule)) = policy.rules()[0].protocol() else { panic!("no graphql") };
        let body = at_once(read(body.as_bytes()))?;
        let swap = Swap::new(Vec::new());
        at_once(requests(rule, &swap, body)).map(|asked| asked.name.unwrap())
    }

    #[test]
    fn the_operation_that_the_server_runs_is_the_one_that_is_judged() {
        let long = "a".repeat(300);
        let several = "query A { a } mutation B { b } fragment F on T { c }";
        for (body, name) in [
            (json!({ "query": "{ viewer { login } }" }), "query"),
            (
                json!({ "query": "query Q($n: Int = 1) { a(n: $n) @skip(if: false) { ...F } } fragment F on T { b }", "variables": {} }),
                "query Q",
            ),
            (json!({ "query": several, "operationName": "A" }), "query A"),
            (json!({ "query": "{ a(text: \"mutation { b }\") } # mutation C { d }" }), "query"),
            (json!([{ "query": "{ a }" }, { "query": "query B { b }" }]), "query, query B"),
            (json!({ "query": "query A { a } query B { b }" }), "query A, query B"),
            (json!({ "query": "query A { a }", "operationName": "" }), "query A"),
            (json!({ "query": format!("query {long}b {{ a }}") }), &format!("query {long}b")),
            (json!({ "query": "{ a }", "extensions": { "clientLibrary": { "name": "x" } } }), "query"),
            (json!({ "query": "{ a }", "extensions": null, "variables": null, "operationName": null }), "query"),
        ] {
            assert_eq!(judged(&body).unwrap(), name);
        }
        for body in [
            json!({ "query": "mutation { a }" }),
            json!({ "query": "subscription S { a }" }),
            json!({ "query": several, "operationName": "B" }),
            json!({ "query": "# query\nmutation { a }" }),
            json!({ "query": ",,, mutation,{ a }" }),
            json!([{ "query": "{ a }" }, { "query": "mutation { b }" }]),
            json!({ "query": "query A { a } mutation B { b }" }),
            json!({ "query": "query A { a } mutation A { b }", "operationName": "A" }),
            json!({ "query": "query A { a } mutation B { b }", "operationName": "" }),
        ] {
            assert_eq!(judged(&body).unwrap_err().kind, "tool-not-allowed", "{body}");
        }
    }

    #[test]
    fn what_the_server_might_read_differently_is_refused() {
        for body in [
            json!({ "query": "query A { a }", "operationName": "B" }),
            json!({ "query": "query A { a }", "operationName": 1 }),
            json!({ "query": "{ a", "variables": {} }),
            json!({ "query": "{ a } x" }),
            json!({ "query": "" }),
            json!({ "query": "fragment F on T { a }" }),
            json!({ "query": "type T { a: Int }" }),
            json!({ "query": "{ a } #\rmutation { b }" }),
            json!({ "query": "\u{feff}{ a }" }),
            json!({ "query": null }),
            json!({ "Query": "mutation { a }", "query": "{ a }" }),
            json!({ "id": "persisted" }),
            json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "0" } } }),
            json!({ "query": "{ a }", "extensions": { "persistedQuery": { "sha256Hash": "0" } } }),
            json!({ "query": format!("{}a{}", "{ a ".repeat(300), "}".repeat(300)) }),
            json!({ "query": format!("{{ {} }}", "a ".repeat(30_000)) }),
            // Each of these would do alone.
            json!([{ "query": format!("{{ {} }}", "a ".repeat(8_000)) }, { "query": format!("{{ {} }}", "a ".repeat(8_000)) }]),
            json!([]),
            json!([[{ "query": "{ a }" }]]),
            (0..65).map(|_| json!({ "query": "{ a }" })).collect(),
        ] {
            assert_eq!(judged(&body).unwrap_err().kind, "body-unreadable", "{body}");
        }
    }

    #[test]
    fn a_query_string_asks_like_a_body() {
        let asked = |query: &str| at_once(asked_by_query(query)).and_then(|text| judged_text(&text));
        assert_eq!(asked("query=query+A%7Ba%7D&operationName=A&variables=%7B%22x%22%3A1%7D").unwrap(), "query A");
        assert_eq!(asked("query=mutation%7Ba%7D").unwrap_err().kind, "tool-not-allowed");
        for query in [
            "query={a}&query=mutation{b}",
            "query={a}&Query=mutation{b}",
            "query={a}&query[]=mutation{b}",
            "query={a};query=mutation{b}",
            "query={a}&variables={",
            "query={a}&extensions={%22persistedQuery%22:1}",
            "extensions={%22persistedQuery%22:1}",
            "id=7",
            "",
        ] {
            assert_eq!(asked(query).unwrap_err().kind, "body-unreadable", "{query}");
        }
    }
}
