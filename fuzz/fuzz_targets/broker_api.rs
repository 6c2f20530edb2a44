//! Whatever a worker says to its broker, each answer is one of the API's own; no credential of another agent is in any, and one of its own only
//! where the worker showed its session and named a destination of the grant. (`$SESSION` in an input stands for the session.)
#![no_main]

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use broker::{Secret, Settings, serve_connection};
use config::Credentials;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::ReadHalf;
use tokio::runtime::Builder;

const CREDENTIALS: &str = "[mine]\nissuer = \"fixed\"\nvalue = { env = \"MINE\" }\nagents = [\"bot\"]\nto = [\"api.example\"]\n\
                           [theirs]\nissuer = \"fixed\"\nvalue = { env = \"THEIRS\" }\nagents = [\"other\"]\nto = [\"api.example\"]\n";
const MINE: &str = "credential-of-its-own-3f1c";
const THEIRS: &str = "credential-of-another-9a7d";
const REGISTER: &[u8] = b"POST /v1/workers HTTP/1.1\r\nHost: broker\r\nContent-Length: 15\r\n\r\n{\"agent\":\"bot\"}";
/// What the API answers, and hyper for it where a request cannot be read.
const STATUSES: [u16; 15] = [100, 200, 201, 202, 400, 401, 403, 404, 405, 409, 413, 414, 429, 431, 503];
/// The broker's own bound for a body that does not come is above it; no answer takes as long.
const LONGEST: Duration = Duration::from_secs(8);

/// So long nothing comes, twice, when all is answered: broker and worker take turns on one thread.
const MOMENT: Duration = Duration::from_millis(3);
const QUIET: u32 = 2;

fuzz_target!(|bytes: &[u8]| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answers = runtime.block_on(async {
        tokio::time::timeout(LONGEST, spoken(bytes)).await.expect("an answer in time").expect("a connection")
    });
    let text = String::from_utf8(answers).expect("answers are text");
    check(&text);
    assert!(!text.contains(THEIRS), "another agent's credential");
    let shown = String::from_utf8_lossy(bytes);
    assert!(!text.contains(MINE) || (shown.contains("$SESSION") && shown.contains("api.")), "a credential for nothing");
});

/// Registers, says it, and reads all that is answered to it.
async fn spoken(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut settings = Settings::new(Credentials::parse("credentials.toml", CREDENTIALS).expect("credentials"));
    settings.environment.insert("MINE".to_owned(), Secret::new(MINE));
    settings.environment.insert("THEIRS".to_owned(), Secret::new(THEIRS));
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut ours = UnixStream::from_std(ours)?;
    let worker = async {
        ours.write_all(REGISTER).await?;
        let registered = registration(&mut ours).await?;
        let session = registered["session"].as_str().expect("a session").as_bytes();
        let (mut from, mut to) = ours.split();
        let mut answers = Vec::new();
        // A broker that has closed takes no more, and may have answered before.
        let said = async {
            let _ = to.write_all(&with_session(bytes, session)).await;
        };
        let (_, _) = tokio::join!(said, heard(&mut from, &mut answers));
        let _ = to.shutdown().await;
        from.read_to_end(&mut answers).await?;
        drop(ours);
        Ok(answers)
    };
    let (served, answers) = tokio::join!(serve_connection(theirs, settings), worker);
    served.expect("a broker");
    answers
}

/// Reads until nothing has come for a while: whoever closes earlier is not answered what takes a moment.
async fn heard(from: &mut ReadHalf<'_>, answers: &mut Vec<u8>) {
    let mut quiet = 0;
    while quiet < QUIET {
        match tokio::time::timeout(MOMENT, from.read_buf(answers)).await {
            Ok(Ok(1..)) => quiet = 0,
            Ok(_) => break,
            Err(_) => quiet += 1,
        }
    }
}

/// The answer to the registration, which is whole before anything else is said.
async fn registration(from: &mut UnixStream) -> io::Result<Value> {
    let mut answer = Vec::new();
    loop {
        from.read_buf(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            return Ok(body);
        }
    }
}

fn with_session(bytes: &[u8], session: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"$SESSION";
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(session);
        rest = &rest[at + MARK.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// One answer after the other, each of the API's, with JSON or nothing in it.
fn check(mut text: &str) {
    while !text.is_empty() {
        let Some((head, rest)) = text.split_once("\r\n\r\n") else { panic!("half a head: {text:?}") };
        let line = head.lines().next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
        let status: u16 = status.and_then(|line| line.get(..3)?.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        assert!(STATUSES.contains(&status), "{status}");
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        // The answer to HEAD has a length and no body.
        text = match rest.starts_with('{') {
            false => rest,
            true => {
                let (body, rest) = rest.split_at_checked(length.unwrap_or(0)).expect("a whole body");
                serde_json::from_str::<Value>(body).expect("JSON");
                rest
            }
        };
    }
}
