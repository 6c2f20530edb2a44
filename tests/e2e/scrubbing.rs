//! A credential that the upstream gives back does not come in: the answer has the placeholder in its place.

use crate::credentials::{SECRET, leased};

use crate::harness::{Exeat, Outside, RawUpstream, Run, TokenEndpoint, Upstream, WEBSOCKET};

fn exeat(upstream: &Upstream) -> Exeat {
    Exeat::new()
        .fixed(
            "api",
            SECRET,
            "to = [\"api.example.com\"]\nin = [\"header\", \"basic\", \"query\"]\nenv = \"API_KEY\"\n",
        )
        .allow_with("api.example.com", upstream, "credential = \"api\"")
}

/// Calls `path` with the credential. What comes in is what `normal` makes of the page with the placeholder in it, and
/// nothing of the secret in any spelling.
#[track_caller]
fn call(upstream: &Upstream, curl: &str) -> (Run, String) {
    let script = format!("echo $API_KEY; curl -sS -i -H \"Authorization: Bearer $API_KEY\" {curl}");
    let run = exeat(upstream).sh(&script).ok();
    assert_eq!(upstream.only().header("authorization"), Some(&*format!("Bearer {SECRET}")));
    let (placeholder, answer) = run.stdout.split_once('\n').unwrap();
    let (placeholder, answer) = (placeholder.to_owned(), answer.to_owned());
    assert_no_spelling_of_the_secret(&answer);
    (run, answer.replace(&placeholder, "PLACEHOLDER"))
}

/// Decodes the text in every usual way and looks for the secret.
#[track_caller]
fn assert_no_spelling_of_the_secret(text: &str) {
    let percent = |text: &str| {
        String::from_utf8_lossy(&percent_encoding::percent_decode_str(text).collect::<Vec<_>>()).into_owned()
    };
    let base64 = |start: usize| {
        use base64::Engine;
        let engine = base64::engine::GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            base64::engine::GeneralPurposeConfig::new()
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true),
        );
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"+/".contains(letter));
        words
            .filter_map(|word| engine.decode(word.get(start..)?).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect::<String>()
    };
    let unescaped = text.replace("\\/", "/").replace("\\u002b", "+");
    for decoded in
        [text.to_owned(), percent(text), percent(&percent(text)), unescaped, base64(0), base64(1), base64(2), base64(3)]
    {
        assert!(!decoded.contains(SECRET), "the secret came in: {text}");
        // Half of it is a leak, too.
        assert!(!decoded.contains("secret/4c2f") && !decoded.contains("b71&e0"), "part of the secret came in: {text}");
    }
}

#[test]
fn in_the_body() {
    let upstream = Upstream::start();
    let (run, answer) = call(&upstream, "https://api.example.com/leak/plain");
    assert!(answer.ends_with("\r\n\r\nPLACEHOLDER\n"), "{answer}");
    assert_eq!(run.log.ends()[0].scrubbed, 1);
}

#[test]
fn an_answer_that_is_there_with_its_head_keeps_a_length_which_is_true_of_what_comes_in() {
    let told = "-o /dev/null -w '%header{content-length} %{size_download}'";
    for path in ["leak/plain", "echo/here"] {
        let upstream = Upstream::with_alpn(&["http/1.1"]);
        let script = format!("curl -sS {told} -H \"Authorization: Bearer $API_KEY\" https://api.example.com/{path}");
        let run = exeat(&upstream).sh(&script).ok();
        let (length, size) = run.stdout.split_once(' ').unwrap();
        assert!(length == size && size != "0", "{path}: {run:#?}");
    }
}

#[test]
fn in_the_head() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let (_, answer) = call(&upstream, &format!("{version} https://api.example.com/leak/head"));
        for line in [
            "set-cookie: session=PLACEHOLDER; Secure",
            "set-cookie: theme=dark",
            "x-request-authorization: Bearer PLACEHOLDER",
            "location: https://api.example.com/next?key=PLACEHOLDER&page=2",
        ] {
            assert!(answer.contains(line), "{line}: {answer}");
        }
    }
}

#[test]
fn in_the_trailers() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let (_, answer) =
            call(&upstream, &format!("{version} -H 'TE: trailers' -D - https://api.example.com/trailers"));
        assert!(answer.contains("x-shown: PLACEHOLDER"), "{version}: {answer}");
    }
}

