//! The messages of gRPC-Web and of Connect's streams are looked at as gRPC's are: none that is compressed passes, in either direction, whatever
//! the client says that it accepts, and however it spells what it sends.

use std::sync::{Arc, Mutex};

use async_compression::tokio::write::GzipEncoder;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::credentials::SECRET;
use crate::harness::{Authority, Body, Exeat, Log, Server};

/// The heads of the requests that came whole.
type Heads = Arc<Mutex<Vec<HeaderMap>>>;

fn message(flag: u8, text: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
}

async fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(text).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

/// As the two protocols have it: a message with what the client proved itself with, compressed where the client accepts that or, for want of a
/// word on it, does so itself; and the last one, which says that all went well.
async fn answer(request: Request<Incoming>, heads: Heads) -> Response<Body> {
    let (head, body) = request.into_parts();
    let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let accepted = field("grpc-accept-encoding").or(field("connect-accept-encoding"));
    let used = field("grpc-encoding").or(field("connect-content-encoding"));
    let compresses = accepted.or(used).is_some_and(|codings| codings.contains("gzip"));
    let kind = field("content-type").unwrap_or_default();
    // Often enough that it is compressed, and not only packed.
    let shown = field("authorization").unwrap_or_default().repeat(8).into_bytes();
    if body.collect().await.is_ok() {
        heads.lock().unwrap().push(head.headers.clone());
    }
    let last = if kind.contains("connect") { 2 } else { 0x80 };
    let (kind, body) = match head.uri.path() {
        "/plain" => (&*kind, [message(0, b"hello"), message(last, b"{}")].concat()),
        "/always" => (&*kind, message(1, &gzip(&shown).await)),
        "/last" => (&*kind, [message(0, b"hello"), message(last | 1, &gzip(&shown).await)].concat()),
        "/text" => ("application/grpc-web-text", BASE64_STANDARD.encode(message(1, &gzip(&shown).await)).into_bytes()),
        _ if compresses => (&*kind, message(1, &gzip(&shown).await)),
        _ => (&*kind, message(0, &shown)),
    };
    Response::builder().header("content-type", kind).body(Body::whole(body)).unwrap()
}

fn server(alpn: &str) -> (Server, Heads) {
    let (heads, tls) = (Heads::default(), Authority::trusted().identity(&["*.example.com"]).configuration(&[alpn]));
    let shared = Arc::clone(&heads);
    (Server::start(Some(tls), Arc::new(move |request| Box::pin(answer(request, Arc::clone(&shared))))), heads)
}

/// `call` tells the status and the messages that a client could read; of a refusal its media type, gRPC's status and the reason.
const CLIENT: &str = "import base64, gzip, http.client, json, os, urllib.parse
key = os.environ['API_KEY'].encode()
def message(flag, text):
    return bytes([flag]) + len(text).to_bytes(4, 'big') + text
def read(data):
    told = []
    while data:
        flag, text, data = data[0], data[5:5 + int.from_bytes(data[1:5], 'big')], data[5 + int.from_bytes(data[1:5], 'big'):]
        try:
            told.append([flag, (gzip.decompress(text) if flag & 1 else text).decode()])
        except (OSError, ValueError):
            told.append('torn')
    return told
def call(path, kinds, fields={}, body=message(0, b'hello'), chunked=False):
    connection = http.client.HTTPSConnection('api.example.com', timeout=20)
    connection.putrequest('POST', path)
    for name, value in [*(('Content-Type', kind) for kind in kinds), *fields.items()]:
        connection.putheader(name, value)
    connection.putheader(*(('Transfer-Encoding', 'chunked') if chunked else ('Content-Length', str(len(body)))))
    pieces = b''.join(b'%x\\r\\n%s\\r\\n' % (len(piece), piece) for piece in [body[:3], body[3:]]) + b'0\\r\\n\\r\\n'
    connection.endheaders(pieces if chunked else body)
    try:
        answer = connection.getresponse()
        data = answer.read()
    except http.client.IncompleteRead as cut:
        data = cut.partial
    except http.client.RemoteDisconnected:
        return ['cut off', []]
    if refused := answer.getheader('grpc-status'):
        kind, reason = answer.getheader('content-type'), urllib.parse.unquote(answer.getheader('grpc-message'))
        return [f'{answer.status} {kind} {refused}' + data.decode(), reason]
    return [answer.status, read(data) if answer.getheader('content-type') in kinds else data.decode()]
