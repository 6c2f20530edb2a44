//! gRPC passes with an unmodified client and server (grpcio): every kind of call, its trailers, deadlines and cancellation; a
//! credential is put in and taken out of it, and a refusal reads as a status.

use std::time::Duration;

use serde_json::{Value, json};

use crate::credentials::SECRET;
use crate::harness::{Exeat, Log, Outside, Upstream, python_tools, tools, within};

/// What each program begins with. `told` is what a failed call says.
const CLIENT: &str = "import grpc, json, os, queue, threading, time
channel = grpc.secure_channel('rpc.example.com:443', grpc.ssl_channel_credentials())
unary = lambda method: channel.unary_unary('/test.Echo/' + method)
key = (('authorization', 'Bearer ' + os.environ.get('API_KEY', 'nothing')),)
def told(call):
    try:
        return ['OK', repr(call())]
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
class Said:
    def __init__(self):
        self.queue = queue.Queue()
    def __iter__(self):
        return iter(self.queue.get, None)
";

fn server() -> Outside {
    Outside::python(include_str!("grpc/server.py"))
}

fn exeat(server: &Outside, lines: &str) -> Exeat {
    let rule = format!("[[allow]]\nto = \"rpc.example.com\"\ndial = \"{}\"\n{lines}", server.dial());
    Exeat::new().sandbox(&format!("read = [\"{}\"]", tools().display())).rule(&rule)
}

/// With a credential in the metadata.
fn with_credential(server: &Outside) -> Exeat {
    let lines = "to = [\"rpc.example.com\"]\nin = [\"header\"]\nenv = \"API_KEY\"\n";
    exeat(server, "credential = \"api\"\n").fixed("api", SECRET, lines)
}

/// Runs a program after [`CLIENT`]; what it prints is JSON.
fn run(exeat: &Exeat, program: &str) -> (Value, Log) {
    let run = exeat.run(&[&python_tools(), "-c", &format!("{CLIENT}{program}")]).ok();
    (run.json(), run.log)
}

#[test]
fn every_kind_of_call_passes_with_its_metadata_and_status() {
    let server = server();
    let (told, log) = run(
        &exeat(&server, ""),
        "answer, call = unary('Unary').with_call(b'hello', timeout=10)
seen = [answer.decode(), dict(call.initial_metadata())['x-first'], dict(call.trailing_metadata())['x-last'],
        dict(call.trailing_metadata())['x-last-bin'].hex(), call.code().name]
seen.append(told(lambda: unary('Fail')(b'', timeout=10)))
seen.append([int(number) for number in channel.unary_stream('/test.Echo/Many')(b'5', timeout=10)])
seen.append(int(channel.stream_unary('/test.Echo/Count')(iter([b'x' * 100_000] * 5), timeout=10)))
seen.append(told(lambda: unary('Nowhere')(b'', timeout=10))[0])
print(json.dumps(seen))",
    );
    let failed = json!(["NOT_FOUND", "no such thing: 100% of é"]);
    let all = json!(["olleh", "one", "two", "00ff", "OK", failed, [0, 1, 2, 3, 4], 500_000, "UNIMPLEMENTED"]);
    assert_eq!(told, all);
    assert!(log.calls().iter().all(|call| call.http == "HTTP/2.0" && call.method == "POST"));
    assert!(log.ends().iter().all(|end| end.outcome == "done"), "{:#?}", log.ends());
}

#[test]
fn both_sides_of_a_call_talk_in_turn() {
    let server = server();
    let (told, _) = run(
        &exeat(&server, ""),
        "said = Said()
answers = channel.stream_stream('/test.Echo/Talk')(iter(said), timeout=20)
seen = []
for number in range(20):
    said.queue.put(b'%d' % number)
    seen.append(int(next(answers)))
said.queue.put(None)
seen.append(len(list(answers)))
print(json.dumps(seen))",
    );
    assert_eq!(told, json!((0..20).chain([0]).collect::<Vec<_>>()));
}