#[test]
fn in_a_body_that_falls_into_pieces() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let (run, answer) = call(&upstream, &format!("{version} https://api.example.com/leak/pieces"));
        assert!(answer.ends_with("before PLACEHOLDER between PLACEHOLDER after\n"), "{answer}");
        assert_eq!(run.log.ends()[0].scrubbed, 2);
    }
}

#[test]
fn in_a_compressed_body() {
    for coding in ["gzip", "br", "zstd", "deflate"] {
        let upstream = Upstream::start();
        let script = format!(
            "echo $API_KEY; curl -sS --raw -H \"Authorization: Bearer $API_KEY\" -H 'Accept-Encoding: {coding}' \
             https://api.example.com/coded/{coding} -D head -o body; cat head; cat body | base64 -w0"
        );
        let run = exeat(&upstream).sh(&script).ok();
        let head = run.stdout.to_ascii_lowercase();
        let body = {
            use base64::Engine;
            base64::prelude::BASE64_STANDARD.decode(run.stdout.rsplit("\r\n\r\n").next().unwrap()).unwrap()
        };
        // Sent on in the same coding, or without any; both are right, as long as the head says so.
        let named = head.lines().find_map(|line| line.strip_prefix("content-encoding: ")).unwrap_or("identity");
        let page = decoded(named.trim(), &body);
        let placeholder = run.stdout.lines().next().unwrap();
        assert!(page.ends_with(&format!("you sent {placeholder}, and again {placeholder}.\n")), "{coding}: {page}");
        assert_no_spelling_of_the_secret(&page);
        assert_eq!(run.log.ends()[0].scrubbed, 2, "{coding}");
    }
}

fn decoded(coding: &str, bytes: &[u8]) -> String {
    use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
    use tokio::io::AsyncReadExt;
    let mut page = String::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = match coding {
        "gzip" => runtime.block_on(GzipDecoder::new(bytes).read_to_string(&mut page)),
        "br" => runtime.block_on(BrotliDecoder::new(bytes).read_to_string(&mut page)),
        "zstd" => runtime.block_on(ZstdDecoder::new(bytes).read_to_string(&mut page)),
        "deflate" => runtime.block_on(ZlibDecoder::new(bytes).read_to_string(&mut page)),
        _ => runtime.block_on((&mut &*bytes).read_to_string(&mut page)),
    };
    read.unwrap();
    page
}

#[test]
fn in_a_coding_that_cannot_be_examined() {
    let upstream = Upstream::start();
    let (_, answer) = call(&upstream, "-w '%{http_code}' https://api.example.com/coded/x-unheard-of");
    assert!(answer.ends_with("502") && answer.contains("urn:exeat:refusal:unscrubbable-answer"), "{answer}");
}

#[test]
fn in_base64_at_any_alignment() {
    let upstream = Upstream::start();
    let (run, answer) = call(&upstream, "https://api.example.com/leak/base64");
    assert!(run.log.ends()[0].scrubbed >= 4, "{answer}");
}

#[test]
fn percent_encoded() {
    let upstream = Upstream::start();
    let (run, answer) = call(&upstream, "https://api.example.com/leak/percent");
    assert!(answer.contains("all=") && answer.contains("some="), "{answer}");
    assert_eq!(run.log.ends()[0].scrubbed, 2);
}

#[test]
fn in_json() {
    let upstream = Upstream::start();
    let (_, answer) = call(&upstream, "https://api.example.com/leak/json");
    let body = answer.rsplit("\r\n\r\n").next().unwrap();
    let page: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(page["authorization"], "Bearer PLACEHOLDER");
    assert_eq!(page["nested"]["again"][0], "PLACEHOLDER");
}

#[test]
fn in_an_error_page() {
    let upstream = Upstream::start();
    let (_, answer) = call(&upstream, "https://api.example.com/leak/error");
    assert!(answer.contains("401") && answer.contains("<h1>PLACEHOLDER is not welcome</h1>"), "{answer}");
}

