//! Bodies and lists that are judged whole, made to become far more in memory than they are: the worker's memory stays bounded, and a polite client
//! beside them gets its answers.

use serde_json::Value;

use super::attacked_in;
use crate::harness::{Exeat, RawUpstream, Upstream};

/// The worker's memory, in MiB: half of the bound.
const MOST: u64 = 128;

/// A body of at most 1 MiB that has as many objects as fit.
const OBJECTS: &str = "b'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"search\",\"arguments\":[' + b'{\"\":0},' * 149000 + b'0]}}'";

/// As many documents as a batch may have, each with as many tokens as one may.
const DOCUMENTS: &str = "json.dumps([{'query': '{' + 'a ' * 7900 + '}'}] * 64).encode()";

/// Eight clients post `body` at once, three times each; what they were answered, and how long a polite client waited meanwhile.
fn posted(rule: &str, host: &str, upstream: &Upstream, body: &str) -> Value {
    let exeat = Exeat::new().allow("api.example.com", upstream).allow_with(host, upstream, rule);
    let attack = format!(
        "body = {body}
assert len(body) <= 1 << 20
statuses = []
def post():
    for _ in range(3):
        connection = http.client.HTTPSConnection('{host}', timeout=100, context=polite_context)
        connection.request('POST', '/mcp', body, {{'Content-Type': 'application/json'}})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
def attack():
    posting = [threading.Thread(target=post) for _ in range(8)]
    for one in posting:
        one.start()
    for one in posting:
        one.join()
    return {{'statuses': sorted(set(statuses)), 'slowest': max(took for _, took in polite)}}"
    );
    let (told, _, peak) = attacked_in(exeat, &attack);
    assert!(peak < MOST, "the worker took {peak} MiB: {told}");
    told
}

#[test]
fn a_message_of_nothing_but_objects_takes_little_more_than_it_is_and_passes() {
    let told = posted("mcp = { tools = [\"search\"] }", "mcp.example.com", &Upstream::start(), OBJECTS);
    assert_eq!(told["statuses"], serde_json::json!([200]));
}

#[test]
fn a_batch_of_documents_is_judged_by_all_its_tokens() {
    let told = posted("graphql = { operations = [\"query\"] }", "graphql.example.com", &Upstream::start(), DOCUMENTS);
    assert_eq!(told["statuses"], serde_json::json!([400]));
}

#[test]
fn lists_of_nothing_but_objects_are_cut_down_in_little_more_than_they_are() {
    let schema = r#"{"":0},"#.repeat(290_000);
    let list = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{{"name":"search","x":[{schema}0]}},{{"name":"delete_all"}}]}}}}"#
    );
    let body = format!("data: {list}\n\n").repeat(2);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (upstream, hostile) = (Upstream::start(), RawUpstream::start(answer.leak().as_bytes()));
    let rule = format!(
        "[[allow]]\nto = \"mcp.example.com\"\ndial = \"{}\"\nmcp = {{ tools = [\"search\"] }}\n",
        hostile.dial()
    );
    let attack = "def attack():
    connection = http.client.HTTPSConnection('mcp.example.com', timeout=100, context=polite_context)
    connection.request('GET', '/mcp', headers={'Accept': 'text/event-stream'})
    text = connection.getresponse().read()
    return [text.count(b'search'), text.count(b'delete_all')]";
    let exeat = Exeat::new().allow("api.example.com", &upstream).rule(&rule);
    let (told, _, peak) = attacked_in(exeat, attack);
    assert_eq!(told, serde_json::json!([2, 0]));
    assert!(peak < MOST, "the worker took {peak} MiB: {told}");
}