#[test]
fn a_deadline_and_a_cancelled_call_reach_the_server() {
    let server = server();
    let (told, log) = run(
        &exeat(&server, ""),
        "call = unary('Hang').future(b'')
time.sleep(0.5)
call.cancel()
print(json.dumps([told(lambda: unary('Hang')(b'', timeout=1))[0], call.cancelled()]))
time.sleep(0.5)",
    );
    assert_eq!(told, json!(["DEADLINE_EXCEEDED", true]));
    within(Duration::from_secs(5), "the server hears of both", || {
        server.read("noted").matches("cancelled").count() == 2
    });
    let noted = server.read("noted");
    assert!(noted.contains("hanging without end") && noted.contains("hanging for a while"), "{noted}");
    assert!(!noted.contains("still wanted"), "{noted}");
    // Whether the server's word of the deadline or the client's is first is a race.
    let outcomes: Vec<_> = log.ends().iter().map(|end| end.outcome.clone()).collect();
    assert!(outcomes[0] == "abandoned" && ["abandoned", "done"].contains(&&*outcomes[1]), "{:#?}", log.ends());
}

#[test]
fn a_credential_is_put_into_metadata_and_taken_out_of_it() {
    let server = server();
    let exeat = with_credential(&server);
    let (told, log) = run(
        &exeat,
        "unary('Unary')(b'', metadata=key, timeout=10)
answer, call = unary('Leak').with_call(b'', metadata=key, timeout=10)
own = os.environ['API_KEY']
shown = [dict(call.initial_metadata())['x-shown'], dict(call.trailing_metadata())['x-shown'],
         dict(call.trailing_metadata())['x-shown-bin'].decode()]
# Of base64 that ends within a letter, that letter is the upstream's.
print(json.dumps([[shown[0] == own, shown[1] == own, shown[2][:-1] == own[:-1]], answer.decode(), call.code().name]))",
    );
    assert_eq!(told, json!([[true, true, true], "in the metadata", "OK"]));
    assert!(server.read("noted").contains(&format!("unary Bearer {SECRET}")));
    assert_eq!(log.calls()[0].credential.as_ref().unwrap().name, "api");
}

#[test]
fn a_credential_in_a_message_ends_the_call_and_what_only_begins_like_one_does_not_wait() {
    let server = server();
    let (told, log) = run(
        &with_credential(&server),
        "said = Said()
answers = channel.stream_stream('/test.Echo/Tease')(iter(said), metadata=key, timeout=20)
seen = []
for number in range(5):
    said.queue.put(b'%d' % number)
    seen.append(next(answers).decode()[:10])
said.queue.put(None)
seen.append(told(lambda: unary('Squeezed')(b'', metadata=key, timeout=10)))
seen.append(told(lambda: unary('Leak')(b'in the message', metadata=key, timeout=10)))
print(json.dumps(seen))",
    );
    let told = told.as_array().unwrap();
    let said: Vec<String> = (0..5).map(|number| format!("you said {number}")).collect();
    assert_eq!(json!(told[..5]), json!(said));
    assert_eq!((&told[5][0], &told[6][0]), (&json!("INTERNAL"), &json!("INTERNAL")), "{told:?}");
    assert!(!json!(told).to_string().contains(SECRET), "{told:?}");
    let reasons: Vec<_> =
        log.ends().into_iter().filter(|end| end.outcome == "broken").map(|end| end.reason.clone().unwrap()).collect();
    assert!(
        reasons.len() == 2
            && reasons[0].contains("cannot be examined")
            && reasons[1].contains("a credential in a message of gRPC"),
        "{reasons:?}"
    );
}