/// What comes before the answer itself: early hints, and the head that opens a WebSocket.
#[test]
fn in_the_heads_of_1xx_answers() {
    let early =
        format!("HTTP/1.1 103 Early Hints\r\nlink: <{SECRET}>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let switching = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-echo: {SECRET}\r\n\r\n"
    );
    let upgrade = "-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
                   -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='";
    for (answer, fields, shows) in [(early, "", "200 OK"), (switching, upgrade, "x-echo: exeat_")] {
        let upstream = RawUpstream::start(answer.leak().as_bytes());
        let rule =
            format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"\ncredential = \"api\"\n", upstream.dial());
        let exeat = Exeat::new().fixed("api", SECRET, "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n").rule(&rule);
        let script = format!(
            "curl -sSi --http1.1 --max-time 3 -H \"Authorization: Bearer $API_KEY\" {fields} https://api.example.com/; true"
        );
        let run = exeat.sh(&script).ok();
        assert!(String::from_utf8_lossy(&upstream.received()[0]).contains(SECRET), "{run:#?}");
        assert!(run.stdout.contains(shows) && !run.stdout.contains(SECRET), "{run:#?}");
    }
}

/// Over HTTP/2 it says, to any request, what it was shown in an early hint, in the head of its answer, and in the one that opens a WebSocket.
const EARLY_2: &str = "import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
const directory = process.argv[2], read = (name) => readFileSync(`${directory}/${name}`);
const server = createSecureServer({ cert: read('cert.pem'), key: read('key.pem'), settings: { enableConnectProtocol: true } });
server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    writeFileSync(`${directory}/shown`, headers.authorization ?? '');
    stream.additionalHeaders({ ':status': 103, link: `<${headers.authorization}>` });
    stream.respond({ ':status': 200, 'x-echo': headers.authorization });
    if (headers[':method'] !== 'CONNECT') stream.end('ok');
});
server.listen(0, '127.0.0.1', () => {
    writeFileSync(`${directory}/port.new`, String(server.address().port));
    renameSync(`${directory}/port.new`, `${directory}/port`);
});";

#[test]
fn in_the_heads_of_1xx_answers_over_http_2() {
    let server = Outside::node(EARLY_2);
    let early = format!(
        "HTTP/1.1 103 Early Hints\r\nlink: <{SECRET}>\r\n\r\nHTTP/1.1 200 OK\r\nx-echo: {SECRET}\r\ncontent-length: 2\r\n\r\nok"
    );
    let raw = RawUpstream::start(early.leak().as_bytes());
    // Every head that comes, early or not, and what is asked for.
    let program = "const http2 = require('node:http2'), session = http2.connect('https://api.example.com');
        const fields = { authorization: 'Bearer ' + process.env.API_KEY }, told = [];
        const ask = (head) => new Promise((done) => {
            const stream = session.request({ ...head, ...fields }, { endStream: head[':method'] === 'GET' });
            stream.on('headers', (head) => told.push(JSON.stringify(head)));
            stream.on('response', (head) => { told.push(JSON.stringify(head)); stream.close(); });
            stream.on('error', () => {});
            stream.on('close', done);
        });
        session.once('remoteSettings', async () => {
            await ask({ ':method': 'GET', ':path': '/' });
            if (process.argv[1] === 'both') await ask({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13' });
            console.log(told.join('\\n'));
            session.destroy();
        });";
    for (dial, which, heads) in [(server.dial(), "both", 2), (raw.dial(), "one", 1)] {
        let rule = format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{dial}\"\ncredential = \"api\"\n");
        let exeat = Exeat::new().fixed("api", SECRET, "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n").rule(&rule);
        let run = exeat.run(&["node", "-e", program, which]).ok();
        assert_eq!(run.stdout.matches("\"x-echo\":\"").count(), heads, "{run:#?}");
        assert!(run.stdout.contains("exeat_") && !run.stdout.contains(SECRET), "{run:#?}");
    }
    assert_eq!(server.read("shown"), format!("Bearer {SECRET}"));
    assert!(String::from_utf8_lossy(&raw.received()[0]).contains(SECRET));
}

/// It may have been kept there, by an earlier call.
#[test]
fn no_part_of_an_answer_is_asked_for_where_a_credential_goes() {
    let upstream = RawUpstream::start(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let rule = |host| format!("[[allow]]\nto = \"{host}\"\ndial = \"{}\"\n", upstream.dial());
    let grant = "to = [\"api.example.com\"]\nin = [\"body\"]\nenv = \"API_KEY\"\n";
    let exeat = Exeat::new().fixed("api", SECRET, grant).rule(&rule("api.example.com")).rule(&rule("www.example.com"));
    let parts = "-r 0-3 -H 'Request-Range: bytes=0-3' -H 'X-Ms-Range: bytes=0-3'";
    exeat.sh(&format!("for host in api www; do curl -sS {parts} https://$host.example.com/$host; done")).ok();
    let received: Vec<String> =
        upstream.received().iter().map(|bytes| String::from_utf8_lossy(bytes).to_ascii_lowercase()).collect();
    for (path, asks) in [("get /api ", false), ("get /www ", true)] {
        let head = received.iter().find(|head| head.starts_with(path)).unwrap();
        assert_eq!(head.contains("range: bytes=0-3"), asks, "{head}");
    }
}

#[test]
fn a_body_in_a_transfer_coding_that_nobody_asked_for_does_not_come_in() {
    for coding in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n4\r\nabcd\r\n0\r\n\r\n");
        let upstream = RawUpstream::start(answer.leak().as_bytes());
        let rule = format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"\n", upstream.dial());
        let run = Exeat::new().rule(&rule).sh("curl -sSi --max-time 5 https://api.example.com/").ok();
        assert!(run.stdout.contains("502") && run.stdout.contains("transfer coding"), "{coding}: {run:#?}");
    }
}