";

fn run(server: &Server, lines: &str, program: &str) -> (Value, Log) {
    let rule = format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"\n{lines}", server.address);
    let grant = if lines.is_empty() { "elsewhere" } else { "api" };
    let grant = format!("to = [\"{grant}.example.com\"]\nin = [\"header\"]\nenv = \"API_KEY\"\n");
    let run = Exeat::new().fixed("api", SECRET, &grant).rule(&rule).python(&format!("{CLIENT}{program}")).ok();
    (run.json(), run.log)
}

#[test]
fn no_message_that_is_compressed_comes_in() {
    for alpn in ["http/1.1", "h2"] {
        for (kind, last, accepted, used) in [
            ("application/grpc-web+proto", 0x80, "grpc-accept-encoding", "grpc-encoding"),
            ("application/connect+json", 2, "connect-accept-encoding", "connect-content-encoding"),
        ] {
            let (server, heads) = server(alpn);
            let (told, log) = run(
                &server,
                "credential = \"api\"",
                &format!(
                    "proof = {{'Authorization': b'Bearer ' + key}}
tries = [('/plain', {{}}), ('/shown', {{'{accepted}': 'gzip'}}), ('/shown', {{'{used}': 'gzip'}}), ('/always', {{}}), ('/last', {{}})]
print(json.dumps([call(path, ['{kind}'], {{**proof, **fields}}) for path, fields in tries]))"
                ),
            );
            assert_eq!(told[0], json!([200, [[0, "hello"], [last, "{}"]]]), "{alpn} {kind}");
            assert!(!told.to_string().contains(SECRET), "{alpn} {kind}: the credential came in");
            for broken in told.as_array().unwrap().iter().skip(1) {
                assert_eq!(broken[1], json!([]), "{alpn} {kind}: {told}");
            }
            let asked: Vec<_> = heads.lock().unwrap()[1..3].iter().map(|head| head[accepted].clone()).collect();
            assert_eq!(asked, ["identity", "identity"], "{alpn} {kind}");
            let reasons: Vec<_> = log.ends()[1..].iter().filter_map(|end| end.reason.clone()).collect();
            let says = |end: usize, what: &str| reasons[end].contains(what);
            assert!(says(0, "a credential in a message") && says(1, "a credential in a message"), "{reasons:?}");
            assert!(says(2, "cannot be examined") && says(3, "cannot be examined"), "{reasons:?}");
        }
    }
}

#[test]
fn none_in_base64_comes_in() {
    let (server, _) = server("http/1.1");
    let program = "print(json.dumps(call('/text', ['application/grpc-web'], {'Authorization': b'Bearer ' + key})))";
    let (told, log) = run(&server, "credential = \"api\"", program);
    assert_eq!(
        (&told[0], log.ends()[0].outcome.as_ref()),
        (&json!("200 application/grpc-web 14"), "refused"),
        "{told}"
    );
    assert!(told[1].as_str().unwrap().contains("application/grpc-web-text"), "{told}");
}