#[test]
fn a_placeholder_in_the_middle_of_a_talk_ends_it_and_is_an_alert() {
    let server = server();
    let lines = "to = [\"elsewhere.example.com\"]\nenv = \"API_KEY\"\n";
    let (told, log) = run(
        &exeat(&server, "").fixed("api", SECRET, lines),
        "said = Said()
answers = channel.stream_stream('/test.Echo/Talk')(iter(said), timeout=20)
said.queue.put(b'0')
seen = [next(answers).decode()]
said.queue.put(os.environ['API_KEY'].encode())
seen.append(told(lambda: next(answers))[0])
print(json.dumps(seen))",
    );
    assert_eq!(told[0], "0");
    assert_ne!(told[1], "OK");
    assert_eq!(log.refused_kinds(), ["placeholder-misdirected"]);
    assert!(log.refusals()[0].alert && log.refusals()[0].path.as_deref() == Some("/test.Echo/Talk"));
    assert_eq!((log.ends().len(), log.ends()[0].outcome.as_ref()), (1, "refused"), "{:#?}", log.ends());
}

#[test]
fn a_refusal_is_a_status_that_says_what_to_ask_for() {
    let server = server();
    let exeat = exeat(&server, "paths = [\"/test.Echo/Unary\"]\ncredential = \"api\"\n").fixed(
        "api",
        SECRET,
        "to = [\"elsewhere.example.com\", \"rpc.example.com\"]\nin = [\"basic\"]\nenv = \"API_KEY\"\n",
    );
    let (told, log) = run(
        &exeat,
        "print(json.dumps([
    told(lambda: unary('Fail')(b'', timeout=10)),
    told(lambda: channel.stream_unary('/test.Echo/Count')(iter([b'x' * 100_000] * 50), timeout=10)),
    told(lambda: list(channel.stream_stream('/test.Echo/Talk')(iter([b'x']), timeout=10))),
    told(lambda: unary('Unary')(b'', metadata=key, timeout=10)),
    told(lambda: unary('Unary')(os.environ['API_KEY'].encode(), timeout=10)),
    told(lambda: channel.unary_unary('/test.Echo/Unary')(b'x' * 4096 + os.environ['API_KEY'].encode(), timeout=10,
        compression=grpc.Compression.Gzip)),
    told(lambda: grpc.secure_channel('other.example.com:443', grpc.ssl_channel_credentials()).unary_unary('/a/b')(b'', timeout=10)),
    told(lambda: unary('Unary')(b'', timeout=10)),
]))",
    );
    let told = told.as_array().unwrap();
    for refused in &told[..7] {
        assert_eq!(refused[0], "PERMISSION_DENIED", "{told:#?}");
        let details = refused[1].as_str().unwrap();
        assert!(details.starts_with("exeat did not let this call out:"), "{details}");
    }
    assert!(told[0][1].as_str().unwrap().contains("paths = [\"/test.Echo/Fail\"]"), "the remedy is missing: {told:#?}");
    assert_eq!(told[7], json!(["OK", "b''"]));
    assert_eq!(server.read("noted"), "unary nothing\n");
    assert_eq!(log.refusals().iter().filter(|refused| refused.alert).count(), 2, "{:#?}", log.refused_kinds());
}

#[test]
fn a_server_is_asked_for_messages_that_can_be_looked_at() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"header\"]\nenv = \"API_KEY\"\n")
        .allow_with("api.example.com", &upstream, "credential = \"api\"");
    let call =
        "curl -sSf -H 'grpc-accept-encoding: gzip' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo";
    exeat.sh(call).ok();
    assert_eq!(upstream.only().header("grpc-accept-encoding"), Some("identity"));
}

#[test]
fn an_upstream_that_is_gone_is_unavailable() {
    let server = server();
    let exeat = exeat(&server, "");
    drop(server);
    let (told, _) = run(&exeat, "print(json.dumps(told(lambda: unary('Unary')(b'', timeout=10))))");
    assert_eq!(told[0], "UNAVAILABLE");
    assert!(told[1].as_str().unwrap().contains("exeat"), "{told}");
}