#[test]
fn the_length_stays_right() {
    let upstream = Upstream::start();
    for version in ["--http1.1", "--http2"] {
        let script = format!(
            "curl -sS {version} -H \"Authorization: Bearer $API_KEY\" -D head -o body https://api.example.com/leak/plain \
             && grep -i '^content-length' head; wc -c < body"
        );
        let run = exeat(&upstream).sh(&script).ok();
        let numbers: Vec<&str> = run.stdout.lines().map(|line| line.rsplit(' ').next().unwrap().trim()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "{run:#?}");
        assert_eq!(numbers.last(), Some(&"39"), "a placeholder and a newline: {run:#?}");
    }
}

#[test]
fn an_echo_of_the_request_shows_the_placeholder_as_it_was_sent() {
    let upstream = Upstream::start();
    let script = "echo $API_KEY; curl -sSf -u \"user:$API_KEY\" \"https://api.example.com/echo?key=$API_KEY\"";
    let run = exeat(&upstream).sh(script).ok();
    let (placeholder, page) = run.stdout.split_once('\n').unwrap();
    let page: serde_json::Value = serde_json::from_str(page).unwrap();
    assert_eq!(page["query"], format!("key={placeholder}"), "{page}");
    assert_no_spelling_of_the_secret(&page.to_string());
}

#[test]
fn a_credential_that_was_refreshed_is_still_scrubbed() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(2));
    let script = "for n in 1 2 3 4 5 6; do \
        curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/leak/plain; sleep 1; done";
    let run = leased(&upstream, &issuer).sh(script).ok();
    assert!(issuer.issued().len() > 1);
    for issued in issuer.issued() {
        assert!(!run.stdout.contains(&issued), "{run:#?}");
    }
    assert_eq!(run.stdout.matches("exeat_").count(), 6, "{run:#?}");
}

#[test]
fn a_later_answer_without_the_credential_in_its_request_is_scrubbed_too() {
    let upstream = Upstream::start();
    // A server that remembers: the second call has the real secret, which the agent guessed. It reads it, as its arguments are in the log.
    let script = "curl -sSf -o /dev/null -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo
         curl -sSf -H \"X-Api-Key: $(cat)\" https://api.example.com/leak/plain";
    let run = exeat(&upstream).stdin(SECRET).sh(script).ok();
    assert!(run.stdout.starts_with("exeat_"), "{run:#?}");
}

#[test]
fn in_a_websocket_the_message_breaks_off_before_the_credential_begins() {
    let program = format!(
        "{WEBSOCKET}
stream = open('api.example.com', 'Authorization: Bearer ' + os.environ['API_KEY'])
say(stream, b'leak')
print(rest(stream))"
    );
    let upstream = Upstream::start();
    let run = exeat(&upstream).run(&["/usr/bin/python3", "-c", &program]).ok();
    assert!(!run.stdout.contains(&SECRET[..3]), "{run:#?}");
    assert_eq!(run.log.ends()[0].outcome, "broken");
}
