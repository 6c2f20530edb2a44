//! What the ledger has of a secret that is read again and is the same, tried with a server of the test's own that plays a KV store.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use config::{Credentials, IssuerSettings, TrustDomain, WorkerId};

use super::Fetch;
use crate::holder::Holder;
use crate::identity::Signer;
use crate::issuer::Issuer;
use crate::issuer::vault::VaultIssuer;
use crate::lease::Lease;
use crate::ledger::{self, Ledger, State};
use crate::outbound::system_roots;
use crate::settings::LedgerPlace;
use crate::vault::Vault;

/// Gives a login for anything posted, and the secret for anything else. Leaves its address.
fn store() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 8 * 1024];
            let length = stream.read(&mut head).unwrap_or_default();
            let body = match head[..length].starts_with(b"POST") {
                true => r#"{"auth": {"client_token": "s.x", "lease_duration": 60}}"#,
                false => r#"{"data": {"data": {"key": "k"}, "metadata": {}}}"#,
            };
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        }
    });
    address
}

#[tokio::test]
async fn a_secret_that_is_read_again_and_is_the_same_leaves_one_row() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("leases");
    let place = LedgerPlace { directory: directory.clone(), name: None, key: state.path().join("ledger.key") };
    let ledger = Arc::new(Ledger::open(Some(&place)).unwrap());
    let signer = Arc::new(Signer::generate("https://broker.example".to_owned(), TrustDomain::default()).unwrap());
    let text = format!(
        "[api]\nissuer = \"vault\"\naddress = \"{}\"\nrole = \"r\"\nread = \"secret/data/a\"\nagents = [\"bot\"]\nto = [\"x\"]",
        store()
    );
    let credentials = Credentials::parse("credentials.toml", &text).unwrap();
    let IssuerSettings::Vault(secret) = credentials.iter().next().unwrap().issuer.clone() else { panic!() };
    let vault = Vault::new(secret.login, &system_roots()).unwrap();
    let issuer = Arc::new(Issuer::Vault(Box::new(VaultIssuer { vault, path: secret.path, field: None })));
    let mut before: Option<Arc<Lease>> = None;
    for _ in 0..3 {
        let fetch = Fetch {
            holder: Holder::new(&signer, "bot".parse().unwrap(), WorkerId::generate()),
            name: "api".parse().unwrap(),
            scope: "x".to_owned(),
            issuer: Arc::clone(&issuer),
            ledger: Arc::clone(&ledger),
            before: before.clone(),
            is_refused: false,
            permits: None,
        };
        let lease = fetch.run().await.unwrap();
        assert_eq!((lease.secret.expose(), lease.expires), ("k", None));
        assert!(before.is_none_or(|before| before.id == lease.id));
        before = Some(lease);
    }
    let rows = ledger::read(&directory).unwrap();
    assert_eq!(rows.iter().map(|row| row.entry.state).collect::<Vec<_>>(), [State::Leased]);
}
