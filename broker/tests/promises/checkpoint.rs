//! A worker's log is signed for as it grows, and for no other log after that.

use broker::{ClientError, NotaryPlace, Settings};
use record::note::{VerifierKey, open};
use record::{Checkpoint, Hash, Head};

use crate::rig::{from_toml, lease, worker};

fn head(size: u64, root: &[u8]) -> Head {
    Head { size, root: Hash::of_line(root) }
}

fn signing(state: &std::path::Path) -> Settings {
    let notary = NotaryPlace { directory: state.join("checkpoints"), key: state.join("checkpoint.key") };
    Settings { notary: Some(notary), ..from_toml("") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_signed_for_as_it_grows_and_once_more_when_its_worker_is_over() {
    let state = tempfile::tempdir().unwrap();
    let (client, serving) = worker(signing(state.path())).await;
    client.checkpoint(head(1, b"a")).await.unwrap();
    client.checkpoint(head(7, b"b")).await.unwrap();
    for fork in [head(7, b"c"), head(6, b"b")] {
        assert!(
            matches!(client.checkpoint(fork).await, Err(ClientError::Broken { reason }) if reason.contains("was signed for"))
        );
    }
    let clone = client.clone();
    client.end_before_log().await.unwrap();
    assert!(lease(&clone).await.is_err() && clone.identity("https://broker.example").await.is_err());
    let last = client.checkpoint(head(9, b"d")).await.unwrap();
    // The connection goes with it, though there are clones.
    assert!(serving.await.unwrap().unwrap().is_empty());
    assert!(matches!(clone.checkpoint(head(10, b"e")).await, Err(ClientError::Unavailable { .. })));

    let key = std::fs::read_to_string(state.path().join("checkpoints/verifier")).unwrap();
    let key: VerifierKey = key.trim_end().parse().unwrap();
    let checkpoint: Checkpoint = open(&last, &[key]).unwrap().0.parse().unwrap();
    assert_eq!(checkpoint.head, head(9, b"d"));
    let worker = checkpoint.origin.strip_prefix("exeat/workers/").unwrap();
    assert_eq!(std::fs::read_to_string(state.path().join("checkpoints").join(worker)).unwrap(), last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_a_notary_or_with_a_key_that_others_can_read_says_so() {
    let (client, _serving) = worker(from_toml("")).await;
    assert!(matches!(client.checkpoint(head(1, b"a")).await, Err(ClientError::Unavailable { .. })));
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("checkpoint.key"), [7; 32]).unwrap();
    let (client, _serving) = worker(signing(state.path())).await;
    let refused = client.checkpoint(head(1, b"a")).await;
    assert!(matches!(refused, Err(ClientError::Unavailable { reason }) if reason.contains("others can read")));
}
