//! A query string that is let through asks of no server, however that reads it, for a GraphQL operation that is no query, and beside a message
//! of MCP for no call at all.
#![no_main]

mod graphql_reader;
mod judging;

use std::sync::LazyLock;

use http::Uri;
use libfuzzer_sys::fuzz_target;

use graphql_reader::{chosen, operations};
use judging::Judging;

static QUERIES: LazyLock<Judging> = LazyLock::new(|| Judging::by("graphql = { operations = [\"query\"] }"));
static TOOLS: LazyLock<Judging> = LazyLock::new(|| Judging::by("mcp = { tools = [\"search\"] }"));

const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
/// What a request of GraphQL consists of, and by what a server would take a call of JSON-RPC.
const MEMBERS: [&str; 4] = ["query", "operationName", "variables", "extensions"];
const CALLING: [&str; 4] = ["jsonrpc", "method", "params", "message"];

type Pairs = Vec<(String, String)>;

/// As browsers, and most servers, read it.
fn as_browsers(query: &str) -> Pairs {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// As those do for whom a semicolon separates, too.
fn by_semicolons(query: &str) -> Pairs {
    as_browsers(&query.replace(';', "&"))
}

/// As those do for whom a plus sign is one.
fn with_plus_signs(query: &str) -> Pairs {
    as_browsers(&query.replace('+', "%2B"))
}

/// As PHP does: no blanks before a name, nothing of it behind a NUL; brackets lead into what has the name before them. For others dots do so.
fn as_php(query: &str) -> Pairs {
    let name = |name: &str| {
        let name = name.split('\0').next().unwrap_or_default().trim_start_matches(' ');
        name.split(['[', '.']).next().unwrap_or_default().to_owned()
    };
    as_browsers(query).into_iter().map(|(key, value)| (name(&key), value)).collect()
}

fuzz_target!(|query: &str| {
    // No other comes in a request's first line.
    if !Uri::try_from(format!("/?{query}")).is_ok_and(|uri| uri.query() == Some(query)) {
        return;
    }
    let asked = QUERIES.judge("GET", Some(query), b"").is_ok();
    let beside = TOOLS.judge("POST", Some(query), PING).is_ok();
    assert_eq!(beside, TOOLS.judge("GET", Some(query), b"").is_ok());
    for pairs in [as_browsers, by_semicolons, with_plus_signs, as_php].map(|read| read(query)) {
        if beside {
            let calls = |name: &str| CALLING.contains(&&*name.trim().to_lowercase());
            assert!(!pairs.iter().any(|(name, _)| calls(name)), "{pairs:?}");
        }
        if asked {
            assert!(pairs.iter().all(|(name, _)| MEMBERS.contains(&&**name)), "{pairs:?}");
            let all =
                |wanted: &'static str| pairs.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value);
            for document in all("query") {
                let Some(found) = operations(document) else { continue };
                let wanted = all("operationName").next().map_or("", String::as_str);
                assert!(chosen(found, wanted).iter().all(|(kind, _)| *kind == "query"), "{pairs:?}");
            }
        }
    }
});
