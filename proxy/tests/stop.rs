//! Who came before a worker stopped, and was not taken up any more, is told of.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::SystemTime;

use broker::{Client, Settings, serve_connection};
use config::{AgentId, Credentials, RoomSettings, Standing};
use proxy::leaf::Authority;
use proxy::serve::{Listeners, Parts, Worker, serve};
use proxy::upstream::Roots;
use record::CallLog;
use tokio::sync::watch;

/// The kinds of what was refused, by the log of a worker that had stopped when it came to its listener.
async fn refused(listener: TcpListener) -> Vec<String> {
    let room = tempfile::tempdir().unwrap();
    fs::write(room.path().join("bot.toml"), "[[allow]]\nto = \"api.example.com\"\n").unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let settings = Settings::new(Credentials::parse("credentials.toml", "").unwrap());
    tokio::spawn(serve_connection(theirs, settings));
    let broker = Client::from_stream(ours).unwrap();
    let registration = broker.register(&"bot".parse::<AgentId>().unwrap()).await.unwrap();
    let policy = Arc::new(Standing::load(room.path().join("bot.toml")).unwrap());
    let authority = Authority::generate(SystemTime::now()).unwrap();
    let roots = Roots::read(policy.current().extra_roots()).unwrap();
    let log = Arc::new(CallLog::create(room.path()).unwrap());
    let (_stop, stopped) = watch::channel(true);
    let parts =
        Parts { policy, authority, roots, broker, registration, log, room: RoomSettings::default(), give_back: || {} };
    let worker = Worker::new(parts, stopped);
    let listeners = Listeners { tcp: vec![listener], ..Listeners::default() };
    serve(Arc::clone(&worker), listeners).await.unwrap();
    worker.log().commit().unwrap();
    let mut kinds = Vec::new();
    record::follow(room.path(), |text| {
        let line: serde_json::Value = serde_json::from_slice(&text.bytes).unwrap();
        kinds.extend(line["kind"].as_str().filter(|_| line["event"] == "refused").map(str::to_owned));
    })
    .unwrap();
    kinds
}

#[tokio::test]
async fn who_had_said_something_to_a_worker_that_had_stopped_is_in_its_log() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    // Who says nothing may only have asked whether somebody is there.
    clients.iter_mut().skip(1).for_each(|client| client.write_all(b"GET / HTTP/1.1\r\n").unwrap());
    // Nothing but loopback is to be had here, which leads to nobody.
    assert_eq!(refused(listener).await, ["own-listener"; 2]);
    drop(clients);
}
