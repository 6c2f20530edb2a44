//! The ledger's file: who held what, and what a broker left open.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use broker::ledger::{Event, outstanding};
use broker::{Error, Settings};
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::rig::{lease, serve, settings, worker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_what_stands_and_holds_no_secret() {
    let endpoint = Endpoint::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.jsonl");
    let settings = || Settings { ledger: Some(path.clone()), ..settings(&endpoint) };
    let (client, serving) = worker(settings()).await;
    let held = lease(&client).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // What a crash at this moment would leave.
    let crashed = fs::read(&path).unwrap();
    let open = outstanding(&crashed[..], SystemTime::now()).unwrap();
    assert_eq!((open.len(), open[0].lease, open[0].event), (1, held.id, Event::Leased));
    assert_eq!(open[0].agent.as_str(), "bot");
    let later = SystemTime::now() + Duration::from_secs(3601);
    assert!(outstanding(&crashed[..], later).unwrap().is_empty(), "it runs out");
    let mut torn = crashed.clone();
    torn.extend_from_slice(b"{\"at\":\"2026-");
    assert_eq!(outstanding(&torn[..], SystemTime::now()).unwrap().len(), 1);

    let (_stream, second) = serve(settings());
    let second = timeout(Duration::from_secs(5), second).await.expect("two brokers must not share it").unwrap();
    assert!(matches!(second, Err(Error::Ledger { .. })));

    client.end().await.unwrap();
    serving.await.unwrap().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(held.secret.expose()));
    let events: Vec<_> = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect();
    assert_eq!((&events[0]["event"], &events[1]["event"]), (&"leased".into(), &"revoked".into()));
    assert!(outstanding(text.as_bytes(), SystemTime::now()).unwrap().is_empty());
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
        proptest::prop_assert!(outstanding(&bytes[..], SystemTime::now()).unwrap().is_empty());
    }
}
