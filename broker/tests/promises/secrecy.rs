//! The client secret stays with the broker, and no secret is printed.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::Client;
use http::StatusCode;

use crate::endpoint::{CLIENT_ID, CLIENT_SECRET, Endpoint};
use crate::rig::{agent, lease, serve, settings};

/// An endpoint that repeats what it was sent.
const ECHO: &str = r#"{"error":"p@ss:w0rd+/ %41é=&","error_description":"not p@ss:w0rd+/ %41é=&"}"#;

/// Copies from one stream to the other, and keeps what went by.
fn tap(mut from: UnixStream, mut to: UnixStream, seen: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            seen.lock().unwrap().extend_from_slice(&buffer[..read]);
            to.write_all(&buffer[..read]).unwrap();
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_secret_never_crosses_the_socket() {
    let endpoint = Endpoint::start().await;
    let (broker_end, serving) = serve(settings(&endpoint));
    let (worker_end, tapped) = UnixStream::pair().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    tap(broker_end.try_clone().unwrap(), tapped.try_clone().unwrap(), Arc::clone(&seen));
    tap(tapped, broker_end, Arc::clone(&seen));

    let client = Client::from_stream(worker_end).unwrap();
    client.register(&agent("bot")).await.unwrap();
    endpoint.set(|state| state.broken = Some((StatusCode::BAD_REQUEST, ECHO)));
    lease(&client).await.unwrap_err();
    endpoint.set(|state| state.broken = None);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let held = lease(&client).await.unwrap();
    client.end().await.unwrap();
    serving.await.unwrap().unwrap();

    let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    assert!(seen.contains(held.secret.expose()), "the tap works");
    let encoded = "p%40ss%3Aw0rd%2B%2F+%2541%C3%A9%3D%26";
    let basic = STANDARD.encode(format!("exeat+%26+co:{encoded}"));
    for form in [CLIENT_SECRET, encoded, &basic, &STANDARD.encode(CLIENT_SECRET), "p@ss", CLIENT_ID] {
        assert!(!seen.contains(form), "{form}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_worker_holds_prints_a_secret() {
    let endpoint = Endpoint::start().await;
    let settings = settings(&endpoint);
    let printed = format!("{settings:?}");
    let (stream, _serving) = serve(settings);
    let client = Client::from_stream(stream).unwrap();
    let registration = client.register(&agent("bot")).await.unwrap();
    let held = lease(&client).await.unwrap();
    let printed = format!("{printed} {registration:?} {held:#?} {client:?}");
    assert!(printed.contains("Secret(..)"));
    for secret in [
        CLIENT_SECRET,
        "p@ss",
        held.secret.expose(),
        registration.identity.jwt.expose(),
        registration.grants[0].1.value(),
    ] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