#[test]
fn no_placeholder_goes_out_in_one_however_the_type_is_spelt() {
    let (server, heads) = server("http/1.1");
    let (told, log) = run(
        &server,
        "",
        "hidden = message(1, gzip.compress(key))
print(json.dumps([call('/plain', kinds, {}, body, chunked)[0]
    for kinds, body in [(['application/grpc'], hidden), (['application/GRPC'], hidden), (['Application/Grpc-Web+proto'], hidden),
        (['application/grpc-web'], message(0x81, gzip.compress(key))), (['application/connect+json'], hidden), (['application/Connect+proto ;x=y'], hidden),
        (['application/grpc-web-text'], base64.b64encode(hidden)), (['application/json', 'application/grpc'], hidden),
        (['application/connect+json'], message(0, key))]
    for chunked in [False, True]]))",
    );
    let [web, proto, text] = ["", "+proto", "-text"].map(|kind| json!(format!("200 application/grpc-web{kind} 7")));
    let [unread, unclear, denied] = [415, 400, 403].map(|status| json!(status));
    let statuses = [&unread, &unread, &proto, &web, &unread, &unread, &text, &unclear, &denied];
    assert_eq!(told.as_array().unwrap().iter().collect::<Vec<_>>(), statuses.map(|status| [status; 2]).concat());
    assert!(heads.lock().unwrap().is_empty(), "{heads:?}");
    assert_eq!(log.refusals().iter().filter(|refused| refused.alert).count(), 2, "{:?}", log.refused_kinds());
}

/// Over either version of HTTP a client of gRPC-Web reads what was refused and what to ask for; one of Connect reads it as any other does.
#[test]
fn a_refusal_is_a_status_for_clients_of_grpc_web() {
    let (server, heads) = server("http/1.1");
    let (told, log) = run(
        &server,
        "paths = [\"/plain\"]",
        "import subprocess
def head(kind):
    command = ['curl', '-sS', '--http2', '-D', '-', '-X', 'POST', '-H', 'Content-Type: ' + kind, 'https://api.example.com/refused']
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    fields = dict(line.split(': ', 1) for line in lines[1:] if ': ' in line)
    return [lines[0].strip(), fields['content-type'], fields.get('grpc-status'), urllib.parse.unquote(fields.get('grpc-message', '')), lines[-1]]
kinds = ['application/grpc-web+proto', 'application/connect+proto']
print(json.dumps([call('/refused', [kind]) for kind in kinds] + [head(kind) for kind in kinds]))",
    );
    let denied = |reason: &Value| {
        let reason = reason.as_str().unwrap();
        reason.starts_with("exeat did not let this call out:") && reason.contains("paths = [\"/refused\"]")
    };
    assert!(told[0][0] == "200 application/grpc-web+proto 7" && denied(&told[0][1]), "{told:#}");
    assert!(told[1][0] == 403 && told[1][1].as_str().unwrap().contains("urn:exeat:refusal:"), "{told:#}");
    assert_eq!(
        told[2].as_array().unwrap()[..3],
        [json!("HTTP/2 200"), json!("application/grpc-web+proto"), json!("7")]
    );
    assert!(denied(&told[2][3]) && told[2][4] == "", "{told:#}");
    assert!(told[3][0] == "HTTP/2 403" && told[3][2].is_null() && told[3][4] == "}", "{told:#}");
    assert!(log.refusals().len() == 4 && heads.lock().unwrap().is_empty(), "{:?}", log.refused_kinds());
}

#[test]
fn nor_in_the_query_of_a_call_by_get() {
    let (server, heads) = server("http/1.1");
    let program = "import urllib.error, urllib.parse, urllib.request
def get(**fields):
    try:
        return urllib.request.urlopen('https://api.example.com/plain?' + urllib.parse.urlencode(fields)).status
    except urllib.error.HTTPError as refused:
        return refused.code
hidden = base64.urlsafe_b64encode(gzip.compress(b'x' * 20 + key + key))
print(json.dumps([get(message=hidden, encoding='json', base64=1, compression='gzip'), get(message=base64.urlsafe_b64encode(key), encoding='json', base64=1),
    get(message='{}', encoding='json')]))";
    let (told, log) = run(&server, "", program);
    assert_eq!(told, json!([415, 403, 200]));
    assert_eq!(
        (heads.lock().unwrap().len(), log.refused_kinds()),
        (1, vec!["unexamined-body", "placeholder-misdirected"])
    );
}
